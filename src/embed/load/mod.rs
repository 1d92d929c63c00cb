//! From a bundle to running models: which file feeds which part. What computes on libtorch is in `torch`; a build without it
//! has `absent` in its place.

#[cfg(not(feature = "torch"))]
mod absent;
#[cfg(feature = "torch")]
mod gpu;
#[cfg(feature = "torch")]
mod torch;

#[cfg(not(feature = "torch"))]
use absent as torch;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::bundle::{BUNDLE_YAML, Bundle, Component, EncoderSpec, Family, HeadSpec, SearchPath, TOKENIZER_JSON};
use crate::config::{self, Side};
use crate::device::pinning::Pinning;
use crate::embed::lane::head::HeadLanes;
use crate::embed::lane::scorer::Scorer;
use crate::embed::lane::{EncoderLane, Lane};
use crate::embed::{Batching, Session};
use crate::error::{Error, Fault, Result};
use crate::model::classifier::Classifier;
use crate::model::composition::Composition;
use crate::model::mock::{MockEncoder, MockHead};
use crate::model::schema::shapes::{Arithmetic, Shape};
use crate::model::{Encoder, Head};
use crate::runtime::machine::Derived;
#[cfg(any(test, feature = "torch"))]
use crate::runtime::picture::MemoryPicture;
use crate::runtime::threads;
use crate::runtime::{interrupt, machine};
use crate::store::ModelStamp;
use crate::tokenize::{Bases, DnabertTokenizer, EsmTokenizer, Tokenize};
use crate::units::{Auto, Precision, Tokens};
use crate::weights::Safetensors;

/// Tokens of an automatic batch on a CPU: enough to keep its cores in matrix products; more only takes memory.
const CPU_BATCH_TOKENS: usize = 1024;
/// The same where a token costs next to nothing: enough that handing a batch on does not cost more.
const CHEAP_BATCH_TOKENS: usize = 32 * 1024;

/// Opens the bundle a command names.
///
/// # Errors
/// No such bundle exists, or it is damaged.
pub fn bundle(model: &config::BundleChoice) -> Result<Bundle> {
    Bundle::open(&model.name, &SearchPath::standard(model.search.clone()))
}

/// Proves digests of a bundle's files before any work is done: of all, or of all but the weights of the encoders, which a
/// stage proves while it loads them.
///
/// # Errors
/// A file is missing or has another digest than recorded; a signal has arrived.
pub fn prove(bundle: &Bundle, all: bool) -> Result<()> {
    let large = [Component::Dnabert.weights(), Component::Esm.weights()];
    let files = bundle.spec().files.keys().filter(|name| all || !large.contains(name));
    files.into_iter().try_for_each(|name| bundle.verify_file(name, &interrupt::check))
}

/// How manifests and tables name a bundle.
pub fn stamp(bundle: &Bundle) -> ModelStamp {
    let spec = bundle.spec();
    ModelStamp { bundle: spec.name.clone(), digest: bundle.digest().to_string(), trained: spec.trained }
}

/// The number format that an encoder of a bundle computes in, without loading it.
///
/// # Errors
/// As for [`session`].
pub fn precision(bundle: &Bundle, side: Side, compute: &config::Compute) -> Result<Precision> {
    if encoder(bundle, side)?.family.needs_libtorch() { torch::precision(compute) } else { Ok(Precision::F32) }
}

/// Whether this build can run the models of a bundle.
pub fn computes(bundle: &Bundle) -> bool {
    cfg!(feature = "torch") || !needs_libtorch(bundle)
}

/// Whether a model of a bundle computes on libtorch.
pub fn needs_libtorch(bundle: &Bundle) -> bool {
    bundle.spec().encoders().any(|(_, encoder)| encoder.family.needs_libtorch())
}

/// The sides of a bundle, the nucleotide side first.
pub fn sides(bundle: &Bundle) -> Vec<Side> {
    [Side::Dnabert, Side::Esm].into_iter().filter(|&side| bundle.spec().encoder(component(side)).is_some()).collect()
}

