//! From a bundle to running models: which file feeds which part.

use crate::bundle::{Bundle, Family, SearchPath};
use crate::config::{self, Side};
use crate::embed::{Batching, Engine};
use crate::error::{Error, Fault, Result};
use crate::model::mock::{MockEncoder, MockHead};
use crate::model::{Encoder, Head};
use crate::runtime::{interrupt, machine};
use crate::store::ModelStamp;
use crate::tokenize::{DnabertTokenizer, EsmTokenizer, Tokenize};
use crate::units::{Precision, Tokens};

/// Tokens of an automatic batch on a CPU: enough to keep its cores in matrix products; more only takes memory.
const CPU_BATCH_TOKENS: usize = 1024;
/// Tokens of an automatic batch on a GPU.
const GPU_BATCH_TOKENS: usize = 16_384;

/// Opens the bundle a command names.
///
/// # Errors
/// There is no such bundle, or it is damaged.
pub fn bundle(model: &config::BundleChoice) -> Result<Bundle> {
    Bundle::open(&model.name, &SearchPath::standard(model.search.clone()))
}

/// How manifests and tables name a bundle.
pub fn stamp(bundle: &Bundle) -> ModelStamp {
    let spec = bundle.spec();
    ModelStamp { bundle: spec.name.clone(), digest: bundle.digest().to_string(), trained: spec.trained }
}

/// The number format that a part of a bundle computes in, without loading it.
///
/// # Errors
/// As for [`engine`].
pub fn precision(bundle: &Bundle, side: Side, compute: &config::Compute) -> Result<Precision> {
    if family(bundle, side) == Family::Mock { Ok(Precision::F32) } else { torch::precision(compute) }
}

/// Whether this build can run the models of a bundle.
pub fn computes(bundle: &Bundle) -> bool {
    let spec = bundle.spec();
    let families = [spec.dnabert.family, spec.esm.family, spec.head.family];
    cfg!(feature = "torch") || families.iter().all(|&family| family == Family::Mock)
}

fn family(bundle: &Bundle, side: Side) -> Family {
    match side {
        Side::Dnabert => bundle.spec().dnabert.family,
        Side::Esm => bundle.spec().esm.family,
    }
}

