//! ESM-2, the protein encoder (Lin et al. 2023, doi:10.1126/science.ade2574).
//!
//! Upstream: `esm/model/esm2.py`, `esm/modules.py`, `esm/rotary_embedding.py` and
//! `esm/multihead_attention.py` of facebookresearch/esm (fair-esm 2.0.0); names as in Hugging Face's
//! `modeling_esm.py`. Any size from 8 million to 15 billion parameters.
//!
//! Letters: N tokens of a batch, D width, H heads, K = D / H, F inner width. Numerical choices: LayerNorm before
//! each half layer and after the last, eps from the configuration; exact GELU; queries scaled before the rotary
//! rotation; rotary frequencies from the weights file, angles and rotation in f32; softmax in f32. Names and shapes of the
//! weights: `schema::esm2`.

use tch::{Device, Tensor};

use crate::device::Placement;
use crate::device::attention::Kernel;
use crate::device::products::Then;
use crate::error::{Error, Fault, Result};
use crate::model::attention::{Attention, Positions, RotaryAngles, plain_kernel};
use crate::model::input::DeviceBatch;
use crate::model::nn::{Embedding, LayerNorm, Linear, Observer, Point, Residual};
use crate::model::parameters::{Parameter, Parameters};
use crate::model::schema::Configuration;
use crate::model::{Encoder, TensorEncoder, input};
use crate::pack::TokenBatch;
use crate::weights::TensorSource;

pub use crate::model::schema::esm2::Config;

/// Residues that enter the mean, as in VirNucPro: the first 1024.
pub const POOLED_RESIDUES: usize = 1024;

/// Part of the tokens hidden in training, and part of those shown as `<mask>`. Embeddings are scaled by
/// what was left on average, 0.88, in use as well.
const TRAINED_MASK_RATIO: f64 = 0.15 * 0.8;

/// Rotary frequencies, f32 [K/2].
#[derive(Clone)]
struct Rotary(Parameter);

impl Rotary {
    /// Takes the frequencies from the weights file. ESM-2 was trained with values rounded to 16 bits:
    /// computing them anew shifts vectors by up to 2e-3.
    fn load(parameters: &Parameters<'_>) -> Result<Self> {
        Ok(Self(parameters.in_f32().get("inv_freq")?))
    }
}

#[derive(Clone)]
struct SelfAttention {
    norm: LayerNorm,
    /// [3D, D]
    query_key_value: Linear,
    /// [D, D]
    output: Linear,
    heads: Attention,
    /// Which of the model's tables of frequencies.
    rotary: usize,
}

impl SelfAttention {
    fn load(parameters: &Parameters<'_>, config: &Config, rotary: usize) -> Result<Self> {
        let (heads, scale) = (config.num_attention_heads, (config.head_width() as f64).powf(-0.5));
        let own = parameters.sub("self");
        Ok(Self {
            norm: LayerNorm::load(&parameters.sub("LayerNorm"), config.layer_norm_eps)?,
            query_key_value: Linear::side_by_side(&[own.sub("query"), own.sub("key"), own.sub("value")])?,
            output: Linear::load(&parameters.sub("output.dense"))?,
            heads: Attention { heads, scale, kernel: plain_kernel(parameters.device(), parameters.kind()) },
            rotary,
        })
    }

    /// The norm of the residual, [N, D], to what is added to it, [N, D].
    fn forward(&self, normed: &Tensor, batch: &DeviceBatch<'_>, angles: &[RotaryAngles]) -> Result<Tensor> {
        let Some(own) = angles.get(self.rotary) else {
            return Err(Error::new(Fault::Bug, "a layer has no rotary frequencies"));
        };
        let qkv = self.query_key_value.forward(normed)?; // [N, 3D]
        self.output.forward(&self.heads.forward(&qkv, batch, &Positions::Rotary(own))?)
    }
}

#[derive(Clone)]
struct FeedForward {
    norm: LayerNorm,
    /// [F, D]
    intermediate: Linear,
    /// [D, F]
    output: Linear,
}

impl FeedForward {
    fn load(parameters: &Parameters<'_>, config: &Config) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::load(&parameters.sub("LayerNorm"), config.layer_norm_eps)?,
            intermediate: Linear::load(&parameters.sub("intermediate.dense"))?,
            output: Linear::load(&parameters.sub("output.dense"))?,
        })
    }

    /// The norm of the residual, [N, D], to what is added to it, [N, D].
    fn forward(&self, normed: &Tensor) -> Result<Tensor> {
        self.output.forward(&self.intermediate.then(normed, Then::Gelu)?)
    }
}

#[derive(Clone)]
struct Layer {
    attention: SelfAttention,
    feed_forward: FeedForward,
}

/// The encoder. Load it with [`Esm2::load`].
#[derive(Clone)]
pub struct Esm2 {
    config: Config,
    embeddings: Embedding,
    rotary: Vec<Rotary>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    device: Device,
}

