//! A build with libtorch: models on their devices.

use std::thread;

use super::gpu::{self, Gpus};
use super::{BareProducts, DeviceSummary, Devices, Model, SMALLER_MODEL, check_room, component, threads_of, verified};
use crate::bundle::{Bundle, CONFIG_JSON, Component};
use crate::config::{self, Side};
use crate::device::attention::{Attends, Chosen, choose};
use crate::device::yardstick::Yardstick;
use crate::device::{Placement, caught, set_threads};
use crate::embed::lane::{Lane, cpu};
use crate::error::{Error, Fault, Result};
use crate::model::dnabert::{self, Dnabert};
use crate::model::esm2::{self, Esm2};
use crate::model::random::RandomWeights;
use crate::model::schema::Configuration;
use crate::model::schema::shapes::{Arithmetic, Shape};
use crate::model::{Encoder, TensorEncoder};
use crate::runtime::machine::Derived;
use crate::runtime::picture::MemoryPicture;
use crate::runtime::{interrupt, machine, memory, threads};
use crate::units::Precision;
use crate::weights::{Safetensors, TensorSource, bytes};

const VERSION: &str = "2.11.0";

pub fn version() -> Option<&'static str> {
    Some(VERSION)
}

/// Rows that keep any GPU busy with one product: more would only take memory from the session that is measured beside it.
const GPU_ROWS: usize = 16 << 10;

pub fn places(compute: &config::Compute) -> Result<DeviceSummary> {
    let places = Placement::resolve(&compute.device, compute.dtype)?;
    let gpus = places.iter().filter(|place| place.is_gpu()).count();
    let devices = places.iter().map(Placement::device_name).collect::<Vec<_>>().join(", ");
    Ok(DeviceSummary { describe: names(&places), devices, precision: first(&places)?.precision(), gpus })
}

pub fn attention(model: &Model<'_>, compute: &config::Compute) -> Result<Chosen> {
    let places = Placement::resolve(&compute.device, compute.dtype)?;
    attention_at(first(&places)?, &shape(model)?, compute)
}

fn attention_at(place: &Placement, shape: &Shape, compute: &config::Compute) -> Result<Chosen> {
    let (bias, head_width) = match shape {
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
    if !on_gpu {
        check_room(&shape, first(&places)?.precision(), &MemoryPicture::host())?;
    }
    let loading = Loading { shape: &shape, compute, gpus: Gpus::open(&places, compute)?, threads };
    let load = |weights: &dyn TensorSource| loading.everywhere(&places, weights);
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
    let lanes = lanes.map_err(too_large)?;
    let fitting = if on_gpu { Some(loading.batch_tokens(first(&places)?, &lanes)?) } else { None };
    Ok(Devices { lanes, on_gpu, fitting, name, computed })
}

/// What loading an encoder takes, but for its weights.
struct Loading<'a> {
    shape: &'a Shape,
    compute: &'a config::Compute,
    gpus: Gpus,
    /// Lanes on a CPU.
    threads: usize,
}