/// The encoder of a side.
///
/// # Errors
/// [`Fault::ModelMismatch`] where the bundle lacks that side.
pub fn encoder(bundle: &Bundle, side: Side) -> Result<EncoderSpec> {
    let (name, component) = (&bundle.spec().name, component(side));
    bundle.spec().encoder(component).ok_or_else(|| {
        let (what, stage) = match side {
            Side::Dnabert => ("nucleotide", "embed-dnabert"),
            Side::Esm => ("protein", "embed-esm"),
        };
        Error::new(Fault::ModelMismatch, format!("the bundle '{name}' has no encoder for the {what} side"))
            .file(bundle.path_of(BUNDLE_YAML))
            .advice(format!("leave out {stage}: merge takes the other side alone; or give another bundle with --model"))
    })
}

/// The part of a bundle that a side is.
pub fn component(side: Side) -> Component {
    match side {
        Side::Dnabert => Component::Dnabert,
        Side::Esm => Component::Esm,
    }
}

/// An encoder.
#[derive(Clone, Debug)]
pub enum Model<'a> {
    /// One side of a bundle.
    Bundled(&'a Bundle, Side),
    /// One of this shape, with random weights: for measurements.
    Random(Shape),
}

impl Model<'_> {
    /// Which sequences it reads.
    pub fn side(&self) -> Side {
        match self {
            Self::Bundled(_, side) => *side,
            Self::Random(Shape::Esm2(_)) => Side::Esm,
            Self::Random(Shape::Dnabert(_)) => Side::Dnabert,
        }
    }

    fn family(&self) -> Result<Family> {
        match self {
            Self::Bundled(bundle, side) => Ok(encoder(bundle, *side)?.family),
            Self::Random(Shape::Esm2(_)) => Ok(Family::Esm2),
            Self::Random(Shape::Dnabert(_)) => Ok(Family::Dnabert2),
        }
    }

    /// For the log.
    pub fn title(&self) -> String {
        match self {
            Self::Bundled(bundle, side) => format!("{} of {}", encoder_title(bundle, *side), stamp(bundle).cell()),
            Self::Random(shape) => {
                let title = component(self.side()).title();
                format!("{title}, random weights, layers: {}", shape.arithmetic().layers)
            }
        }
    }

    fn tokenizer(&self) -> Result<Box<dyn Tokenize>> {
        let name = Component::Dnabert.file(TOKENIZER_JSON);
        match (self, self.family()?) {
            (_, Family::Composition) => Ok(Box::new(Bases)),
            (Self::Bundled(bundle, _), Family::Dnabert2) => {
                bundle.verify_file(&name, &interrupt::check)?;
                Ok(Box::new(DnabertTokenizer::from_bytes(&bundle.file(&name)?, &bundle.path_of(&name))?))
            }
            (Self::Random(_), Family::Dnabert2) => {
                Ok(Box::new(DnabertTokenizer::from_bytes(DnabertTokenizer::OWN, Path::new(&name))?))
            }
            _ => Ok(Box::new(EsmTokenizer)),
        }
    }
}

/// What an encoder of a bundle is called.
pub fn encoder_title(bundle: &Bundle, side: Side) -> &'static str {
    match bundle.spec().family(component(side)) {
        Some(Family::Composition) => "composition",
        _ => component(side).title(),
    }
}

