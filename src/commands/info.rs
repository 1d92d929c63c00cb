//! `info`: what this machine and this build offer, and what is derived from it.

use std::fmt::Write as _;

use crate::config;
use crate::embed::load;
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
            line("attention", places.attention);
            line("number format", format!("{} ({})", places.precision, given(compute.dtype == Auto::Auto)));
            line("batch tokens", load::batch_tokens(compute, places.gpus > 0).to_string());
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

fn given(automatic: bool) -> &'static str {
    if automatic { "automatic" } else { "--dtype" }
}