impl Loading<'_> {
    /// Lanes on all devices, which load at the same time.
    fn everywhere(&self, places: &[Placement], weights: &dyn TensorSource) -> Result<Vec<Box<dyn Lane>>> {
        if let [only] = places {
            return self.at(only, weights);
        }
        thread::scope(|scope| {
            let start = |place| threads::spawn_scoped(scope, "load", move || self.at(place, weights));
            let loading = places.iter().map(start).collect::<Result<Vec<_>>>()?;
            let panicked = |_| Err(Error::new(Fault::Bug, "a thread that loads a model panicked"));
            let lanes = loading.into_iter().map(|thread| thread.join().unwrap_or_else(panicked));
            Ok(lanes.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    /// Lanes on a device.
    fn at(&self, place: &Placement, weights: &dyn TensorSource) -> Result<Vec<Box<dyn Lane>>> {
        set_threads(1);
        let proceed = &interrupt::check;
        caught(|| match self.shape {
            Shape::Dnabert(config) => self.around(place, Dnabert::load(weights, config, place, proceed)?),
            Shape::Esm2(config) => self.around(place, Esm2::load(weights, config, place, proceed)?),
        })
    }

    fn around<E>(&self, place: &Placement, mut encoder: E) -> Result<Vec<Box<dyn Lane>>>
    where
        E: Encoder + TensorEncoder + Clone + 'static,
    {
        let name = place.device_name();
        let Some(gpu) = place.gpu()? else { return Ok(cpu::lanes(&name, encoder, self.threads)) };
        encoder.set_attention(attention_at(place, self.shape, self.compute)?.kernel);
        Ok(vec![self.gpus.lane(name, gpu, encoder)?])
    }

    fn batch_tokens(&self, place: &Placement, lanes: &[Box<dyn Lane>]) -> Result<Derived> {
        let kernel = attention_at(place, self.shape, self.compute)?.kernel;
        let per_token = gpu::bytes_per_token(self.shape, place.precision(), kernel);
        Ok(gpu::batch_tokens(per_token, lanes, self.compute.attempt))
    }
}

pub fn bare_products(arithmetic: &Arithmetic, rows: usize, compute: &config::Compute) -> Result<BareProducts> {
    let places = Placement::resolve(&compute.device, compute.dtype)?;
    let on = |place, rows| Yardstick::new(place, &arithmetic.products, rows);
    if !first(&places)?.is_gpu() {
        let yardstick = on(first(&places)?, rows)?;
        return Ok(Box::new(move |threads, duration| yardstick.rate(threads, duration)));
    }
    // A GPU has one lane; they do not share anything.
    let yardsticks = places.iter().map(|place| on(place, rows.min(GPU_ROWS))).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |_, duration| yardsticks.iter().map(|yardstick| yardstick.rate(1, duration)).sum()))
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

/// A model that does not fit is no smaller at the next attempt.
fn too_large(error: Error) -> Error {
    if error.fault() != Fault::OutOfMemory {
        return error;
    }
    Error::new(Fault::ModelTooLarge, "the model does not fit in memory")
        .found(format!("memory: {}", MemoryPicture::host()))
        .advice(SMALLER_MODEL)
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::TokenBatch;

    #[test]
    fn several_devices_load_at_the_same_time_and_their_lanes_compute_the_same() {
        let shape = Shape::published("esm2-8m").unwrap().cut(1);
        let compute = config::Compute::default();
        let gpus = Gpus::open(&[Placement::CPU; 3], &compute).unwrap();
        let loading = Loading { shape: &shape, compute: &compute, gpus, threads: 2 };
        let mut lanes = loading.everywhere(&[Placement::CPU; 3], &RandomWeights::of(&shape.tensors())).unwrap();
        assert_eq!(lanes.iter().map(|lane| lane.name()).collect::<Vec<_>>(), ["cpu"; 6]);
        let batch = TokenBatch::of([[0, 5, 9, 7, 2], [0, 6, 4, 8, 2]]);
        let vectors = lanes.iter_mut().map(|lane| lane.submit(&batch).and_then(|()| lane.collect()).unwrap());
        let vectors: Vec<Vec<f32>> = vectors.collect();
        assert!(vectors.iter().all(|own| *own == vectors[0] && own.len() == 640));
    }

    #[test]
    fn what_stops_one_device_from_loading_is_told() {
        let shapes = [1, 2].map(|layers| Shape::published("esm2-8m").unwrap().cut(layers));
        let compute = config::Compute::default();
        let gpus = Gpus::open(&[Placement::CPU; 2], &compute).unwrap();
        let loading = Loading { shape: &shapes[1], compute: &compute, gpus, threads: 1 };
        let weights = RandomWeights::of(&shapes[0].tensors());
        let error = loading.everywhere(&[Placement::CPU; 2], &weights).err().unwrap();
        assert_eq!(error.fault(), Fault::ModelTensors);
    }
}