/// A session for one encoder, on every device asked for.
///
/// # Errors
/// A device is missing, the bundle is damaged, or this build has no libtorch.
pub fn session(model: &Model<'_>, compute: &config::Compute) -> Result<Session> {
    let tokenizer = model.tokenizer()?;
    // A kernel that does not serve is told before weights are read.
    let attention = attention(model, compute)?;
    log::debug!("attention: {attention}");
    let devices = devices(model, compute)?;
    let gpus = if devices.on_gpu { devices.lanes.len() } else { 0 };
    if let Some(fitting) = &devices.fitting {
        log::debug!("an automatic batch: {fitting} tokens");
    }
    let usual = if model.family()?.is_cheap() { CHEAP_BATCH_TOKENS } else { CPU_BATCH_TOKENS };
    let fitting = devices.fitting.map_or(divided(usual, compute.attempt), |fitting| Tokens(fitting.value));
    let batching = batching(compute, compute.batch_tokens.or_else(|| fitting), gpus);
    log::info!("{} on {}, {} tokens per batch", model.title(), devices.name, batching.batch_tokens);
    let session = Session::new(tokenizer, devices.lanes, batching).at(devices.computed);
    session.log_memory("with the model loaded");
    Ok(session)
}

fn batching(compute: &config::Compute, batch_tokens: Tokens, gpus: usize) -> Batching {
    Batching {
        batch_tokens,
        prefetch: compute.prefetch,
        workers: compute.dataloader_workers.or_else(|| machine::dataloader_workers(gpus).value),
        timeout: (compute.timeout > 0).then(|| Duration::from_secs(compute.timeout)),
        dedup: compute.dedup,
    }
}

/// Tokens of a batch, for `info`.
pub struct BatchTokens {
    /// How many; none for as many as fit beside the model.
    pub value: Option<Tokens>,
    /// Why.
    pub reason: String,
}

impl fmt::Display for BatchTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, reason } = self;
        match value {
            Some(tokens) => write!(f, "{tokens} ({reason})"),
            None => write!(f, "as many as fit beside the model ({reason})"),
        }
    }
}

/// Tokens of a batch and why: the user's, or the device's divided by 2^(attempt - 1).
pub fn batch_tokens(compute: &config::Compute, on_gpu: bool, is_cheap: bool) -> BatchTokens {
    let usual = if is_cheap { CHEAP_BATCH_TOKENS } else { CPU_BATCH_TOKENS };
    let value = match compute.batch_tokens {
        Auto::Value(tokens) => return BatchTokens { value: Some(tokens), reason: "--batch-tokens".to_owned() },
        Auto::Auto if on_gpu => None,
        Auto::Auto => Some(divided(usual, compute.attempt)),
    };
    let (attempt, divisor) = (compute.attempt, 1_u64 << (compute.attempt.max(1) - 1).min(20));
    let reason = match (attempt, on_gpu) {
        (..=1, _) => automatic(on_gpu).to_owned(),
        (_, true) => format!("attempt {attempt}: divided by {divisor}"),
        (_, false) => format!("attempt {attempt}: {usual} / {divisor}"),
    };
    BatchTokens { value, reason }
}

/// Why a choice is what it is where the user made none.
pub fn automatic(on_gpu: bool) -> &'static str {
    if on_gpu { "automatic on a GPU" } else { "automatic on a CPU" }
}

/// Halved at every attempt but the first.
fn divided(tokens: usize, attempt: u32) -> Tokens {
    Tokens((tokens >> (attempt.max(1) - 1).min(20)).max(1))
}

/// Where models would run, for `info`.
pub struct DeviceSummary {
    /// The devices, each with its number format.
    pub describe: String,
    /// The devices alone.
    pub devices: String,
    /// Number format.
    pub precision: Precision,
    /// GPUs among the devices.
    pub gpus: usize,
}

/// Where models would run.
///
/// # Errors
/// A device is missing, or this build has no libtorch.
pub fn places(compute: &config::Compute) -> Result<DeviceSummary> {
    torch::places(compute)
}

/// The kernel that computes attention of an encoder, and why.
///
/// # Errors
/// The one asked for does not serve; a device is missing, the bundle is damaged, or this build has no libtorch.
pub fn attention(model: &Model<'_>, compute: &config::Compute) -> Result<String> {
    match model.family()? {
        Family::Mock => Ok("none (mock)".to_owned()),
        family if family.needs_libtorch() => Ok(torch::attention(model, compute)?.to_string()),
        _ => Ok("none (composition)".to_owned()),
    }
}

