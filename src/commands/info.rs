//! `info`: what this machine and this build offer, and what is derived from it.

use std::fmt::Write as _;

use crate::bundle::Bundle;
use crate::config::{self, Side};
use crate::embed::load::{self, Model};
use crate::error::Result;
use crate::runtime::machine;
use crate::units::Auto;

/// The answer as text.
///
/// # Errors
/// There is no such bundle. A device that is missing is part of the answer, not an error.
pub fn info(model: &config::BundleChoice, compute: &config::Compute) -> Result<String> {
    let bundle = load::bundle(model)?;
    let spec = bundle.spec();
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:20} {value}");
    };
    line("virnucpro", env!("CARGO_PKG_VERSION").to_owned());
    line("libtorch", load::libtorch());
    line("model", format!("{}, window {} bp", load::stamp(&bundle).cell(), spec.window));
    line("encoders", format!("DNABERT-S {} + ESM-2 {} = {}", spec.dnabert.dim, spec.esm.dim, spec.head.dim));
    let cpus = machine::cpus();
    line("cpus", cpus.to_string());
    let memory = machine::memory();
    let limit = if memory.limited_by_cgroup { "cgroup limit" } else { "machine" };
    line("memory", format!("{} of {} MiB free ({limit})", memory.available >> 20, memory.total >> 20));
    let gpus = match load::places(compute) {
        Ok(places) => {
            line("device", places.describe);
            line("number format", format!("{} ({})", places.precision, given(compute.dtype == Auto::Auto)));
            line("attention", attention(&bundle, compute));
            line("batch tokens", load::batch_tokens(compute, places.gpus > 0));
            gpu_options(&compute.gpu, places.gpus, memory.available)
                .into_iter()
                .for_each(|(name, value)| line(name, value));
            places.gpus
        }
        Err(error) => {
            line("device", format!("none: {error}"));
            0
        }
    };
    let threads = match compute.threads {
        Auto::Auto => cpus.to_string(),
        Auto::Value(n) => format!("{n} (--threads)"),
    };
    line("threads", threads);
    let workers = match compute.dataloader_workers {
        Auto::Auto => machine::dataloader_workers(gpus).to_string(),
        Auto::Value(n) => format!("{n} (--dataloader-workers)"),
    };
    line("dataloader workers", workers);
    line("prefetch", format!("{} batches per device", compute.prefetch));
    Ok(text)
}

/// Kernels of both encoders.
fn attention(bundle: &Bundle, compute: &config::Compute) -> String {
    let [dnabert, esm] = [Side::Dnabert, Side::Esm].map(|side| {
        load::attention(&Model::Bundled(bundle, side), compute).unwrap_or_else(|error| format!("none: {error}"))
    });
    if dnabert == esm { dnabert } else { format!("DNABERT-S {dnabert}; ESM-2 {esm}") }
}

/// What is decided for GPUs only.
fn gpu_options(gpu: &config::Gpu, gpus: usize, free: u64) -> Vec<(&'static str, String)> {
    if gpus == 0 {
        return Vec::new();
    }
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    let clearing = match gpu.cache_clear_interval {
        0 => "only when memory has run out".to_owned(),
        batches => format!("every {batches} batches, and when memory has run out"),
    };
    vec![
        ("pinned memory", load::pinning(gpu.pin_memory, gpus, free)),
        ("cuda streams", switch(gpu.streams)),
        ("expandable segments", switch(gpu.expandable_segments)),
        ("cache cleared", clearing),
    ]
}

fn given(automatic: bool) -> &'static str {
    if automatic { "automatic" } else { "--dtype" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_for_gpus_is_shown_where_there_are_some() {
        let gpu = config::Gpu::default();
        assert_eq!(gpu_options(&gpu, 0, 1 << 40), []);
        let text = |gpu, free| {
            gpu_options(&gpu, 2, free).into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>()
        };
        let shown = text(gpu, 1 << 40);
        for line in ["pinned memory: on (", "cuda streams: on\n", "expandable segments: off\n", "every 100 batches"] {
            assert!(shown.contains(line), "{shown}");
        }
        let shown = text(config::Gpu { cache_clear_interval: 0, streams: false, ..gpu }, 1);
        for line in ["pinned memory: off (1 B of host memory free", "cuda streams: off\n", "cleared: only when"] {
            assert!(shown.contains(line), "{shown}");
        }
    }
}