impl Esm2 {
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
        let mut rotary: Vec<Rotary> = Vec::new();
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            let parameters = parameters.sub("encoder.layer").sub(index);
            // Mostly the same in every layer: keep one table of each kind.
            let own = Rotary::load(&parameters.sub("attention.self.rotary_embeddings"))?;
            let mut table = rotary.len();
            for (place, known) in rotary.iter().enumerate() {
                if known.0.f_equal(&own.0)? {
                    table = place;
                }
            }
            if table == rotary.len() {
                rotary.push(own);
            }
            layers.push(Layer {
                attention: SelfAttention::load(&parameters.sub("attention"), config, table)?,
                feed_forward: FeedForward::load(&parameters, config)?,
            });
        }
        Ok(Self {
            embeddings: Embedding::load(&parameters.sub("embeddings.word_embeddings"))?,
            rotary,
            layers,
            norm: LayerNorm::load(&parameters.sub("encoder.emb_layer_norm_after").in_f32(), config.layer_norm_eps)?,
            device: placement.device,
            config: config.clone(),
        })
    }

    fn kernel(&self) -> Kernel {
        self.layers.first().map_or(Kernel::Math, |layer| layer.attention.heads.kernel)
    }

    /// Representations of every token, f32 [N, D]: the last layer after the final LayerNorm.
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
        let mut x = self.embed_tokens(batch)?;
        observer(Point::Embeddings, &x);
        let of = |rotary: &Rotary| RotaryAngles::new(&rotary.0, batch, self.kernel());
        let angles = self.rotary.iter().map(of).collect::<Result<Vec<_>>>()?;
        // Each half layer adds to `x`; what the next one takes is the norm of the sum.
        let mut normed = self.norm_before(0).forward(&x)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let added = layer.attention.forward(&normed, batch, &angles)?;
            normed = layer.feed_forward.norm.of_sum(&mut x, &added, Residual::Sum)?;
            observer(Point::Attention(index), &x);
            let added = layer.feed_forward.forward(&normed)?;
            normed = self.norm_before(index + 1).of_sum(&mut x, &added, Residual::Sum)?;
            observer(Point::Layer(index), &x);
        }
        Ok(normed)
    }

    /// The norm that a layer begins with; behind the last layer, that of the outcome.
    fn norm_before(&self, layer: usize) -> &LayerNorm {
        self.layers.get(layer).map_or(&self.norm, |layer| &layer.attention.norm)
    }

    /// Embeddings f32 [N, D]: `<mask>` is zero, the rest scaled by the share of tokens left in training
    /// over the share left here.
    fn embed_tokens(&self, batch: &DeviceBatch<'_>) -> Result<Tensor> {
        let (ids, batch) = (&batch.ids, batch.batch);
        let x = self.embeddings.forward(ids)?;
        let mask = self.config.mask_token_id;
        let x = x.f_mul_scalar(1.0 - TRAINED_MASK_RATIO)?;
        if !batch.ids().contains(&mask) {
            return Ok(x);
        }
        let left = (0..batch.len()).flat_map(|i| {
            let ids = batch.sequence(i);
            let masked = ids.iter().filter(|&&id| id == mask).count();
            std::iter::repeat_n(1.0 - masked as f32 / ids.len() as f32, ids.len())
        });
        let left: Vec<f32> = left.chain(std::iter::repeat(1.0)).take(input::filled(batch.tokens())).collect();
        let left = Tensor::f_from_slice(&left)?.f_unsqueeze(1)?.f_to_device(self.device)?; // [N, 1]
        let masked = ids.f_eq(i64::from(mask))?.f_unsqueeze(1)?; // [N, 1]
        Ok(x.f_masked_fill(&masked, 0.0)?.f_div(&left)?)
    }
}

impl Encoder for Esm2 {
    fn dim(&self) -> usize {
        self.config.hidden_size
    }

    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        input::embed(self, batch, self.device)
    }
}

impl TensorEncoder for Esm2 {
    fn set_attention(&mut self, kernel: Kernel) {
        self.layers.iter_mut().for_each(|layer| layer.attention.heads.kernel = kernel);
    }

    fn words(&self, batch: &TokenBatch) -> Result<Vec<i32>> {
        if batch.ids().contains(&self.config.pad_token_id) {
            return Err(Error::new(Fault::ModelTokenizer, "a sequence holds the padding token")
                .expected("sequences without padding")
                .found(format!("id {}", self.config.pad_token_id))
                .advice("the tokeniser must not pad: import the model again"));
        }
        input::words(batch, self.config.vocab_size)
    }

    /// Mean over the residues, f32 [sequences, D]; `<cls>` and `<eos>` stay out.
    fn pool(&self, batch: &DeviceBatch<'_>) -> Result<Tensor> {
        if let Some(short) = batch.batch.groups().find(|stretch| stretch.length < 3) {
            return Err(Error::new(Fault::Bug, "a protein without residues reached the encoder")
                .expected("at least 3 tokens: <cls>, one residue, <eos>")
                .found(format!("{} tokens", short.length)));
        }
        let _no_grad = tch::no_grad_guard();
        let x = self.forward(batch, &mut |_, _| ())?;
        input::means(&x, batch.batch, |length| (1, (length - 2).min(POOLED_RESIDUES)))
    }
}