/// The shape of a published encoder, with so many of its layers; none for another name.
///
/// # Errors
/// [`Fault::Usage`] for more layers than it has.
pub fn published(name: &str, layers: Option<usize>) -> Result<Option<Shape>> {
    let Some(shape) = Shape::published(name) else { return Ok(None) };
    let most = shape.layers();
    match layers {
        Some(layers) if layers > most => {
            Err(Error::new(Fault::Usage, format!("{name} has fewer layers than --layers asks for"))
                .expected(format!("--layers from 1 to {most}"))
                .found(layers.to_string())
                .advice("leave out --layers to measure all of them"))
        }
        Some(layers) => Ok(Some(shape.cut(layers))),
        None => Ok(Some(shape)),
    }
}

/// The names of published encoders, in a list.
pub fn published_names() -> Vec<&'static str> {
    Shape::names().collect()
}

/// What an encoder computes; none for one without weights.
///
/// # Errors
/// The bundle is damaged, or this build has no libtorch.
pub fn arithmetic(model: &Model<'_>) -> Result<Option<Arithmetic>> {
    if model.family()?.needs_libtorch() { Ok(Some(torch::shape(model)?.arithmetic())) } else { Ok(None) }
}

/// Measures bare products: on so many threads, for so long. Gives floating-point operations per second.
pub type BareProducts = Box<dyn Fn(usize, Duration) -> Result<f64>>;

/// The matrix products of an encoder over so many rows, where a session of it would run.
///
/// # Errors
/// A device is missing, or this build has no libtorch.
pub fn bare_products(arithmetic: &Arithmetic, rows: usize, compute: &config::Compute) -> Result<BareProducts> {
    torch::bare_products(arithmetic, rows, compute)
}

/// Whether host memory is pinned for so many GPUs with so many bytes free, and why.
pub fn pinning(choice: Auto<bool>, gpus: usize, free: u64) -> Pinning {
    Pinning::decide(choice, gpus, free)
}

/// The version of libtorch this build wants; none where it runs mock bundles only.
pub fn libtorch() -> Option<&'static str> {
    torch::version()
}

/// Lanes of one encoder on all devices.
struct Devices {
    lanes: Vec<Box<dyn Lane>>,
    on_gpu: bool,
    /// Tokens of an automatic batch on GPUs.
    fitting: Option<Derived>,
    /// For the log.
    name: String,
    /// For manifests: what the last digits depend on.
    computed: String,
}

fn devices(model: &Model<'_>, compute: &config::Compute) -> Result<Devices> {
    let family = model.family()?;
    let (Model::Bundled(bundle, side), false) = (model, family.needs_libtorch()) else {
        return torch::lanes(model, compute);
    };
    // Sums of whole numbers: every processor gives the same bytes.
    let (threads, computed) = match family {
        Family::Mock => (1, "no device (mock)".to_owned()),
        _ => (threads_of(compute), "cpu in f32".to_owned()),
    };
    let name = if family == Family::Mock { computed.clone() } else { lanes_of_one_thread(threads) };
    let lanes = (0..threads).map(|_| Ok(lane(plain_encoder(bundle, *side)?))).collect::<Result<_>>()?;
    Ok(Devices { lanes, on_gpu: false, fitting: None, name, computed })
}

fn lane(encoder: Box<dyn Encoder>) -> Box<dyn Lane> {
    Box::new(EncoderLane::new("cpu", encoder, true))
}

fn lanes_of_one_thread(threads: usize) -> String {
    format!("cpu in f32, lanes of one thread: {threads}")
}

