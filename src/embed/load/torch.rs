//! A build with libtorch: models on their devices.

use std::thread;

use super::{BareProducts, DeviceSummary, Devices, Model, component, too_large};
use crate::bundle::{Bundle, CONFIG_JSON, Component};
use crate::config::{self, Side};
use crate::device::attention::{Attends, Chosen, choose};
use crate::device::yardstick::Yardstick;
use crate::device::{Placement, set_threads};
use crate::embed::lane::head::HeadLanes;
use crate::embed::lane::{Lane, cpu};
use crate::error::{Error, Fault, Result};
use crate::model::Head;
use crate::model::classifier::Classifier;
use crate::model::dnabert::{self, Dnabert};
use crate::model::esm2::{self, Esm2};
use crate::model::random::RandomWeights;
use crate::model::schema::Configuration;
use crate::model::schema::shapes::{Arithmetic, Shape};
use crate::runtime::{interrupt, machine, memory, threads};
use crate::units::{Auto, Precision};
use crate::weights::{Safetensors, TensorSource, bytes};

pub const VERSION: &str = "2.11.0";

pub fn places(compute: &config::Compute) -> Result<DeviceSummary> {
    let places = Placement::resolve(&compute.device, compute.dtype)?;
    let gpus = places.iter().filter(|place| place.is_gpu()).count();
    Ok(DeviceSummary { describe: names(&places), precision: first(&places)?.precision(), gpus })
}

pub fn attention(model: &Model<'_>, compute: &config::Compute) -> Result<Chosen> {
    let places = Placement::resolve(&compute.device, compute.dtype)?;
    let place = first(&places)?;
    let (bias, head_width) = match shape(model)? {
        Shape::Dnabert(config) => (true, config.hidden_size / config.num_attention_heads.max(1)),
        Shape::Esm2(config) => (false, config.head_width()),
    };
    let attends = Attends { bias, head_width, precision: place.precision() };
    choose(compute.gpu.attention, attends, place.processor())
}

pub fn precision(compute: &config::Compute) -> Result<Precision> {
    Ok(first(&Placement::resolve(&compute.device, compute.dtype)?)?.precision())
}

/// What a model is made of.
pub fn shape(model: &Model<'_>) -> Result<Shape> {
    let (bundle, side) = match model {
        Model::Random(shape) => return Ok(shape.clone()),
        Model::Bundled(bundle, side) => (bundle, *side),
    };
    let file = component(side).file(CONFIG_JSON);
    let (json, path) = (bundle.file(&file)?, bundle.path_of(&file));
    let json = bytes::text(&json, &path)?;
    let shape = match side {
        Side::Dnabert => dnabert::Config::from_json(json).map(Shape::Dnabert),
        Side::Esm => esm2::Config::from_json(json).map(Shape::Esm2),
    };
    shape.map_err(|error| error.file(path))
}

pub fn lanes(model: &Model<'_>, compute: &config::Compute) -> Result<Devices> {
    let places = Placement::resolve(&compute.device, compute.dtype)?;
    let on_gpu = first(&places)?.is_gpu();
    let threads = if on_gpu { 1 } else { threads_of(compute) };
    set_threads(1);
    memory::large_pieces();
    let shape = shape(model)?;
    let load = |weights: &dyn TensorSource| {
        let lanes = places.iter().map(|place| lanes_at(&shape, weights, place, threads));
        Ok(lanes.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    };
    let lanes = match model {
        Model::Bundled(bundle, side) => {
            let component = component(*side);
            verified(bundle, &[component.file(CONFIG_JSON), component.weights()], || {
                let weights = weights(component, bundle)?;
                load(&weights).map_err(|error| of_file(error, &weights))
            })
        }
        Model::Random(shape) => load(&RandomWeights::of(&shape.tensors())),
    };
    memory::release(); // what loading took beside the weights
    let name = names(&places);
    let (name, computed) = match on_gpu {
        true => (name.clone(), format!("{name}, libtorch {VERSION}")),
        false => (
            format!("{name}, lanes of one thread: {threads}"),
            format!("{name} {}, libtorch {VERSION}", machine::vectors()),
        ),
    };
    Ok(Devices { lanes: lanes.map_err(too_large)?, on_gpu, name, computed })
}

fn lanes_at(
    shape: &Shape,
    weights: &dyn TensorSource,
    place: &Placement,
    threads: usize,
) -> Result<Vec<Box<dyn Lane>>> {
    let name = place.to_string();
    Ok(match shape {
        Shape::Dnabert(config) => cpu::lanes(&name, Dnabert::load(weights, config, place, &interrupt::check)?, threads),
        Shape::Esm2(config) => cpu::lanes(&name, Esm2::load(weights, config, place, &interrupt::check)?, threads),
    })
}

pub fn bare_products(arithmetic: &Arithmetic, rows: usize, compute: &config::Compute) -> Result<BareProducts> {
    let places = Placement::resolve(&compute.device, compute.dtype)?;
    let yardstick = Yardstick::new(first(&places)?, &arithmetic.products, rows)?;
    Ok(Box::new(move |threads, duration| yardstick.rate(threads, duration)))
}

pub fn head(bundle: &Bundle, compute: &config::Compute) -> Result<Box<dyn Head>> {
    let places = Placement::resolve(&compute.device, Auto::Value(Precision::F32))?;
    set_threads(1);
    let place = first(&places)?;
    let lanes = if place.is_gpu() { 1 } else { threads_of(compute) };
    verified(bundle, &[Component::Head.weights()], || {
        let weights = weights(Component::Head, bundle)?;
        let head = Classifier::load(&weights, place).map_err(|error| of_file(error, &weights))?;
        Ok(Box::new(HeadLanes::new(head, lanes)) as Box<dyn Head>)
    })
}

/// Threads that compute on a CPU.
fn threads_of(compute: &config::Compute) -> usize {
    compute.threads.or_else(|| machine::cpus().value)
}

fn names(places: &[Placement]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn first(places: &[Placement]) -> Result<&Placement> {
    places.first().ok_or_else(|| Error::new(Fault::DeviceUnavailable, "no device is left to run on"))
}

fn weights(component: Component, bundle: &Bundle) -> Result<Safetensors> {
    let name = component.weights();
    Safetensors::read(bundle.file(&name)?, &bundle.path_of(&name))
}

/// Names the file of an error of the model; a signal or the device says nothing of it.
fn of_file(error: Error, weights: &Safetensors) -> Error {
    if error.fault().id().starts_with("VN-MODEL") { error.file(weights.path()) } else { error }
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
