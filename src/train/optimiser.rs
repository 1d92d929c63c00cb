//! Steps along gradients, as PyTorch takes them: SGD with momentum, and AdamW. Their state can be kept and taken up again.

use tch::{Device, Tensor};

use super::network;
use super::recipe::Optimiser;
use crate::error::Result;

/// AdamW's shares of the mean and of the mean square of gradients that are kept, PyTorch's.
const KEPT: [f64; 2] = [0.9, 0.999];
/// What AdamW adds to the root of the mean square.
const EPSILON: f64 = 1e-8;

/// An optimiser and what it remembers.
pub struct Steps {
    kind: Optimiser,
    parameters: Vec<Tensor>,
    /// For each parameter: SGD's step before, or AdamW's mean and mean square of gradients.
    memory: Vec<Vec<Tensor>>,
    /// Steps that were taken.
    taken: i32,
}

impl Steps {
    /// Of parameters that share their memory with a network.
    ///
    /// # Errors
    /// Memory or the device.
    pub fn new(kind: Optimiser, parameters: Vec<Tensor>) -> Result<Self> {
        let count = match kind {
            Optimiser::Sgd { .. } => 1,
            Optimiser::AdamW { .. } => 2,
        };
        let zeros =
            |tensor: &Tensor| (0..count).map(|_| Ok(tensor.f_zeros_like()?.f_detach()?)).collect::<Result<Vec<_>>>();
        let memory = parameters.iter().map(zeros).collect::<Result<_>>()?;
        Ok(Self { kind, parameters, memory, taken: 0 })
    }

    /// Moves the parameters along their gradients.
    ///
    /// # Errors
    /// Memory or the device.
    pub fn step(&mut self, gradients: &[Tensor], rate: f64) -> Result<()> {
        self.taken = self.taken.saturating_add(1);
        let (kind, taken) = (self.kind, self.taken);
        tch::no_grad(|| {
            for ((parameter, memory), gradient) in self.parameters.iter_mut().zip(&mut self.memory).zip(gradients) {
                match (kind, &mut memory[..]) {
                    (Optimiser::Sgd { momentum }, [before]) => {
                        // The first step has none before it.
                        let _ = before.f_mul_scalar_(momentum)?.f_add_(gradient)?;
                        let _ = parameter.f_sub_(&before.f_mul_scalar(rate)?)?;
                    }
                    (Optimiser::AdamW { weight_decay }, [mean, square]) => {
                        let _ = parameter.f_mul_scalar_(1.0 - rate * weight_decay)?;
                        let _ = mean.f_mul_scalar_(KEPT[0])?.f_add_(&gradient.f_mul_scalar(1.0 - KEPT[0])?)?;
                        let squares = gradient.f_square()?;
                        let _ = square.f_mul_scalar_(KEPT[1])?.f_add_(&squares.f_mul_scalar(1.0 - KEPT[1])?)?;
                        let [begun_mean, begun_square] = KEPT.map(|kept| 1.0 - kept.powi(taken));
                        let root = square.f_sqrt()?.f_mul_scalar(1.0 / begun_square.sqrt())?.f_add_scalar(EPSILON)?;
                        let step = mean.f_div(&root)?.f_mul_scalar(rate / begun_mean)?;
                        let _ = parameter.f_sub_(&step)?;
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// Steps that were taken, and the values of what it remembers.
    ///
    /// # Errors
    /// The device.
    pub fn memory(&self) -> Result<(i32, Vec<Vec<f32>>)> {
        let values = self.memory.iter().flatten().map(network::values).collect::<Result<_>>()?;
        Ok((self.taken, values))
    }

    /// Takes up what was remembered.
    ///
    /// # Errors
    /// The device.
    pub fn remember(&mut self, taken: i32, values: &[Vec<f32>], device: Device) -> Result<()> {
        self.taken = taken;
        for (tensor, values) in self.memory.iter_mut().flatten().zip(values) {
            let shape = tensor.size();
            *tensor = Tensor::f_from_slice(values)?.f_view(&shape[..])?.f_to_device(device)?;
        }
        Ok(())
    }
}
