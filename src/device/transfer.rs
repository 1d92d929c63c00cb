//! The staging scheme on a GPU: pinned memory, a stream for copies, a stream for computation.

use tch::{Device, Kind, Tensor};

use crate::device::gpu::Gpu;
use crate::device::staging::{Queue, Transport};
use crate::device::stream::{Event, Stream, copy};
use crate::error::Result;
use crate::runtime::picture::MemoryPicture;

/// Buffers of the ring with streams: one that is filled, one on its way, one that is read.
pub const BUFFERS: usize = 3;

/// A transport of tensors, and the memory at its far end.
pub trait TensorTransport: Transport<Device = Tensor, Pooled = Tensor> + Send {
    /// What that memory looks like.
    ///
    /// # Errors
    /// The device has failed.
    fn memory(&self) -> Result<MemoryPicture>;

    /// Gives memory back that no tensor holds.
    ///
    /// # Errors
    /// A device has failed.
    fn empty_cache(&self) -> Result<()>;
}

/// Moves batches to a GPU and vectors back.
pub struct Transfer {
    gpu: Gpu,
    copies: Stream,
    computation: Stream,
    pinned: bool,
}

impl Transfer {
    /// With streams of its own, or all on the one that every device starts with; buffers on the host are pinned if asked
    /// for and allowed. Waits for what was given to the device before: weights are loaded on another stream.
    ///
    /// # Errors
    /// The device has failed.
    pub fn new(gpu: Gpu, streams: bool, pinned: bool) -> Result<Self> {
        let stream = || if streams { Stream::new(gpu) } else { Ok(Stream::default_of(gpu)) };
        let (copies, computation) = (stream()?, stream()?);
        gpu.synchronize()?;
        gpu.reset_peak()?;
        Ok(Self { gpu, copies, computation, pinned })
    }

    fn stream(&self, queue: Queue) -> Stream {
        match queue {
            Queue::Copy => self.copies,
            Queue::Compute => self.computation,
        }
    }

    /// So many values on the host.
    fn on_host(&mut self, values: usize, kind: Kind) -> Result<Tensor> {
        let plain = Tensor::f_empty([values as i64], (kind, Device::Cpu))?;
        if !self.pinned {
            return Ok(plain);
        }
        match self.gpu.pinned(&plain) {
            Ok(pinned) => Ok(pinned),
            Err(error) => {
                log::warn!("host memory cannot be pinned ({error}); copies to the GPU are slower without");
                self.pinned = false;
                Ok(plain)
            }
        }
    }
}

/// The first `values` values.
fn start(tensor: &Tensor, values: usize) -> Result<Tensor> {
    Ok(tensor.f_narrow(0, 0, values as i64)?)
}

/// Vectors on the host: memory, and how many values of it are theirs.
pub struct Vectors {
    memory: Tensor,
    values: usize,
}

impl TensorTransport for Transfer {
    fn memory(&self) -> Result<MemoryPicture> {
        self.gpu.memory()
    }

    fn empty_cache(&self) -> Result<()> {
        self.gpu.empty_cache()
    }
}

impl Transport for Transfer {
    type Event = Event;
    type Host = Tensor;
    type Device = Tensor;
    type Pooled = Tensor;
    type Vectors = Vectors;

    fn event(&mut self) -> Result<Event> {
        Event::new()
    }

    fn record(&mut self, event: &mut Event, queue: Queue) -> Result<()> {
        event.record(self.stream(queue))
    }

    fn hold(&mut self, queue: Queue, until: &Event) -> Result<()> {
        self.stream(queue).wait(until)
    }

    fn wait(&mut self, event: &Event) -> Result<()> {
        event.synchronize()
    }

    fn buffers(&mut self, words: usize) -> Result<(Tensor, Tensor)> {
        let host = self.on_host(words, Kind::Int)?;
        let device = self.gpu.device();
        let empty = || Ok(Tensor::f_empty([words as i64], (Kind::Int, device))?);
        Ok((host, self.copies.run(empty)?))
    }

