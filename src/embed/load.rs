//! From a bundle to running models: which file feeds which part.

use crate::bundle::{Bundle, Component, Family, SearchPath, TOKENIZER_JSON};
use crate::config::{self, Side};
use crate::embed::lane::{EncoderLane, Lane};
use crate::embed::{Batching, Session};
use crate::error::{Error, Fault, Result};
use crate::model::Head;
use crate::model::mock::{MockEncoder, MockHead};
use crate::runtime::picture::MemoryPicture;
use crate::runtime::{interrupt, machine, memory};
use crate::store::ModelStamp;
use crate::tokenize::{DnabertTokenizer, EsmTokenizer, Tokenize};
use crate::units::{Precision, Tokens};
use std::time::Duration;

/// Tokens of an automatic batch on a CPU: enough to keep its cores in matrix products; more only takes memory.
const CPU_BATCH_TOKENS: usize = 1024;
/// Tokens of an automatic batch on a GPU.
const GPU_BATCH_TOKENS: usize = 16_384;

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
    if bundle.spec().family(component(side)) == Family::Mock { Ok(Precision::F32) } else { torch::precision(compute) }
}

/// Whether this build can run the models of a bundle.
pub fn computes(bundle: &Bundle) -> bool {
    cfg!(feature = "torch") || Component::ALL.iter().all(|&model| bundle.spec().family(model) == Family::Mock)
}

fn component(side: Side) -> Component {
    match side {
        Side::Dnabert => Component::Dnabert,
        Side::Esm => Component::Esm,
    }
}

/// A session for one encoder of a bundle, on every device asked for.
///
/// # Errors
/// A device is missing, the bundle is damaged, or this build has no libtorch.
pub fn session(bundle: &Bundle, side: Side, compute: &config::Compute) -> Result<Session> {
    let component = component(side);
    let tokenizer: Box<dyn Tokenize> = match bundle.spec().family(component) {
        Family::Dnabert => {
            let name = component.file(TOKENIZER_JSON);
            bundle.verify_file(&name, &interrupt::check)?;
            Box::new(DnabertTokenizer::from_bytes(&bundle.file(&name)?, &bundle.path_of(&name))?)
        }
        _ => Box::new(EsmTokenizer),
    };
    let devices = devices(component, bundle, compute)?;
    memory::work_in_batches(true);
    let gpus = if devices.on_gpu { devices.lanes.len() } else { 0 };
    let batching = Batching {
        batch_tokens: batch_tokens(compute, devices.on_gpu),
        prefetch: compute.prefetch,
        workers: compute.dataloader_workers.or_else(|| machine::dataloader_workers(gpus).value),
        timeout: (compute.timeout > 0).then(|| Duration::from_secs(compute.timeout)),
        dedup: compute.dedup,
    };
    log::info!(
        "{} of {} on {}, {} tokens per batch",
        component.title(),
        stamp(bundle).cell(),
        devices.name,
        batching.batch_tokens
    );
    Ok(Session::new(tokenizer, devices.lanes, batching).at(devices.computed))
}

/// Tokens of a batch: the user's, or the device's divided by 2^(attempt - 1).
pub fn batch_tokens(compute: &config::Compute, on_gpu: bool) -> Tokens {
    let automatic = if on_gpu { GPU_BATCH_TOKENS } else { CPU_BATCH_TOKENS };
    compute.batch_tokens.or_else(|| Tokens((automatic >> (compute.attempt.max(1) - 1).min(20)).max(1)))
}

/// Where models would run, for `info`.
pub struct DeviceSummary {
    /// The devices.
    pub describe: String,
    /// How attention is computed there.
    pub attention: String,
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

/// The version of libtorch this build wants, or that it has none.
pub fn libtorch() -> String {
    torch::VERSION.to_owned()
}

/// Lanes of one encoder on all devices.
struct Devices {
    lanes: Vec<Box<dyn Lane>>,
    on_gpu: bool,
    /// For the log.
    name: String,
    /// For manifests: what the last digits depend on.
    computed: String,
}

fn devices(component: Component, bundle: &Bundle, compute: &config::Compute) -> Result<Devices> {
    let spec = bundle.spec();
    if spec.family(component) == Family::Mock {
        let dim = if component == Component::Dnabert { spec.dnabert.dim } else { spec.esm.dim };
        let lane = EncoderLane::new("cpu", Box::new(MockEncoder::new(dim as usize)));
        let mock = "no device (mock)".to_owned();
        return Ok(Devices { lanes: vec![Box::new(lane)], on_gpu: false, name: mock.clone(), computed: mock });
    }
    torch::lanes(component, bundle, compute).map_err(too_large)
}

/// A model that does not fit is no smaller at the next attempt.
fn too_large(error: Error) -> Error {
    if error.fault() != Fault::OutOfMemory {
        return error;
    }
    Error::new(Fault::ModelTooLarge, "the model does not fit in memory")
        .found(MemoryPicture::host().to_string())
        .advice("use a smaller model, --dtype f16 or bf16, or raise the memory of this job (ulimit -v, the scheduler's limit)")
        .caused_by(error)
}

/// The head of a bundle, on the first device asked for, in f32.
///
/// # Errors
/// As for [`session`].
pub fn head(bundle: &Bundle, compute: &config::Compute) -> Result<Box<dyn Head>> {
    let spec = bundle.spec().head;
    if spec.family == Family::Mock {
        return Ok(Box::new(MockHead::new(spec.dim as usize)));
    }
    torch::head(bundle, compute).map_err(too_large)
}

#[cfg(feature = "torch")]
mod torch {
    use super::*;
    use crate::bundle::CONFIG_JSON;
    use crate::device::{Placement, set_threads};
    use crate::embed::lane::layout::{HeadLanes, Layout};
    use crate::model::classifier::Classifier;
    use crate::model::dnabert::{self, Dnabert};
    use crate::model::esm2::{self, Esm2};
    use crate::model::schema::Configuration;
    use crate::runtime::threads;
    use crate::units::Auto;
    use crate::weights::{Safetensors, bytes};
    use std::thread;

