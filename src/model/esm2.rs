//! ESM-2, the protein encoder (Lin et al. 2023, doi:10.1126/science.ade2574).
//!
//! Upstream: `esm/model/esm2.py`, `esm/modules.py`, `esm/rotary_embedding.py` and
//! `esm/multihead_attention.py` of facebookresearch/esm (fair-esm 2.0.0); names as in Hugging Face's
//! `modeling_esm.py`. Any size from 8 million to 15 billion parameters.
//!
//! Letters: B sequences, T tokens, D width, H heads, K = D / H. Numerical choices: LayerNorm before each
//! half layer and after the last, eps from the configuration; exact GELU; queries scaled before the rotary
//! turn; rotary frequencies from the weights file, angles and turn in f32; softmax in f32; with bf16, the
//! feed-forward half of a layer is bf16 (two thirds of the weights) and attention f32.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault, Result};
use crate::model::nn::{Embedding, LayerNorm, Linear, Observer, Point, SideBySide, attention, gelu};
use crate::model::parameters::Parameters;
use crate::model::{Encoder, config, input};
use crate::pack::{Run, TokenBatch};

/// Residues that enter the mean, as in VirNucPro: the first 1024.
pub const POOLED_RESIDUES: usize = 1024;

/// Part of the tokens hidden in training, and part of those shown as `<mask>`. Embeddings are scaled by
/// what was left on average, 0.88, in use as well.
const TRAINED_MASK_RATIO: f64 = 0.15 * 0.8;

/// Hugging Face's `config.json` of an ESM-2 model.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width D.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads H.
    pub num_attention_heads: usize,
    /// Width between the two matrices of the feed-forward half.
    pub intermediate_size: usize,
    /// Added to the variance in each LayerNorm; 1e-5 as published.
    pub layer_norm_eps: f64,
    /// `rotary`, nothing else.
    pub position_embedding_type: String,
    /// `gelu`, nothing else.
    #[serde(default = "config::gelu")]
    pub hidden_act: String,
    /// Whether embeddings are scaled for the masking in training; true as published.
    pub token_dropout: bool,
    /// Not supported when true.
    #[serde(default)]
    pub emb_layer_norm_before: Option<bool>,
    /// Id of `<mask>`.
    #[serde(default = "mask_token_id")]
    pub mask_token_id: u32,
    /// Id of `<pad>`.
    #[serde(default = "pad_token_id")]
    pub pad_token_id: u32,
}

fn mask_token_id() -> u32 {
    32
}

fn pad_token_id() -> u32 {
    1
}

impl Config {
    /// Reads and checks the text of a `config.json`.
    ///
    /// # Errors
    /// [`Fault::ModelConfig`] for anything this file does not follow exactly.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = config::parse(json)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        config::check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
        ])?;
        config::check_eps(self.layer_norm_eps)?;
        config::check_activation(&self.hidden_act)?;
        if self.position_embedding_type != "rotary" {
            return Err(config::refuse("position_embedding_type", "rotary", &self.position_embedding_type));
        }
        if self.emb_layer_norm_before == Some(true) {
            return Err(config::refuse("emb_layer_norm_before", "false", "true"));
        }
        match self.head_width()? {
            width if width % 2 == 0 => Ok(()),
            width => Err(config::refuse("num_attention_heads", "heads of even width", format!("width {width}"))),
        }
    }

    fn head_width(&self) -> Result<usize> {
        config::head_width(self.hidden_size, self.num_attention_heads)
    }
}

/// Angles by which queries and keys are turned: cosine and sine, f32 [T, K].
struct Turn {
    cos: Tensor,
    sin: Tensor,
}

/// Rotary position embedding (Su et al. 2021, arXiv:2104.09864), halves turned against each other.
struct Rotary {
    inv_freq: Tensor,
}