/// An engine for one part of a bundle, on every device asked for.
///
/// # Errors
/// A device is missing, the bundle is damaged, or this build has no libtorch.
pub fn engine(bundle: &Bundle, side: Side, compute: &config::Compute) -> Result<Engine> {
    let family = family(bundle, side);
    let tokenizer: Box<dyn Tokenize> = match family {
        Family::Dnabert => {
            let name = "dnabert/tokenizer.json";
            bundle.verify_file(name, &interrupt::check)?;
            Box::new(DnabertTokenizer::from_bytes(&bundle.file(name)?, &bundle.path_of(name))?)
        }
        _ => Box::new(EsmTokenizer),
    };
    let devices = devices(family, bundle, side, compute)?;
    let gpus = if devices.on_gpu { devices.encoders.len() } else { 0 };
    let batching = Batching {
        batch_tokens: batch_tokens(compute, devices.on_gpu),
        prefetch: compute.prefetch,
        workers: compute.dataloader_workers.or_else(|| machine::dataloader_workers(gpus).value),
    };
    log::info!(
        "{} of {} on {}, {} tokens per batch",
        if side == Side::Dnabert { "DNABERT-S" } else { "ESM-2" },
        stamp(bundle).cell(),
        devices.name,
        batching.batch_tokens
    );
    Ok(Engine::new(tokenizer, devices.encoders, batching))
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

/// Encoders, one per device.
struct Devices {
    encoders: Vec<Box<dyn Encoder>>,
    on_gpu: bool,
    name: String,
}

fn devices(family: Family, bundle: &Bundle, side: Side, compute: &config::Compute) -> Result<Devices> {
    if family == Family::Mock {
        let dim = match side {
            Side::Dnabert => bundle.spec().dnabert.dim,
            Side::Esm => bundle.spec().esm.dim,
        };
        let encoders: Vec<Box<dyn Encoder>> = vec![Box::new(MockEncoder::new(dim as usize))];
        return Ok(Devices { encoders, on_gpu: false, name: "no device (mock)".to_owned() });
    }
    torch::encoders(family, bundle, compute)
}

/// The head of a bundle, on the first device asked for, in f32.
///
/// # Errors
/// As for [`engine`].
pub fn head(bundle: &Bundle, compute: &config::Compute) -> Result<Box<dyn Head>> {
    let spec = bundle.spec().head;
    if spec.family == Family::Mock {
        return Ok(Box::new(MockHead::new(spec.dim as usize)));
    }
    torch::head(bundle, compute)
}

#[cfg(feature = "torch")]
mod torch {
    use super::*;
    use crate::device::{Placement, set_threads};
    use crate::model::classifier::Classifier;
    use crate::model::dnabert::{self, Dnabert};
    use crate::model::esm2::{self, Esm2};
    use crate::model::parameters::Parameters;
    use crate::pack::TokenBatch;
    use crate::units::Auto;
    use crate::weights::ModelBytes;
    use std::cell::Cell;
    use std::thread;

    pub const VERSION: &str = "2.11.0";

    pub fn places(compute: &config::Compute) -> Result<DeviceSummary> {
        let places = Placement::resolve(&compute.device, compute.dtype)?;
        let gpus = places.iter().filter(|place| place.is_gpu()).count();
        let attention = if gpus > 0 {
            "scaled dot product, kernel chosen by libtorch; exact-length batches, no mask"
        } else {
            "scaled dot product, CPU flash kernel of libtorch; exact-length batches, no mask"
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

    /// An encoder that computes on a number of threads, whichever thread it is called from.
    struct OnThreads {
        encoder: Box<dyn Encoder>,
        threads: usize,
    }

    impl Encoder for OnThreads {
        fn dim(&self) -> usize {
            self.encoder.dim()
        }

        fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
            thread_local!(static SET: Cell<usize> = const { Cell::new(0) });
            // libtorch keeps the number per calling thread.
            if SET.replace(self.threads) != self.threads {
                set_threads(self.threads);
            }
            self.encoder.embed(batch)
        }
    }

    pub fn precision(compute: &config::Compute) -> Result<Precision> {
        Ok(first(&Placement::resolve(&compute.device, compute.dtype)?)?.precision())
    }

    fn first(places: &[Placement]) -> Result<&Placement> {
        places.first().ok_or_else(|| Error::new(Fault::DeviceUnavailable, "no device is left to run on"))
    }

    pub fn encoders(family: Family, bundle: &Bundle, compute: &config::Compute) -> Result<Devices> {
        let places = Placement::resolve(&compute.device, compute.dtype)?;
        let threads = compute.threads.or_else(|| machine::cpus().value);
        // One processor is left to the digests: threads of libtorch that wait for each other wait for all of them.
        set_threads(if bundle.is_staged() { threads } else { threads.saturating_sub(1).max(1) });
        let encoders = verified(bundle, &files_of(family), || {
            let encoders = places.iter().map(|place| {
                let encoder = encoder(family, bundle, place)?;
                Ok(Box::new(OnThreads { encoder, threads }) as Box<dyn Encoder>)
            });
            encoders.collect::<Result<Vec<_>>>()
        })?;
        Ok(Devices { encoders, on_gpu: first(&places)?.is_gpu(), name: names(&places) })
    }

    /// Loads while the digests of `files` are computed beside it. Results name the bundle by its digest: what computes
    /// them must be what it lists, and a damaged file explains whatever loading says.
    fn verified<T>(bundle: &Bundle, files: &[&str], load: impl FnOnce() -> Result<T>) -> Result<T> {
        thread::scope(|scope| {
            let digests = scope.spawn(|| files.iter().try_for_each(|name| bundle.verify_file(name, &interrupt::check)));
            let loaded = load();
            digests.join().unwrap_or_else(|_| Err(Error::new(Fault::Bug, "the check of digests panicked")))?;
            loaded
        })
    }

    /// Configuration and weights.
    fn files_of(family: Family) -> [&'static str; 2] {
        match family {
            Family::Dnabert => ["dnabert/config.json", "dnabert/model.safetensors"],
            _ => ["esm/config.json", "esm/model.safetensors"],
        }
    }

    fn encoder(family: Family, bundle: &Bundle, place: &Placement) -> Result<Box<dyn Encoder>> {
        let [config_name, weights_name] = files_of(family);
        let json = bundle.file(config_name)?;
        let json = str::from_utf8(&json).map_err(|error| {
            Error::new(Fault::ModelConfig, "the configuration is no text")
                .file(bundle.path_of(config_name))
                .caused_by(error)
        })?;
        let bytes = bundle.file(weights_name)?;
        let source = bundle.path_of(weights_name);
        let load = |parameters: &Parameters<'_>| -> Result<Box<dyn Encoder>> {
            let in_config = |error: Error| error.file(bundle.path_of(config_name));
            Ok(match family {
                Family::Dnabert => {
                    Box::new(Dnabert::load(parameters, &dnabert::Config::from_json(json).map_err(in_config)?)?)
                }
                _ => Box::new(Esm2::load(parameters, &esm2::Config::from_json(json).map_err(in_config)?)?),
            })
        };
        if bundle.is_staged() {
            if bytes.len() as u64 <= machine::memory().available / 2 {
                bytes.populate(0..bytes.len());
            }
            // Used for a moment, and no file that anybody else could cut short: not worth a copy.
            #[allow(unsafe_code)]
            // SAFETY: `InPlace` holds the bytes until after it has dropped the encoder; nobody else knows the file.
            let parameters = unsafe {
                Parameters::parse_in_place(&bytes, &source.to_string_lossy(), place, &|_| interrupt::check())?
            };
            let encoder = load(&parameters)?;
            drop(parameters);
            return Ok(Box::new(InPlace { encoder, _bytes: bytes }));
        }
        let taken = |part| {
            bytes.release(part);
            interrupt::check()
        };
        load(&Parameters::parse_mapped(&bytes, &source.to_string_lossy(), place, &taken)?)
    }

    /// An encoder whose tensors lie in a mapped file. Fields are dropped in this order.
    struct InPlace {
        encoder: Box<dyn Encoder>,
        _bytes: ModelBytes,
    }

    impl Encoder for InPlace {
        fn dim(&self) -> usize {
            self.encoder.dim()
        }

        fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
            self.encoder.embed(batch)
        }
    }

    pub fn head(bundle: &Bundle, compute: &config::Compute) -> Result<Box<dyn Head>> {
        let places = Placement::resolve(&compute.device, Auto::Value(Precision::F32))?;
        set_threads(compute.threads.or_else(|| machine::cpus().value));
        let name = "head.safetensors";
        verified(bundle, &[name], || {
            let bytes = bundle.file(name)?;
            let source = bundle.path_of(name);
            let parameters = Parameters::parse(&bytes, &source.to_string_lossy(), first(&places)?)?;
            Ok(Box::new(Classifier::load(&parameters)?) as Box<dyn Head>)
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

    pub fn encoders(_: Family, _: &Bundle, _: &config::Compute) -> Result<Devices> {
        Err(absent())
    }

    pub fn head(_: &Bundle, _: &config::Compute) -> Result<Box<dyn Head>> {
        Err(absent())
    }
}