/// An encoder that needs no libtorch.
fn plain_encoder(bundle: &Bundle, side: Side) -> Result<Box<dyn Encoder>> {
    let EncoderSpec { family, dim, .. } = encoder(bundle, side)?;
    let (dim, features) = (dim as usize, Composition::default().dim());
    if family == Family::Mock {
        return Ok(Box::new(MockEncoder::new(dim)));
    }
    if dim == features {
        return Ok(Box::new(Composition::default()));
    }
    Err(Error::new(Fault::ModelMismatch, "the bundle has a composition of another width than this program computes")
        .file(bundle.path_of(BUNDLE_YAML))
        .expected(format!("{features} features"))
        .found(dim.to_string())
        .advice("use the version of virnucpro that made the bundle"))
}

/// Threads that compute on a CPU.
fn threads_of(compute: &config::Compute) -> usize {
    compute.threads.or_else(|| machine::cpus().value)
}

#[cfg(any(test, feature = "torch"))]
const SMALLER_MODEL: &str =
    "use a smaller model, --dtype f16 or bf16, or raise the memory of this job (ulimit -v, the scheduler's limit)";

/// Compares what weights need on a CPU with what is free: the kernel would end the process without a word.
#[cfg(any(test, feature = "torch"))]
fn check_room(shape: &Shape, precision: Precision, memory: &MemoryPicture) -> Result<()> {
    use crate::units::Bytes;
    let need = shape.bytes(precision);
    match memory.free {
        Some(free) if need > free => Err(Error::new(Fault::ModelTooLarge, "the model does not fit in memory")
            .expected(format!("{} of free memory for its weights in {precision}", Bytes(need)))
            .found(format!("memory: {memory}"))
            .advice(SMALLER_MODEL)),
        _ => Ok(()),
    }
}

/// The head of a bundle, on the threads of this machine.
///
/// # Errors
/// [`Fault::ModelMismatch`] where the bundle has no head, or has one of another width than its vectors; damaged files.
pub fn head(bundle: &Bundle, compute: &config::Compute) -> Result<Box<dyn Head>> {
    Ok(Box::new(HeadLanes::new(shared_head(bundle)?, threads_of(compute))))
}

/// A session whose vectors are logits: encoder and head of a bundle with one cheap side in one lane.
///
/// # Errors
/// As for [`session`] and [`head`].
pub fn scoring_session(bundle: &Bundle, compute: &config::Compute) -> Result<Session> {
    let side = sides(bundle).into_iter().next().ok_or_else(|| Error::new(Fault::Bug, "a bundle without sides"))?;
    let model = Model::Bundled(bundle, side);
    let threads = threads_of(compute);
    let head = shared_head(bundle)?;
    let scorer = |_| Ok(lane(Box::new(Scorer { encoder: plain_encoder(bundle, side)?, head: Arc::clone(&head) })));
    let lanes = (0..threads).map(scorer).collect::<Result<_>>()?;
    let batch_tokens = compute.batch_tokens.or_else(|| divided(CHEAP_BATCH_TOKENS, compute.attempt));
    // A window costs less to score than to recognise.
    let batching = Batching { dedup: false, ..batching(compute, batch_tokens, 0) };
    log::info!("{} on {}", model.title(), lanes_of_one_thread(threads));
    Ok(Session::new(model.tokenizer()?, lanes, batching))
}

fn shared_head(bundle: &Bundle) -> Result<Arc<dyn Head>> {
    let spec = head_spec(bundle)?;
    if spec.family == Family::Mock {
        return Ok(Arc::new(MockHead::new(spec.dim as usize)));
    }
    let name = Component::Head.weights();
    verified(bundle, std::slice::from_ref(&name), || {
        let weights = Safetensors::read(bundle.file(&name)?, &bundle.path_of(&name))?;
        let head = Classifier::load(&weights).map_err(|error| error.file(weights.path()))?;
        if head.dim() != spec.dim as usize {
            return Err(Error::new(
                Fault::ModelMismatch,
                "the head takes vectors of another width than its bundle says",
            )
            .file(weights.path())
            .expected(spec.dim.to_string())
            .found(head.dim().to_string())
            .advice("import or train the bundle again"));
        }
        Ok(Arc::new(head) as Arc<dyn Head>)
    })
}

