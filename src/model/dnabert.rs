//! DNABERT-S, the nucleotide encoder (Zhou et al. 2024, arXiv:2402.08777), which has the architecture of
//! DNABERT-2 (arXiv:2306.15006): MosaicBERT, a BERT with ALiBi and gated linear units.
//!
//! Upstream: `bert_layers.py` of MAGICS-LAB/DNABERT_S at ac01b55, without triton. Any size.
//!
//! Letters: N tokens of a batch, D width, H heads, K = D / H, F inner width. Numerical choices: LayerNorm after
//! each half layer, eps from the configuration (1e-12 as published); exact GELU; no position embedding but ALiBi,
//! computed for the length at hand; softmax in f32. Token type 0 is always added. Names and shapes of the weights:
//! `schema::dnabert`.

use tch::{Device, Kind, Tensor};

use crate::device::Placement;
use crate::device::attention::Kernel;
use crate::device::products::Then;
use crate::error::Result;
use crate::model::attention::{Alibi, Attention, Positions, plain_kernel};
use crate::model::input::DeviceBatch;
use crate::model::nn::{Embedding, LayerNorm, Linear, Observer, Point, Residual};
use crate::model::parameters::{Parameter, Parameters};
use crate::model::schema::Configuration;
use crate::model::{Encoder, TensorEncoder, input};
use crate::pack::TokenBatch;
use crate::weights::TensorSource;

pub use crate::model::schema::dnabert::Config;

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

#[derive(Clone)]
struct SelfAttention {
    /// [3D, D]
    query_key_value: Linear,
    /// [D, D]
    output: Linear,
    norm: LayerNorm,
    heads: Attention,
}

impl SelfAttention {
    fn load(parameters: &Parameters<'_>, config: &Config) -> Result<Self> {
        Ok(Self {
            query_key_value: Linear::load(&parameters.sub("self.Wqkv"))?,
            output: Linear::load(&parameters.sub("output.dense"))?,
            norm: LayerNorm::load(&parameters.sub("output.LayerNorm"), config.layer_norm_eps)?,
            heads: Attention {
                heads: config.num_attention_heads,
                scale: (config.hidden_size as f64 / config.num_attention_heads as f64).powf(-0.5),
                kernel: plain_kernel(parameters.device(), parameters.kind()),
            },
        })
    }

    /// The residual in the format of the products, [N, D], to what is added to it, [N, D].
    fn forward(&self, x: &Tensor, batch: &DeviceBatch<'_>, alibi: &Alibi) -> Result<Tensor> {
        let qkv = self.query_key_value.forward(x)?; // [N, 3D]
        self.output.forward(&self.heads.forward(&qkv, batch, &Positions::Alibi(alibi))?)
    }
}

/// Gated linear unit: the first half of the inner width is activated, the second multiplies it.
#[derive(Clone)]
struct FeedForward {
    /// [F, D]
    gate: Linear,
    /// [F, D]
    up: Linear,
    /// [D, F]
    output: Linear,
    norm: LayerNorm,
}

impl FeedForward {
    fn load(parameters: &Parameters<'_>, config: &Config) -> Result<Self> {
        let [gate, up] = Linear::halves(&parameters.sub("gated_layers"))?;
        Ok(Self {
            gate,
            up,
            output: Linear::load(&parameters.sub("wo"))?,
            norm: LayerNorm::load(&parameters.sub("layernorm"), config.layer_norm_eps)?,
        })
    }

    /// The residual in the format of the products, [N, D], to what is added to it, [N, D].
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate = self.gate.then(x, Then::Gelu)?; // [N, F]
        self.output.forward(&self.up.then(x, Then::Times(&gate))?)
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
    /// f32 [H].
    slopes: Parameter,
    device: Device,
    kind: Kind,
}

impl Dnabert {
    /// Loads `weights` to a device. `proceed` is asked all the while; its error ends the loading.
    ///
    /// # Errors
    /// A configuration that is not followed; tensors missing, left over, of another shape or not finite; those of
    /// `proceed`.
    pub fn load(
        weights: &dyn TensorSource,
        config: &Config,
        placement: &Placement,
        proceed: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        config.check()?;
        let schema = config.tensors();
        let parameters = Parameters::open(weights, &schema, placement, proceed)?;
        let first = parameters.sub("embeddings");
        let layers = (0..config.num_hidden_layers).map(|index| {
            let parameters = parameters.sub("encoder.layer").sub(index);
            Ok(Layer {
                attention: SelfAttention::load(&parameters.sub("attention"), config)?,
                feed_forward: FeedForward::load(&parameters.sub("mlp"), config)?,
            })
        });
        Ok(Self {
            embeddings: Embedding::load(&first.sub("word_embeddings"))?,
            token_type: Embedding::load(&first.sub("token_type_embeddings"))?.row(0)?,
            norm: LayerNorm::load(&first.sub("LayerNorm").in_f32(), config.layer_norm_eps)?,
            layers: layers.collect::<Result<_>>()?,
            slopes: Tensor::f_from_slice(&alibi_slopes(config.num_attention_heads))?
                .f_to_device(placement.device)?
                .into(),
            config: config.clone(),
            device: placement.device,
            kind: placement.kind,
        })
    }

    fn kernel(&self) -> Kernel {
        self.layers.first().map_or(Kernel::Math, |layer| layer.attention.heads.kernel)
    }

    /// Hidden states of every token after the last layer, f32 [N, D].
    /// `observer` is shown the tensors between the layers.
    ///
    /// # Errors
    /// Out of memory, ids outside the vocabulary, or anything else that libtorch refuses.
    pub fn represent(&self, batch: &TokenBatch, observer: Observer<'_>) -> Result<Tensor> {
        let words = input::to_device(&self.words(batch)?, self.device)?;
        input::tokens_alone(&DeviceBatch::of(batch, &words)?, observer, |batch, observer| self.forward(batch, observer))
    }

    fn forward(&self, batch: &DeviceBatch<'_>, observer: Observer<'_>) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let mut x = self.norm.forward(&self.embeddings.forward(&batch.ids)?.f_add(&self.token_type)?)?;
        let alibi = Alibi::new(&self.slopes, batch, self.kernel(), self.kind)?;
        observer(Point::Embeddings, &x);
        // Each half layer adds to `x` and takes the norm of the sum: `x` in f32, and in the format of the products.
        let mut rounded = x.f_to_kind(self.kind)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let added = layer.attention.forward(&rounded, batch, &alibi)?;
            rounded = layer.attention.norm.of_sum(&mut x, &added, Residual::Norm)?;
            observer(Point::Attention(index), &x);
            let added = layer.feed_forward.forward(&rounded)?;
            rounded = layer.feed_forward.norm.of_sum(&mut x, &added, Residual::Norm)?;
            observer(Point::Layer(index), &x);
        }
        Ok(x)
    }
}

impl Encoder for Dnabert {
    fn dim(&self) -> usize {
        self.config.hidden_size
    }

    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        input::embed(self, batch, self.device)
    }
}

impl TensorEncoder for Dnabert {
    fn set_attention(&mut self, kernel: Kernel) {
        self.layers.iter_mut().for_each(|layer| layer.attention.heads.kernel = kernel);
    }

    fn words(&self, batch: &TokenBatch) -> Result<Vec<i32>> {
        input::words(batch, self.config.vocab_size)
    }

    /// Mean over all tokens, `[CLS]` and `[SEP]` included, f32 [sequences, D].
    fn pool(&self, batch: &DeviceBatch<'_>) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let x = self.forward(batch, &mut |_, _| ())?;
        input::means(&x, batch.batch, |length| (0, length))
    }
}
