//! Options that matter on a GPU only.

use clap::Args;

use super::options::{in_range, switch, yes_or_no};
use crate::config;
use crate::units::{AttentionChoice, Auto};

/// How a GPU is used.
#[derive(Debug, Args)]
#[command(next_help_heading = "GPU (without effect on a CPU)")]
pub struct GpuOptions {
    /// Host memory that the GPU reads by itself: auto (on if enough memory is free), on or off
    #[arg(long, value_name = "CHOICE", default_value = "auto", env = "VIRNUCPRO_PIN_MEMORY", value_parser = choice)]
    pin_memory: Auto<bool>,
    /// Copy batches while others are computed
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_parser = switch,
        env = "VIRNUCPRO_CUDA_STREAMS",
        overrides_with = "no_cuda_streams"
    )]
    cuda_streams: bool,
    /// One batch after the other (as --cuda-streams=false)
    #[arg(long, overrides_with = "cuda_streams")]
    no_cuda_streams: bool,
    /// Let the segments of the allocator grow: fewer gaps where memory is short
    #[arg(long, env = "VIRNUCPRO_EXPANDABLE_SEGMENTS", value_parser = switch)]
    expandable_segments: bool,
    /// Batches after which cached memory is given back to the driver; 0: only when memory has run out
    #[arg(long, value_name = "N", default_value_t = config::DEFAULT_CACHE_CLEAR_INTERVAL, env = "VIRNUCPRO_CACHE_CLEAR_INTERVAL", value_parser = interval)]
    cache_clear_interval: usize,
}

impl GpuOptions {
    /// Settings, with the kernel that another group of options holds.
    pub fn settings(&self, attention: AttentionChoice) -> config::Gpu {
        config::Gpu {
            attention,
            pin_memory: self.pin_memory,
            streams: self.cuda_streams && !self.no_cuda_streams,
            expandable_segments: self.expandable_segments,
            cache_clear_interval: self.cache_clear_interval,
        }
    }
}

fn choice(text: &str) -> Result<Auto<bool>, String> {
    match text {
        _ if text.eq_ignore_ascii_case("auto") => Ok(Auto::Auto),
        _ => yes_or_no(text).map(Auto::Value).ok_or_else(|| format!("'{text}' is not a choice; use auto, on or off")),
    }
}

fn interval(text: &str) -> Result<usize, String> {
    in_range(text, 0, 1_000_000)
}