    pub const VERSION: &str = "2.11.0";

    pub fn places(compute: &config::Compute) -> Result<DeviceSummary> {
        let places = Placement::resolve(&compute.device, compute.dtype)?;
        let gpus = places.iter().filter(|place| place.is_gpu()).count();
        let attention = if gpus > 0 {
            "scaled dot product, kernel chosen by libtorch; each sequence alone, no padding or mask"
        } else {
            "scaled dot product, a kernel of this program; each sequence alone, no padding or mask"
        };
        Ok(DeviceSummary {
            describe: names(&places),
            attention: attention.to_owned(),
            precision: first(&places)?.precision(),
            gpus,
        })
    }

    fn names(places: &[Placement]) -> String {
        places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    pub fn precision(compute: &config::Compute) -> Result<Precision> {
        Ok(first(&Placement::resolve(&compute.device, compute.dtype)?)?.precision())
    }

    fn first(places: &[Placement]) -> Result<&Placement> {
        places.first().ok_or_else(|| Error::new(Fault::DeviceUnavailable, "no device is left to run on"))
    }

    pub fn lanes(component: Component, bundle: &Bundle, compute: &config::Compute) -> Result<Devices> {
        let places = Placement::resolve(&compute.device, compute.dtype)?;
        let on_gpu = first(&places)?.is_gpu();
        let threads = if on_gpu { 1 } else { compute.threads.or_else(|| machine::cpus().value) };
        let bytes = bundle.spec().files.get(&component.weights()).map_or(0, |file| file.bytes);
        let layout = Layout::of(bytes, threads);
        set_threads(1);
        let lanes = verified(bundle, &[component.file(CONFIG_JSON), component.weights()], || {
            let lanes = places.iter().map(|place| lanes_at(component, bundle, place, layout));
            Ok(lanes.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })?;
        let name = names(&places);
        let computed = match layout {
            _ if on_gpu => format!("{name}, libtorch {VERSION}"),
            Layout::Lanes(_) => format!("{name} {}, libtorch {VERSION}", instructions()),
            Layout::Together(n) => format!("{name} {} on {n} threads, libtorch {VERSION}", instructions()),
        };
        let name = if on_gpu { name } else { format!("{name}, {}", layout.words()) };
        Ok(Devices { lanes, on_gpu, name, computed })
    }

    /// The widest vectors of the processor, which decide how libtorch computes.
    fn instructions() -> &'static str {
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f") {
                return "AVX-512";
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                return "AVX2";
            }
        }
        std::env::consts::ARCH
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

    fn lanes_at(
        component: Component,
        bundle: &Bundle,
        place: &Placement,
        layout: Layout,
    ) -> Result<Vec<Box<dyn Lane>>> {
        let name = place.to_string();
        let file = component.file(CONFIG_JSON);
        let (json, path) = (bundle.file(&file)?, bundle.path_of(&file));
        let json = bytes::text(&json, &path)?;
        let in_config = |error: Error| error.file(&path);
        let weights = weights(component, bundle)?;
        // A signal or the device says nothing of the file.
        let of_model = |error: &Error| error.fault().id().starts_with("VN-MODEL");
        let in_weights = |error: Error| if of_model(&error) { error.file(weights.path()) } else { error };
        match component {
            Component::Dnabert => {
                let config = dnabert::Config::from_json(json).map_err(in_config)?;
                let dnabert = Dnabert::load(&weights, &config, place, &interrupt::check).map_err(in_weights)?;
                layout.lanes(&name, dnabert)
            }
            _ => {
                let config = esm2::Config::from_json(json).map_err(in_config)?;
                layout.lanes(&name, Esm2::load(&weights, &config, place, &interrupt::check).map_err(in_weights)?)
            }
        }
    }

    fn weights(component: Component, bundle: &Bundle) -> Result<Safetensors> {
        let name = component.weights();
        Safetensors::read(bundle.file(&name)?, &bundle.path_of(&name))
    }

    pub fn head(bundle: &Bundle, compute: &config::Compute) -> Result<Box<dyn Head>> {
        let places = Placement::resolve(&compute.device, Auto::Value(Precision::F32))?;
        set_threads(1);
        let place = first(&places)?;
        let lanes = if place.is_gpu() { 1 } else { compute.threads.or_else(|| machine::cpus().value) };
        verified(bundle, &[Component::Head.weights()], || {
            let weights = weights(Component::Head, bundle)?;
            let head = Classifier::load(&weights, place).map_err(|error| error.file(weights.path()))?;
            Ok(Box::new(HeadLanes::new(head, lanes)) as Box<dyn Head>)
        })
    }
}

#[cfg(not(feature = "torch"))]
mod torch {
    use super::*;

    fn absent() -> Error {
        Error::new(Fault::DeviceUnavailable, "this build of virnucpro has no libtorch and runs mock bundles only")
            .advice("install the full build: cargo build --release with the default features")
    }

    pub const VERSION: &str = "none: this build runs mock bundles only";

    pub fn places(_: &config::Compute) -> Result<DeviceSummary> {
        Err(absent())
    }

    pub fn precision(_: &config::Compute) -> Result<Precision> {
        Err(absent())
    }

    pub fn lanes(_: Component, _: &Bundle, _: &config::Compute) -> Result<Devices> {
        Err(absent())
    }

    pub fn head(_: &Bundle, _: &config::Compute) -> Result<Box<dyn Head>> {
        Err(absent())
    }
}
