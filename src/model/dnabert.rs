//! DNABERT-S, the nucleotide encoder (Zhou et al. 2024, arXiv:2402.08777), which has the architecture of
//! DNABERT-2 (arXiv:2306.15006): MosaicBERT, a BERT with ALiBi and gated linear units.
//!
//! Upstream: `bert_layers.py` of MAGICS-LAB/DNABERT_S at ac01b55, without triton. Any size.
//!
//! Letters: B sequences, T tokens, D width, H heads, K = D / H, F inner width. Numerical choices: LayerNorm after
//! each half layer, eps from the configuration (1e-12 as published); exact GELU; no position embedding but ALiBi,
//! computed for the length at hand; softmax in f32. Token type 0 is always added. Names and shapes of the weights:
//! `schema::dnabert`.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use crate::device::Placement;
use crate::error::Result;
use crate::model::nn::{Embedding, LayerNorm, Linear, Observer, Point, attention, gelu};
use crate::model::parameters::{Parameter, Parameters};
use crate::model::schema::Configuration;
use crate::model::{Encoder, input};
use crate::pack::{LengthGroup, TokenBatch};
use crate::weights::Safetensors;

pub use crate::model::schema::dnabert::Config;

/// Rows of an attention bias start at multiples of this many values, as the CUDA kernels want them.
const BIAS_ALIGNMENT: i64 = 16;

/// Slope of each head, f32 `[H]` (Press et al. 2022, arXiv:2108.12409): a geometric series for a power of two,
/// else the series of the next smaller power followed by every second slope of the next larger.
pub fn alibi_slopes(heads: usize) -> Vec<f32> {
    let series = |count: usize| (1..=count).map(move |i| 2f64.powf(-8.0 * i as f64 / count as f64) as f32);
    if heads.is_power_of_two() {
        return series(heads).collect();
    }
    let smaller = heads.next_power_of_two() / 2;
    series(smaller).chain(series(2 * smaller).step_by(2)).take(heads).collect()
}

/// The bias that takes the place of position embeddings: minus slope times distance.
#[derive(Clone)]
struct Alibi {
    slopes: Parameter,
    kind: Kind,
    /// Bias of the length that was asked for last: batches come sorted by length.
    last: RefCell<Option<(usize, Parameter)>>,
}

impl Alibi {
    fn new(heads: usize, device: Device, kind: Kind) -> Result<Self> {
        let slopes = Tensor::f_from_slice(&alibi_slopes(heads))?.f_view([1, -1, 1, 1])?.f_to_device(device)?.into();
        Ok(Self { slopes, kind, last: RefCell::new(None) })
    }

    /// [1, H, T, T].
    fn bias(&self, length: usize) -> Result<Tensor> {
        if let Some((known, bias)) = &*self.last.borrow()
            && *known == length
        {
            return Ok((**bias).shallow_clone());
        }
        let tokens = length as i64;
        let stride = (tokens + BIAS_ALIGNMENT - 1) / BIAS_ALIGNMENT * BIAS_ALIGNMENT;
        let float = (Kind::Float, self.slopes.device());
        let to = Tensor::f_arange(stride, float)?.f_unsqueeze(0)?; // [1, stride]
        let from = Tensor::f_arange(tokens, float)?.f_unsqueeze(1)?; // [T, 1]
        let distance = to.f_sub(&from)?.f_abs()?.f_neg()?; // [T, stride]
        let bias = self.slopes.f_mul(&distance)?.f_to_kind(self.kind)?.f_narrow(3, 0, tokens)?; // [1, H, T, T]
        *self.last.borrow_mut() = Some((length, bias.shallow_clone().into()));
        Ok(bias)
    }
}

#[derive(Clone)]
struct SelfAttention {
    /// [3D, D]
    query_key_value: Linear,
    /// [D, D]
    output: Linear,
    norm: LayerNorm,
    heads: i64,
}

impl SelfAttention {
    fn load(parameters: &Parameters<'_>, config: &Config) -> Result<Self> {
        Ok(Self {
            query_key_value: Linear::load(&parameters.sub("self.Wqkv"))?,
            output: Linear::load(&parameters.sub("output.dense"))?,
            norm: LayerNorm::load(&parameters.sub("output.LayerNorm"), config.layer_norm_eps)?,
            heads: config.num_attention_heads as i64,
        })
    }

    /// [B, T, D] to [B, T, D], residual and LayerNorm included.
    fn forward(&self, x: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (sequences, length, width) = x.size3()?;
        let head_width = width / self.heads;
        let qkv = self.query_key_value.forward(x)?; // [B, T, 3D]
        let qkv = qkv.f_view([sequences, length, 3, self.heads, head_width])?.f_permute([2, 0, 3, 1, 4])?;
        let (q, k, v) = (qkv.f_select(0, 0)?, qkv.f_select(0, 1)?, qkv.f_select(0, 2)?); // [B, H, T, K]
        let mixed = attention([&q, &k, &v], Some(bias), (head_width as f64).powf(-0.5))?;
        self.norm.forward(&x.f_add(&self.output.forward(&mixed)?)?)
    }
}

