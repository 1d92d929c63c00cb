//! The way of a batch to a GPU and of its vectors back, while other batches are computed.
//!
//! Buffers stand in a ring. Four rules keep every batch whole, and nobody waits for anything else:
//!
//! 1. The host fills a buffer again only after the copy that reads it is done.
//! 2. The copy writes a buffer of the device only after the computation that reads it is done.
//! 3. A computation starts only after the copy of its own batch is done.
//! 4. The host reads vectors only after the event that follows their own way back.
//!
//! The scheme knows no GPU: [`Transport`] does what it says, and a clock in place of a device proves the rules
//! (`virtual_clock.rs`).

use std::collections::VecDeque;

use crate::error::{Error, Fault, Result};

#[cfg(test)]
mod virtual_clock;

/// Work in order, beside the other queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Batches on their way to the device.
    Copy,
    /// Computation, and vectors on their way back.
    Compute,
}

/// What moves and computes. Only [`wait`](Self::wait) makes the host wait.
pub trait Transport {
    /// A place in a queue; past as long as it was never recorded.
    type Event: Send;
    /// Words on the host.
    type Host: Send;
    /// Words on the device.
    type Device: Send;
    /// Vectors on the device.
    type Pooled;
    /// Vectors on the host.
    type Vectors: Send;

    /// An event that was not recorded yet.
    ///
    /// # Errors
    /// The device has failed; so for all others.
    fn event(&mut self) -> Result<Self::Event>;
    /// Marks the place that a queue has come to.
    ///
    /// # Errors
    /// As above.
    fn record(&mut self, event: &mut Self::Event, queue: Queue) -> Result<()>;
    /// Lets a queue wait for an event.
    ///
    /// # Errors
    /// As above.
    fn hold(&mut self, queue: Queue, until: &Self::Event) -> Result<()>;
    /// Waits for an event.
    ///
    /// # Errors
    /// What the work before the event failed with.
    fn wait(&mut self, event: &Self::Event) -> Result<()>;
    /// Buffers for so many words.
    ///
    /// # Errors
    /// Out of memory.
    fn buffers(&mut self, words: usize) -> Result<(Self::Host, Self::Device)>;
    /// Writes words on the host.
    ///
    /// # Errors
    /// As above.
    fn fill(&mut self, host: &mut Self::Host, words: &[i32]) -> Result<()>;
    /// Puts the copy of the first `words` words into the copy queue.
    ///
    /// # Errors
    /// As above.
    fn upload(&mut self, host: &Self::Host, device: &mut Self::Device, words: usize) -> Result<()>;
    /// Puts `work` on the first `words` words into the compute queue.
    ///
    /// # Errors
    /// Those of `work`.
    fn compute(
        &mut self,
        device: &Self::Device,
        words: usize,
        work: impl FnOnce(&Self::Device) -> Result<Self::Pooled>,
    ) -> Result<Self::Pooled>;
    /// Puts the way back into the compute queue; `spare` is memory of vectors that were read.
    ///
    /// # Errors
    /// Out of memory.
    fn download(&mut self, pooled: Self::Pooled, spare: Option<Self::Vectors>) -> Result<Self::Vectors>;
    /// The vectors, once they are back.
    ///
    /// # Errors
    /// As above.
    fn read(&mut self, vectors: &Self::Vectors) -> Result<Vec<f32>>;
}

/// Buffers of a batch.
struct Slot<T: Transport> {
    buffers: Option<(T::Host, T::Device)>,
    words: usize,
    copied: T::Event,
    computed: T::Event,
}

/// Vectors on their way back.
struct Returning<T: Transport> {
    vectors: T::Vectors,
    back: T::Event,
}

/// A ring of buffers, and the vectors that come back in the order of their batches.
pub struct Staging<T: Transport> {
    transport: T,
    slots: Vec<Slot<T>>,
    next: usize,
    returning: VecDeque<Returning<T>>,
    spare: Vec<Returning<T>>,
}