/// What a bundle says of its head.
///
/// # Errors
/// [`Fault::ModelMismatch`] where it has none.
pub fn head_spec(bundle: &Bundle) -> Result<HeadSpec> {
    bundle.spec().head.ok_or_else(|| {
        Error::new(Fault::ModelMismatch, format!("the bundle '{}' has no head: it only embeds", bundle.spec().name))
            .file(bundle.path_of(BUNDLE_YAML))
            .advice("fit a head to vectors of it with 'virnucpro train', or give another bundle with --model")
    })
}

/// Loads while the digests of `files` are computed beside it. Results name the bundle by its digest: what computes
/// them must be what it lists, and a damaged file explains any error of loading.
fn verified<T>(bundle: &Bundle, files: &[String], load: impl FnOnce() -> Result<T>) -> Result<T> {
    thread::scope(|scope| {
        let verify = || files.iter().try_for_each(|name| bundle.verify_file(name, &interrupt::check));
        let digests = threads::spawn_scoped(scope, "digests", verify)?;
        let loaded = load();
        digests.join().unwrap_or_else(|_| Err(Error::new(Fault::Bug, "the check of digests panicked")))?;
        loaded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(bytes: f64) -> MemoryPicture {
        MemoryPicture { free: Some(bytes as u64), total: Some(25_000_000_000), ..MemoryPicture::default() }
    }

    #[test]
    fn a_model_larger_than_the_free_memory_is_refused_with_both_numbers() {
        let shape = Shape::published("esm2-15b").unwrap();
        let error = check_room(&shape, Precision::F32, &free(24e9)).unwrap_err();
        assert_eq!(error.fault(), Fault::ModelTooLarge);
        let told = error.report("virnucpro");
        for part in ["60.4 GB of free memory", "in f32", "24.0 GB of 25.0 GB free", "smaller model"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn a_model_that_just_fits_is_loaded() {
        let shape = Shape::published("esm2-15b").unwrap();
        let need = shape.bytes(Precision::Bf16) as f64;
        check_room(&shape, Precision::Bf16, &free(need)).unwrap();
        assert!(check_room(&shape, Precision::F32, &free(need)).is_err());
        check_room(&shape, Precision::F32, &MemoryPicture::default()).unwrap();
        check_room(&shape.cut(1), Precision::F32, &free(24e9)).unwrap();
    }

    #[test]
    fn the_tokens_of_a_batch_have_their_reason() {
        let told = |batch_tokens, attempt, on_gpu| {
            let compute = config::Compute { batch_tokens, attempt, ..config::Compute::default() };
            super::batch_tokens(&compute, on_gpu, false).to_string()
        };
        assert_eq!(told(Auto::Auto, 1, false), "1024 (automatic on a CPU)");
        assert_eq!(told(Auto::Auto, 3, false), "256 (attempt 3: 1024 / 4)");
        assert_eq!(told(Auto::Value(Tokens(4096)), 3, false), "4096 (--batch-tokens)");
        assert_eq!(told(Auto::Auto, 1, true), "as many as fit beside the model (automatic on a GPU)");
        assert_eq!(told(Auto::Auto, 2, true), "as many as fit beside the model (attempt 2: divided by 2)");
    }

    #[test]
    fn more_layers_than_a_shape_has_are_refused_with_the_number_it_has() {
        assert_eq!(published("ESM2-8M", Some(6)).unwrap().unwrap().layers(), 6);
        let error = published("esm2-8m", Some(7)).unwrap_err();
        assert_eq!(error.fault(), Fault::Usage);
        assert!(error.report("bench").contains("from 1 to 6"), "{}", error.report("bench"));
        assert!(published("esm2-9m", None).unwrap().is_none());
    }
}