/// Gated linear unit: the first half of the inner width is activated, the second multiplies it.
#[derive(Clone)]
struct FeedForward {
    /// [2F, D], without bias
    gated: Linear,
    /// [D, F]
    output: Linear,
    norm: LayerNorm,
}

impl FeedForward {
    fn load(parameters: &Parameters<'_>, config: &Config) -> Result<Self> {
        Ok(Self {
            gated: Linear::load(&parameters.sub("gated_layers"))?,
            output: Linear::load(&parameters.sub("wo"))?,
            norm: LayerNorm::load(&parameters.sub("layernorm"), config.layer_norm_eps)?,
        })
    }

    /// [B, T, D] to [B, T, D], residual and LayerNorm included.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let both = self.gated.forward(x)?; // [B, T, 2F]
        let inner = both.size3()?.2 / 2;
        let (gate, up) = (both.f_narrow(2, 0, inner)?, both.f_narrow(2, inner, inner)?); // [B, T, F]
        let down = self.output.forward(&gelu(&gate)?.f_mul(&up)?)?;
        self.norm.forward(&x.f_add(&down)?)
    }
}

#[derive(Clone)]
struct Layer {
    attention: SelfAttention,
    feed_forward: FeedForward,
}

/// The encoder. Load it with [`Dnabert::load`].
#[derive(Clone)]
pub struct Dnabert {
    config: Config,
    embeddings: Embedding,
    token_type: Parameter,
    norm: LayerNorm,
    layers: Vec<Layer>,
    alibi: Alibi,
    device: Device,
}

impl Dnabert {
    /// Loads the weights of `file` to a device. `proceed` is asked all the while; its error ends the loading.
    ///
    /// # Errors
    /// A configuration that is not followed; tensors missing, left over, of another shape or not finite; those of
    /// `proceed`.
    pub fn load(
        file: &Safetensors,
        config: &Config,
        placement: &Placement,
        proceed: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        config.check()?;
        let schema = config.tensors();
        let parameters = Parameters::open(file, &schema, placement, proceed)?.sensitive();
        let first = parameters.sub("embeddings");
        let layers = (0..config.num_hidden_layers).map(|index| {
            let parameters = parameters.sub("encoder.layer").sub(index);
            Ok(Layer {
                attention: SelfAttention::load(&parameters.sub("attention"), config)?,
                feed_forward: FeedForward::load(&parameters.sub("mlp"), config)?,
            })
        });
        // The CPU kernel takes an f32 bias for any queries, the CUDA kernels one of their own format.
        let bias_kind = if placement.device == Device::Cpu { Kind::Float } else { parameters.kind() };
        Ok(Self {
            embeddings: Embedding::load(&first.sub("word_embeddings"))?,
            token_type: Embedding::load(&first.sub("token_type_embeddings"))?.row(0)?,
            norm: LayerNorm::load(&first.sub("LayerNorm"), config.layer_norm_eps)?,
            layers: layers.collect::<Result<_>>()?,
            alibi: Alibi::new(config.num_attention_heads, placement.device, bias_kind)?,
            config: config.clone(),
            device: placement.device,
        })
    }

    /// Hidden states of every token after the last layer, f32 [B, T, D].
    /// `observer` is shown the tensors between the layers.
    ///
    /// # Errors
    /// Out of memory, ids outside the vocabulary, or anything else that libtorch refuses.
    pub fn represent(&self, group: &LengthGroup<'_>, observer: Observer<'_>) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let ids = input::ids(group, self.config.vocab_size, self.device)?;
        let mut x = self.norm.forward(&self.embeddings.forward(&ids)?.f_add(&self.token_type)?)?;
        observer(Point::Embeddings, &x);
        let bias = self.alibi.bias(group.length)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.attention.forward(&x, &bias)?;
            observer(Point::Attention(index), &x);
            x = layer.feed_forward.forward(&x)?;
            observer(Point::Layer(index), &x);
        }
        Ok(x)
    }

    /// Mean over all tokens, [CLS] and [SEP] included, f32 [B, D].
    fn pool(&self, group: &LengthGroup<'_>) -> Result<Tensor> {
        let x = self.represent(group, &mut |_, _| ())?;
        Ok(x.f_mean_dim(1, false, Kind::Float)?)
    }
}

impl Encoder for Dnabert {
    fn dim(&self) -> usize {
        self.config.hidden_size
    }

    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        let _no_grad = tch::no_grad_guard();
        let mut vectors = Vec::with_capacity(batch.len() * self.dim());
        for group in batch.groups() {
            input::append(&mut vectors, &self.pool(&group)?)?;
        }
        Ok(vectors)
    }
}