impl<T: Transport> Staging<T> {
    /// A ring of so many buffers, at least one; their memory is asked for with the first batches.
    ///
    /// # Errors
    /// The device has failed.
    pub fn new(mut transport: T, buffers: usize) -> Result<Self> {
        let slots = (0..buffers.max(1))
            .map(|_| Ok(Slot { buffers: None, words: 0, copied: transport.event()?, computed: transport.event()? }));
        let slots = slots.collect::<Result<_>>()?;
        Ok(Self { transport, slots, next: 0, returning: VecDeque::new(), spare: Vec::new() })
    }

    /// What moves and computes.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Batches whose vectors were not collected.
    pub fn len(&self) -> usize {
        self.returning.len()
    }

    /// Whether all vectors were collected.
    pub fn is_empty(&self) -> bool {
        self.returning.is_empty()
    }

    /// Gives a batch to the device: its words, and what is computed of them there.
    ///
    /// # Errors
    /// Those of `work`, out of memory among them; the batch is not on its way then and can be given again.
    pub fn submit(&mut self, words: &[i32], work: impl FnOnce(&T::Device) -> Result<T::Pooled>) -> Result<()> {
        let place = self.next % self.slots.len();
        let (transport, slot) = (&mut self.transport, &mut self.slots[place]);
        transport.wait(&slot.copied)?;
        if words.len() > slot.words || slot.buffers.is_none() {
            // Memory that is given up may be given to others at once.
            transport.wait(&slot.computed)?;
            slot.buffers = None;
            slot.words = words.len().next_power_of_two();
            slot.buffers = Some(transport.buffers(slot.words)?);
        }
        let Some((host, device)) = &mut slot.buffers else {
            return Err(Error::new(Fault::Bug, "a batch has no buffer"));
        };
        self.next = place + 1;
        transport.fill(host, words)?;
        transport.hold(Queue::Copy, &slot.computed)?;
        let uploaded = transport.upload(host, device, words.len());
        transport.record(&mut slot.copied, Queue::Copy)?;
        uploaded?;
        transport.hold(Queue::Compute, &slot.copied)?;
        let pooled = transport.compute(device, words.len(), work);
        // What was started before a failure still reads the buffer.
        transport.record(&mut slot.computed, Queue::Compute)?;
        let (spare, mut back) = match self.spare.pop() {
            Some(spare) => (Some(spare.vectors), spare.back),
            None => (None, transport.event()?),
        };
        let vectors = transport.download(pooled?, spare)?;
        transport.record(&mut back, Queue::Compute)?;
        self.returning.push_back(Returning { vectors, back });
        Ok(())
    }

    /// Vectors of the batch that was given first of those on their way; waits for them. `None` if there is no such batch.
    ///
    /// # Errors
    /// What the computation failed with, if only the device noticed.
    pub fn collect(&mut self) -> Result<Option<Vec<f32>>> {
        let Some(returning) = self.returning.pop_front() else { return Ok(None) };
        self.transport.wait(&returning.back)?;
        let vectors = self.transport.read(&returning.vectors)?;
        self.spare.push(returning);
        Ok(Some(vectors))
    }

    /// Gives up memory that is only kept for later: after out-of-memory, before the cache is emptied. Batches on their way
    /// stay.
    ///
    /// # Errors
    /// The device has failed.
    pub fn shrink(&mut self) -> Result<()> {
        self.spare.clear();
        for slot in &mut self.slots {
            self.transport.wait(&slot.copied)?;
            self.transport.wait(&slot.computed)?;
            slot.buffers = None;
        }
        Ok(())
    }
}

impl<T: Transport> Drop for Staging<T> {
    fn drop(&mut self) {
        // Buffers must outlive what reads them; a device that has failed reads nothing.
        for slot in &self.slots {
            let _ = self.transport.wait(&slot.copied);
            let _ = self.transport.wait(&slot.computed);
        }
        for returning in &self.returning {
            let _ = self.transport.wait(&returning.back);
        }
    }
}
