//! ESM-2, the protein encoder (Lin et al. 2023, doi:10.1126/science.ade2574).
//!
//! Upstream: `esm/model/esm2.py`, `esm/modules.py`, `esm/rotary_embedding.py` and
//! `esm/multihead_attention.py` of facebookresearch/esm (fair-esm 2.0.0); names as in Hugging Face's
//! `modeling_esm.py`. Any size from 8 million to 15 billion parameters.
//!
//! Letters: B sequences, T tokens, D width, H heads, K = D / H, F inner width. Numerical choices: LayerNorm before
//! each half layer and after the last, eps from the configuration; exact GELU; queries scaled before the rotary
//! turn; rotary frequencies from the weights file, angles and turn in f32; softmax in f32; with bf16, the
//! feed-forward half of a layer is bf16 (two thirds of the weights) and attention f32. Names and shapes of the
//! weights: `schema::esm2`.

use tch::{Device, Kind, Tensor};

use crate::device::Placement;
use crate::error::{Error, Fault, Result};
use crate::model::nn::{Embedding, LayerNorm, Linear, Observer, Point, attention, gelu};
use crate::model::parameters::{Parameter, Parameters};
use crate::model::schema::Configuration;
use crate::model::{Encoder, input};
use crate::pack::{LengthGroup, TokenBatch};
use crate::weights::Safetensors;

pub use crate::model::schema::esm2::Config;

/// Residues that enter the mean, as in VirNucPro: the first 1024.
pub const POOLED_RESIDUES: usize = 1024;

/// Part of the tokens hidden in training, and part of those shown as `<mask>`. Embeddings are scaled by
/// what was left on average, 0.88, in use as well.
const TRAINED_MASK_RATIO: f64 = 0.15 * 0.8;

/// Angles by which queries and keys are turned: cosine and sine, f32 [T, K].
struct Turn {
    cos: Tensor,
    sin: Tensor,
}

/// Rotary position embedding (Su et al. 2021, arXiv:2104.09864), halves turned against each other.
#[derive(Clone)]
struct Rotary {
    /// [K/2]
    inv_freq: Parameter,
}

impl Rotary {
    /// Takes the frequencies from the weights file. ESM-2 was trained with values rounded to 16 bits:
    /// computing them anew shifts vectors by up to 2e-3.
    fn load(parameters: &Parameters<'_>) -> Result<Self> {
        Ok(Self { inv_freq: parameters.in_f32().get("inv_freq")? })
    }

    fn turn(&self, length: usize) -> Result<Turn> {
        let positions = Tensor::f_arange(length as i64, (Kind::Float, self.inv_freq.device()))?;
        let angles = positions.f_outer(&self.inv_freq)?; // [T, K/2]
        let angles = Tensor::f_cat(&[&angles, &angles], -1)?; // [T, K]
        Ok(Turn { cos: angles.f_cos()?, sin: angles.f_sin()? })
    }
}

impl Turn {
    /// [B, H, T, K], turned in f32, returned in the format it came in.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.f_kind()?;
        let x = x.f_to_kind(Kind::Float)?;
        let halves = x.f_chunk(2, -1)?;
        let [first, second] = halves.as_slice() else {
            return Err(Error::new(Fault::Bug, "a head has no two halves"));
        };
        let quarter = Tensor::f_cat(&[&second.f_neg()?, first], -1)?;
        Ok(x.f_mul(&self.cos)?.f_add(&quarter.f_mul(&self.sin)?)?.f_to_kind(kind)?)
    }
}

#[derive(Clone)]
struct SelfAttention {
    norm: LayerNorm,
    /// [3D, D]
    query_key_value: Linear,
    /// [D, D]
    output: Linear,
    heads: i64,
    scale: f64,
    /// Which of the model's tables of frequencies.
    rotary: usize,
}

impl SelfAttention {
    fn load(parameters: &Parameters<'_>, config: &Config, rotary: usize) -> Result<Self> {
        let own = parameters.sub("self");
        Ok(Self {
            norm: LayerNorm::load(&parameters.sub("LayerNorm"), config.layer_norm_eps)?,
            query_key_value: Linear::side_by_side(&[own.sub("query"), own.sub("key"), own.sub("value")])?,
            output: Linear::load(&parameters.sub("output.dense"))?,
            heads: config.num_attention_heads as i64,
            scale: (config.head_width() as f64).powf(-0.5),
            rotary,
        })
    }

