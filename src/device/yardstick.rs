//! What a machine can do: the bare matrix products of a model, with nothing between them.

use std::thread;
use std::time::{Duration, Instant};

use tch::{Cuda, Device, Kind, Tensor};

use super::products::{PackedLinear, Then};
use super::{Placement, set_threads};
use crate::error::{Error, Fault, Result};
use crate::runtime::threads;

/// Products of some shapes over a number of rows, on one device.
pub struct Yardstick {
    products: Vec<Product>,
    device: Device,
}

enum Weights {
    Packed(PackedLinear),
    Plain(Tensor),
}

struct Product {
    /// [rows, inputs]
    x: Tensor,
    weights: Weights,
    operations: f64,
}

impl Yardstick {
    /// Products of `rows` rows by matrices of these inputs and outputs, in the device's number format.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(place: &Placement, shapes: &[[usize; 2]], rows: usize) -> Result<Self> {
        let packed = place.device == Device::Cpu && matches!(place.kind, Kind::Float | Kind::BFloat16);
        let random = |size: [usize; 2]| -> Result<Tensor> {
            let size = size.map(|length| length as i64);
            Ok(Tensor::f_rand(size, (Kind::Float, place.device))?.f_to_kind(place.kind)?)
        };
        let product = |&[inputs, outputs]: &[usize; 2]| {
            let weight = random([outputs, inputs])?;
            let weights =
                if packed { Weights::Packed(PackedLinear::new(&weight, None)?) } else { Weights::Plain(weight) };
            let operations = 2.0 * (rows * inputs * outputs) as f64;
            Ok(Product { x: random([rows, inputs])?, weights, operations })
        };
        Ok(Self { products: shapes.iter().map(product).collect::<Result<_>>()?, device: place.device })
    }

    /// Floating-point operations per second, on `count` threads at a time for at least `duration`.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn rate(&self, count: usize, duration: Duration) -> Result<f64> {
        let own = || Self { products: self.products.iter().map(Product::share).collect(), device: self.device };
        let all: Vec<Self> = (0..count.max(1)).map(|_| own()).collect();
        thread::scope(|scope| {
            let run = |own: Self| threads::spawn_scoped(scope, "yardstick", move || own.on_this_thread(duration));
            let running = all.into_iter().map(run).collect::<Result<Vec<_>>>()?;
            let panicked = |_| Err(Error::new(Fault::Bug, "a thread that measures panicked"));
            let rates = running.into_iter().map(|thread| thread.join().unwrap_or_else(panicked));
            rates.sum()
        })
    }

    fn on_this_thread(&self, duration: Duration) -> Result<f64> {
        let _no_grad = tch::no_grad_guard();
        set_threads(1);
        self.once()?; // the first time, kernels are prepared
        let (started, mut operations) = (Instant::now(), 0.0);
        while started.elapsed() < duration {
            operations += self.once()?;
        }
        Ok(operations / started.elapsed().as_secs_f64())
    }

    /// All products once; their operations.
    fn once(&self) -> Result<f64> {
        let mut operations = 0.0;
        for product in &self.products {
            let _ = match &product.weights {
                Weights::Packed(packed) => packed.forward(&product.x, Then::Nothing)?,
                Weights::Plain(weight) => product.x.f_linear(weight, None::<&Tensor>)?,
            };
            operations += product.operations;
        }
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(index as i64);
        }
        Ok(operations)
    }
}

impl Product {
    fn share(&self) -> Self {
        let weights = match &self.weights {
            Weights::Packed(packed) => Weights::Packed(packed.clone()),
            Weights::Plain(weight) => Weights::Plain(weight.shallow_clone()),
        };
        Self { x: self.x.shallow_clone(), weights, operations: self.operations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_measured_on_any_number_of_threads() {
        let yardstick = Yardstick::new(&Placement::CPU, &[[64, 192], [64, 64]], 128).unwrap();
        for threads in [1, 3] {
            let rate = yardstick.rate(threads, Duration::from_millis(20)).unwrap();
            assert!(rate.is_finite() && rate > 1e6, "{rate}");
        }
    }
}