impl Rotary {
    /// Takes the frequencies from the weights file. ESM-2 was trained with values rounded to 16 bits:
    /// computing them anew shifts vectors by up to 2e-3.
    fn load(parameters: &Parameters<'_>, head_width: usize) -> Result<Self> {
        if !parameters.has("inv_freq") {
            let error = parameters.get("inv_freq", &[head_width / 2]).map(|_| ()).err();
            let error = error.unwrap_or_else(|| Error::new(Fault::ModelTensors, "rotary frequencies are missing"));
            return Err(error.advice(
                "rotary frequencies must come from the weights file, rounded as in training, and are never \
                 recomputed: import the model from a file that holds them",
            ));
        }
        Ok(Self { inv_freq: parameters.in_f32().get("inv_freq", &[head_width / 2])? })
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

struct SelfAttention {
    norm: LayerNorm,
    query_key_value: SideBySide,
    output: Linear,
    heads: i64,
    scale: f64,
    /// Which of the model's tables of frequencies.
    rotary: usize,
}

impl SelfAttention {
    fn load(parameters: &Parameters<'_>, config: &Config, rotary: usize) -> Result<Self> {
        let width = config.hidden_size;
        let own = parameters.sub("self");
        Ok(Self {
            norm: LayerNorm::load(&parameters.sub("LayerNorm"), width, config.layer_norm_eps)?,
            query_key_value: SideBySide::load(&[own.sub("query"), own.sub("key"), own.sub("value")], width, width)?,
            output: Linear::load(&parameters.sub("output.dense"), width, width)?,
            heads: config.num_attention_heads as i64,
            scale: (config.head_width()? as f64).powf(-0.5),
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

struct FeedForward {
    norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
}

impl FeedForward {
    fn load(parameters: &Parameters<'_>, config: &Config) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            norm: LayerNorm::load(&parameters.sub("LayerNorm"), width, config.layer_norm_eps)?,
            intermediate: Linear::load(&parameters.sub("intermediate.dense"), width, inner)?,
            output: Linear::load(&parameters.sub("output.dense"), inner, width)?,
        })
    }

    /// [B, T, D] to [B, T, D].
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.output.forward(&gelu(&self.intermediate.forward(&self.norm.forward(x)?)?)?)
    }
}

struct Layer {
    attention: SelfAttention,
    feed_forward: FeedForward,
}

/// The encoder. Load it with [`Esm2::load`].
pub struct Esm2 {
    config: Config,
    embeddings: Embedding,
    rotary: Vec<Rotary>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    device: Device,
}

impl Esm2 {
    /// Takes every tensor out of `weights`.
    ///
    /// # Errors
    /// A configuration that is not followed, tensors missing, left over, of another shape or not finite.
    pub fn load(parameters: &Parameters<'_>, config: &Config) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        config.check()?;
        let embeddings = parameters.sub("embeddings.word_embeddings");
        let mut rotary: Vec<Rotary> = Vec::new();
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            let parameters = parameters.sub("encoder.layer").sub(index);
            // Mostly the same in every layer: keep one table of each kind.
            let own = Rotary::load(&parameters.sub("attention.self.rotary_embeddings"), config.head_width()?)?;
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
        let model = Self {
            embeddings: Embedding::load(&embeddings, config.vocab_size, config.hidden_size)?,
            rotary,
            layers,
            norm: LayerNorm::load(
                &parameters.sub("encoder.emb_layer_norm_after"),
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            device: parameters.device(),
            config: config.clone(),
        };
        parameters.finish()?;
        Ok(model)
    }

    /// Representations of every token, f32 [B, T, D]: the last layer after the final LayerNorm.
    /// `observer` is shown what lies between the layers.
    ///
    /// # Errors
    /// Out of memory, ids that are no tokens, or whatever else libtorch refuses.
    pub fn represent(&self, run: &Run<'_>, observer: Observer<'_>) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let mut x = self.embed_tokens(run)?;
        observer(Point::Embeddings, &x);
        let turns = self.rotary.iter().map(|rotary| rotary.turn(run.length)).collect::<Result<Vec<_>>>()?;
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
    fn embed_tokens(&self, run: &Run<'_>) -> Result<Tensor> {
        if run.ids.contains(&self.config.pad_token_id) {
            return Err(Error::new(Fault::ModelTokenizer, "a sequence holds the padding token")
                .expected("sequences of one length, without padding")
                .found(format!("id {}", self.config.pad_token_id))
                .advice("the tokeniser must not pad: import the model again"));
        }
        let ids = input::ids(run, self.config.vocab_size, self.device)?;
        let x = self.embeddings.forward(&ids)?;
        if !self.config.token_dropout {
            return Ok(x);
        }
        let mask = self.config.mask_token_id;
        let x = x.f_mul_scalar(1.0 - TRAINED_MASK_RATIO)?;
        if !run.ids.contains(&mask) {
            return Ok(x);
        }
        let left: Vec<f32> = run
            .ids
            .chunks(run.length)
            .map(|ids| 1.0 - ids.iter().filter(|&&id| id == mask).count() as f32 / run.length as f32)
            .collect();
        let left = Tensor::f_from_slice(&left)?.f_view([-1, 1, 1])?.f_to_device(self.device)?; // [B, 1, 1]
        let masked = ids.f_eq(i64::from(mask))?.f_unsqueeze(-1)?; // [B, T, 1]
        Ok(x.f_masked_fill(&masked, 0.0)?.f_div(&left)?)
    }

    /// Mean over the residues, f32 [B, D]; `<cls>` and `<eos>` stay out.
    fn pool(&self, run: &Run<'_>) -> Result<Tensor> {
        let residues = match run.length.checked_sub(2) {
            Some(residues) if residues > 0 => residues.min(POOLED_RESIDUES),
            _ => {
                return Err(Error::new(Fault::Bug, "a protein without residues reached the encoder")
                    .expected("at least 3 tokens: <cls>, one residue, <eos>")
                    .found(format!("{} tokens", run.length)));
            }
        };
        let x = self.represent(run, &mut |_, _| ())?;
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
        for run in batch.runs() {
            input::append(&mut vectors, &self.pool(&run)?)?;
        }
        Ok(vectors)
    }
}