    /// [B, T, D] to [B, T, D].
    fn forward(&self, x: &Tensor, turns: &[Turn]) -> Result<Tensor> {
        let Some(turn) = turns.get(self.rotary) else {
            return Err(Error::new(Fault::Bug, "a layer has no rotary frequencies"));
        };
        let (sequences, length, width) = x.size3()?;
        let qkv = self.query_key_value.forward(&self.norm.forward(x)?)?; // [B, T, 3D]
        let qkv = qkv.f_view([sequences, length, 3, self.heads, width / self.heads])?.f_permute([2, 0, 3, 1, 4])?;
        let q = turn.apply(&qkv.f_select(0, 0)?.f_mul_scalar(self.scale)?)?; // [B, H, T, K]
        let k = turn.apply(&qkv.f_select(0, 1)?)?;
        let v = qkv.f_select(0, 2)?;
        self.output.forward(&attention([&q, &k, &v], None, 1.0)?)
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

    /// [B, T, D] to [B, T, D].
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.output.forward(&gelu(&self.intermediate.forward(&self.norm.forward(x)?)?)?)
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
        let parameters = Parameters::open(file, &schema, placement, proceed)?;
        let mut rotary: Vec<Rotary> = Vec::new();
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            let parameters = parameters.sub("encoder.layer").sub(index);
            // Mostly the same in every layer: keep one table of each kind.
            let own = Rotary::load(&parameters.sub("attention.self.rotary_embeddings"))?;
            let mut table = rotary.len();
            for (place, known) in rotary.iter().enumerate() {
                if known.inv_freq.f_equal(&own.inv_freq)? {
                    table = place;
                }
            }
            if table == rotary.len() {
                rotary.push(own);
            }
            layers.push(Layer {
                attention: SelfAttention::load(&parameters.sub("attention").sensitive(), config, table)?,
                feed_forward: FeedForward::load(&parameters, config)?,
            });
        }
        Ok(Self {
            embeddings: Embedding::load(&parameters.sub("embeddings.word_embeddings"))?,
            rotary,
            layers,
            norm: LayerNorm::load(&parameters.sub("encoder.emb_layer_norm_after"), config.layer_norm_eps)?,
            device: placement.device,
            config: config.clone(),
        })
    }

    /// Representations of every token, f32 [B, T, D]: the last layer after the final LayerNorm.
    /// `observer` is shown the tensors between the layers.
    ///
    /// # Errors
    /// Out of memory, ids outside the vocabulary, or anything else that libtorch refuses.
    pub fn represent(&self, group: &LengthGroup<'_>, observer: Observer<'_>) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let mut x = self.embed_tokens(group)?;
        observer(Point::Embeddings, &x);
        let turns = self.rotary.iter().map(|rotary| rotary.turn(group.length)).collect::<Result<Vec<_>>>()?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = x.f_add(&layer.attention.forward(&x, &turns)?)?;
            observer(Point::Attention(index), &x);
            x = x.f_add(&layer.feed_forward.forward(&x)?)?;
            observer(Point::Layer(index), &x);
        }
        self.norm.forward(&x)
    }

    /// Embeddings f32 [B, T, D]: `<mask>` is zero, the rest scaled by the share of tokens left in training
    /// over the share left here.
    fn embed_tokens(&self, group: &LengthGroup<'_>) -> Result<Tensor> {
        if group.ids.contains(&self.config.pad_token_id) {
            return Err(Error::new(Fault::ModelTokenizer, "a sequence holds the padding token")
                .expected("sequences of one length, without padding")
                .found(format!("id {}", self.config.pad_token_id))
                .advice("the tokeniser must not pad: import the model again"));
        }
        let ids = input::ids(group, self.config.vocab_size, self.device)?;
        let x = self.embeddings.forward(&ids)?;
        let mask = self.config.mask_token_id;
        let x = x.f_mul_scalar(1.0 - TRAINED_MASK_RATIO)?;
        if !group.ids.contains(&mask) {
            return Ok(x);
        }
        let left: Vec<f32> = group
            .ids
            .chunks(group.length)
            .map(|ids| 1.0 - ids.iter().filter(|&&id| id == mask).count() as f32 / group.length as f32)
            .collect();
        let left = Tensor::f_from_slice(&left)?.f_view([-1, 1, 1])?.f_to_device(self.device)?; // [B, 1, 1]
        let masked = ids.f_eq(i64::from(mask))?.f_unsqueeze(-1)?; // [B, T, 1]
        Ok(x.f_masked_fill(&masked, 0.0)?.f_div(&left)?)
    }

    /// Mean over the residues, f32 [B, D]; `<cls>` and `<eos>` stay out.
    fn pool(&self, group: &LengthGroup<'_>) -> Result<Tensor> {
        let residues = match group.length.checked_sub(2) {
            Some(residues) if residues > 0 => residues.min(POOLED_RESIDUES),
            _ => {
                return Err(Error::new(Fault::Bug, "a protein without residues reached the encoder")
                    .expected("at least 3 tokens: <cls>, one residue, <eos>")
                    .found(format!("{} tokens", group.length)));
            }
        };
        let x = self.represent(group, &mut |_, _| ())?;
        Ok(x.f_narrow(1, 1, residues as i64)?.f_mean_dim(1, false, Kind::Float)?)
    }
}

impl Encoder for Esm2 {
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
