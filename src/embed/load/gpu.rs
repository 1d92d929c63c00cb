//! Lanes on GPUs, and what is decided for them.

use crate::config::{self, Compute};
use crate::device::Placement;
use crate::device::attention::Kernel;
use crate::device::gpu::{Gpu, use_expandable_segments};
use crate::device::memory::{self, Sizes};
use crate::device::pinning::Pinning;
use crate::device::transfer::{BUFFERS, Transfer};
use crate::embed::lane::Lane;
use crate::embed::lane::gpu::{GpuLane, Usage};
use crate::error::Result;
use crate::model::TensorEncoder;
use crate::model::schema::shapes::Shape;
use crate::runtime::machine::Derived;
use crate::runtime::picture::MemoryPicture;
use crate::units::Precision;

/// Tokens of a sequence that a frame of a window stays below: scores of so many are allowed for where a kernel keeps them.
const SCORES_OF: u64 = 512;

/// How the GPUs of a session are used.
pub struct Gpus {
    settings: config::Gpu,
    count: usize,
    pinned: bool,
}

impl Gpus {
    /// Makes the GPUs among `places` ready, before anything asks for memory of theirs.
    pub fn open(places: &[Placement], compute: &Compute) -> Result<Self> {
        let (settings, count) = (compute.gpu, places.iter().filter(|place| place.is_gpu()).count());
        if count > 0 && settings.expandable_segments {
            use_expandable_segments()?;
        }
        places.iter().try_for_each(|place| place.gpu().map(|_| ()))?;
        let pinning = Pinning::decide(settings.pin_memory, count, MemoryPicture::host().free.unwrap_or(0));
        if count > 0 {
            log::debug!("pinned memory: {pinning}");
        }
        Ok(Self { settings, count, pinned: pinning.on })
    }

    /// A lane around an encoder that was loaded to `gpu`.
    pub fn lane<E: TensorEncoder + 'static>(&self, name: String, gpu: Gpu, encoder: E) -> Result<Box<dyn Lane>> {
        let depth = if self.settings.streams { BUFFERS } else { 1 };
        // Each time all GPUs are emptied.
        let clear_after = (self.settings.cache_clear_interval * self.count) as u64;
        let transfer = Transfer::new(gpu, self.settings.streams, self.pinned)?;
        Ok(Box::new(GpuLane::new(encoder, transfer, Usage { name, depth, clear_after })?))
    }
}

/// What a token needs on a GPU.
pub fn bytes_per_token(shape: &Shape, precision: Precision, kernel: Kernel) -> u64 {
    sizes(shape).bytes_per_token(precision, (kernel == Kernel::Math).then_some(SCORES_OF))
}

/// Tokens of an automatic batch: what the fullest of the GPUs can take beside the model, which it holds by now.
pub fn batch_tokens(per_token: u64, lanes: &[Box<dyn Lane>], attempt: u32) -> Derived {
    let pictures = lanes.iter().map(|lane| lane.memory().unwrap_or_default());
    let picture = pictures.min_by_key(MemoryPicture::available).unwrap_or_default();
    memory::batch_tokens(&picture, 0, per_token, attempt)
}

fn sizes(shape: &Shape) -> Sizes {
    let (width, heads, inner, rotary) = match shape {
        Shape::Esm2(config) => (config.hidden_size, config.num_attention_heads, config.intermediate_size, true),
        Shape::Dnabert(config) => (config.hidden_size, config.num_attention_heads, config.intermediate_size, false),
    };
    let expanded = if rotary { inner } else { 2 * inner };
    let [width, heads, inner, expanded] = [width, heads, inner, expanded].map(|size| size as u64);
    Sizes { width, heads, expanded, inner, rotary }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::lane::mock::{MockLane, MockMemory, Script};

    #[test]
    fn published_shapes_need_what_is_written_about_them() {
        for (name, bytes) in [("esm2-3b", 87_040), ("esm2-650m", 43_520), ("dnabert-s", 32_256)] {
            let shape = Shape::published(name).unwrap();
            assert_eq!(bytes_per_token(&shape, Precision::F16, Kernel::Flash), bytes, "{name}");
            assert!(bytes_per_token(&shape, Precision::F16, Kernel::Math) > bytes, "{name}");
        }
    }

    #[test]
    fn without_numbers_of_the_device_a_batch_is_of_medium_size() {
        let lane = MockLane::new("cuda:0", 3, Script::default(), MockMemory::default());
        let lanes: [Box<dyn Lane>; 1] = [Box::new(lane)];
        let of = |attempt| batch_tokens(1000, &lanes, attempt);
        assert_eq!(of(1).value, 16_384, "{}", of(1));
        assert_eq!(of(2).value, 8192);
    }
}
