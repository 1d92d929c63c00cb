//! `info`: what this machine and this build offer, and what is derived from it.

use std::fmt::Write as _;

use crate::bundle::Bundle;
use crate::config::{self, Side};
use crate::embed::load::{self, Model};
use crate::error::{Error, Result};
use crate::runtime::picture::MemoryPicture;
use crate::runtime::{machine, memory};
use crate::units::{Auto, Bytes};

/// The answer as text.
///
/// # Errors
/// There is no such bundle. A device that is missing, or a format it lacks, is part of the answer, not an error.
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
    let free = MemoryPicture::host().free.unwrap_or(0);
    line("memory", memory_line(free));
    // A format that the device lacks does not hide the device.
    let automatic = config::Compute { dtype: Auto::Auto, ..compute.clone() };
    let gpus = match load::places(&automatic) {
        Ok(places) => {
            let on_gpu = places.gpus > 0;
            line("device", places.devices);
            let format = load::places(compute).map(|places| places.precision);
            let reason = if compute.dtype == Auto::Auto { load::automatic(on_gpu) } else { "--dtype" };
            let possible = if format.is_ok() { compute } else { &automatic };
            line("number format", format.map_or_else(|error| lacking(&error), |format| format!("{format} ({reason})")));
            line("attention", attention(&bundle, possible));
            line("batch tokens", load::batch_tokens(compute, on_gpu));
            gpu_options(&compute.gpu, places.gpus, free).into_iter().for_each(|(name, value)| line(name, value));
            places.gpus
        }
        Err(error) => {
            line("device", lacking(&error));
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

/// What is free of what this process may use, and what sets that limit.
fn memory_line(free: u64) -> String {
    let host = machine::memory();
    let (total, limit) = match memory::address_space_limit() {
        Some(limit) if limit < host.total => (limit, "ulimit -v"),
        _ if host.limited_by_cgroup => (host.total, "cgroup limit"),
        _ => (host.total, "machine"),
    };
    format!("{} of {} free ({limit})", Bytes(free), Bytes(total))
}

/// In place of a value.
fn lacking(error: &Error) -> String {
    format!("none: {}", error.brief())
}

/// Kernels of both encoders.
fn attention(bundle: &Bundle, compute: &config::Compute) -> String {
    let [dnabert, esm] = [Side::Dnabert, Side::Esm]
        .map(|side| load::attention(&Model::Bundled(bundle, side), compute).unwrap_or_else(|error| lacking(&error)));
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