    fn fill(&mut self, host: &mut Tensor, words: &[i32]) -> Result<()> {
        copy(&mut start(host, words.len())?, &Tensor::f_from_slice(words)?)
    }

    fn upload(&mut self, host: &Tensor, device: &mut Tensor, words: usize) -> Result<()> {
        let (from, mut to) = (start(host, words)?, start(device, words)?);
        self.copies.run(|| copy(&mut to, &from))
    }

    fn compute(
        &mut self,
        device: &Tensor,
        words: usize,
        work: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let words = start(device, words)?;
        self.computation.run(|| work(&words))
    }

    fn download(&mut self, pooled: Tensor, spare: Option<Vectors>) -> Result<Vectors> {
        let values = pooled.numel();
        let memory = match spare {
            Some(spare) if spare.memory.numel() >= values => spare.memory,
            _ => self.on_host(values.next_power_of_two(), Kind::Float)?,
        };
        let mut to = start(&memory, values)?;
        // The intermediate values go back to the stream that they were made on.
        self.computation.run(move || copy(&mut to, &pooled.f_to_kind(Kind::Float)?.f_reshape([-1])?))?;
        Ok(Vectors { memory, values })
    }

    fn read(&mut self, vectors: &Vectors) -> Result<Vec<f32>> {
        let mut values = vec![0.0; vectors.values];
        start(&vectors.memory, vectors.values)?.f_copy_data(&mut values, vectors.values)?;
        Ok(values)
    }
}

#[cfg(test)]
pub use at_once::AtOnce;

/// The processor in place of a GPU: everything is done when it is given.
#[cfg(test)]
mod at_once {
    use std::cell::Cell;

    use super::*;

    /// A transport to the processor's own memory.
    #[derive(Default)]
    pub struct AtOnce {
        emptied: Cell<usize>,
    }

    impl AtOnce {
        /// How often the cache was emptied.
        pub fn emptied(&self) -> usize {
            self.emptied.get()
        }
    }

    impl TensorTransport for AtOnce {
        fn memory(&self) -> Result<MemoryPicture> {
            Ok(MemoryPicture::host())
        }

        fn empty_cache(&self) -> Result<()> {
            self.emptied.set(self.emptied.get() + 1);
            Ok(())
        }
    }

    impl Transport for AtOnce {
        type Event = ();
        type Host = Tensor;
        type Device = Tensor;
        type Pooled = Tensor;
        type Vectors = Tensor;

        fn event(&mut self) -> Result<()> {
            Ok(())
        }

        fn record(&mut self, (): &mut (), _: Queue) -> Result<()> {
            Ok(())
        }

        fn hold(&mut self, _: Queue, (): &()) -> Result<()> {
            Ok(())
        }

        fn wait(&mut self, (): &()) -> Result<()> {
            Ok(())
        }

        fn buffers(&mut self, words: usize) -> Result<(Tensor, Tensor)> {
            let empty = || Tensor::f_full([words as i64], i64::from(i32::MIN), (Kind::Int, Device::Cpu));
            Ok((empty()?, empty()?))
        }

        fn fill(&mut self, host: &mut Tensor, words: &[i32]) -> Result<()> {
            copy(&mut start(host, words.len())?, &Tensor::f_from_slice(words)?)
        }

        fn upload(&mut self, host: &Tensor, device: &mut Tensor, words: usize) -> Result<()> {
            copy(&mut start(device, words)?, &start(host, words)?)
        }

        fn compute(
            &mut self,
            device: &Tensor,
            words: usize,
            work: impl FnOnce(&Tensor) -> Result<Tensor>,
        ) -> Result<Tensor> {
            work(&start(device, words)?)
        }

        fn download(&mut self, pooled: Tensor, _: Option<Tensor>) -> Result<Tensor> {
            Ok(pooled)
        }

        fn read(&mut self, vectors: &Tensor) -> Result<Vec<f32>> {
            Ok(Vec::try_from(vectors.f_reshape([-1])?)?)
        }
    }
}
