//! `info`: what this machine and this build offer, and what is derived from it.

use std::fmt::{Display, Write as _};

use serde_json::{Map, Value, json};

use crate::bundle::Bundle;
use crate::config;
use crate::embed::load::{self, Model};
use crate::error::{Error, Result};
use crate::runtime::machine::{self, Derived};
use crate::runtime::memory;
use crate::runtime::picture::MemoryPicture;
use crate::store::ModelStamp;
use crate::units::{Auto, Bytes, Precision};

/// The answer, as lines for a person or as one JSON object.
///
/// # Errors
/// There is no such bundle. A device that is missing, or a format it lacks, is part of the answer, not an error.
pub fn info(settings: &config::Info) -> Result<String> {
    let facts = facts(&load::bundle(&settings.model)?, &settings.compute);
    Ok(if settings.json { in_json(facts) } else { in_words(&facts) })
}

/// Something that is known, or that does not apply here.
struct Fact {
    /// In words; the key is the same with `_`.
    name: &'static str,
    /// The line for a person; none where there is nothing to say.
    words: Option<String>,
    value: Value,
}

impl Fact {
    fn new(name: &'static str, words: impl Display, value: Value) -> Self {
        Self { name, words: Some(words.to_string()), value }
    }

    /// Something that is decided for GPUs, or for devices that are there.
    fn absent(name: &'static str) -> Self {
        Self { name, words: None, value: Value::Null }
    }

    /// A number and the reason for it.
    fn derived(name: &'static str, derived: &Derived) -> Self {
        Self::new(name, derived, json!({ "value": derived.value, "reason": derived.reason }))
    }

    fn lacking(name: &'static str, error: &Error, mut value: Value) -> Self {
        value["error"] = json!(error.brief());
        Self::new(name, lacking(error), value)
    }
}

fn in_words(facts: &[Fact]) -> String {
    let mut text = String::new();
    for Fact { name, words, .. } in facts {
        if let Some(words) = words {
            let _ = writeln!(text, "{name:20} {words}");
        }
    }
    text
}

fn in_json(facts: Vec<Fact>) -> String {
    let object: Map<String, Value> = facts.into_iter().map(|fact| (fact.name.replace(' ', "_"), fact.value)).collect();
    format!("{:#}\n", Value::Object(object))
}

fn facts(bundle: &Bundle, compute: &config::Compute) -> Vec<Fact> {
    let (spec, stamp) = (bundle.spec(), load::stamp(bundle));
    let [dnabert, esm] = [spec.dnabert, spec.esm].map(|side| side.map(|side| side.dim));
    let merged = spec.merged_dim();
    let version = env!("CARGO_PKG_VERSION");
    let libtorch = load::libtorch();
    let free = MemoryPicture::host().free.unwrap_or(0);
    let mut facts = vec![
        Fact::new("virnucpro", version, json!(version)),
        Fact::new("libtorch", libtorch.unwrap_or("none: this build runs bundles that need none"), json!(libtorch)),
        Fact::new("model", format!("{}, window {} bp, frames: {}", stamp.cell(), spec.window, spec.frames), {
            let ModelStamp { bundle, digest, trained } = &stamp;
            json!({ "name": bundle, "digest": digest, "trained": trained, "window": spec.window, "frames": spec.frames })
        }),
        Fact::new("encoders", encoders(bundle), json!({ "dnabert": dnabert, "esm": esm, "merged": merged })),
        Fact::derived("cpus", &machine::cpus()),
        memory_fact(free),
    ];
    let (of_devices, gpus) = device_facts(bundle, compute);
    facts.extend(of_devices);
    facts.extend(gpu_facts(&compute.gpu, gpus, free));
    let own = |choice: Auto<usize>, option: &str, derived: &dyn Fn() -> Derived| match choice {
        Auto::Auto => derived(),
        Auto::Value(value) => Derived { value, reason: option.to_owned() },
    };
    let workers = || machine::dataloader_workers(gpus);
    facts.extend([
        Fact::derived("threads", &own(compute.threads, "--threads", &machine::cpus)),
        Fact::derived("dataloader workers", &own(compute.dataloader_workers, "--dataloader-workers", &workers)),
        Fact::new("prefetch", format!("{} batches per device", compute.prefetch), json!(compute.prefetch)),
    ]);
    facts
}

/// The encoders and the widths of their vectors.
fn encoders(bundle: &Bundle) -> String {
    let one = |side| Some(format!("{} {}", load::encoder_title(bundle, side), load::encoder(bundle, side).ok()?.dim));
    let all: Vec<_> = load::sides(bundle).into_iter().filter_map(one).collect();
    if all.len() == 1 { all.concat() } else { format!("{} = {}", all.join(" + "), bundle.spec().merged_dim()) }
}

/// What depends on where models run, and how many GPUs that are.
fn device_facts(bundle: &Bundle, compute: &config::Compute) -> (Vec<Fact>, usize) {
    if !load::needs_libtorch(bundle) {
        let facts = [
            Fact::new("device", "cpu (the bundle needs no other)", json!({ "value": "cpu", "gpus": 0, "error": null })),
            format_fact(Ok(Precision::F32), "the only one of this bundle"),
            Fact::new("attention", "none", json!(null)),
        ];
        let tokens = load::batch_tokens(compute, false, true);
        let tokens = Fact::new("batch tokens", &tokens, json!({ "value": tokens.value, "reason": tokens.reason }));
        return (facts.into_iter().chain([tokens]).collect(), 0);
    }
    // A format that the device lacks does not hide the device.
    let automatic = config::Compute { dtype: Auto::Auto, ..compute.clone() };
    let places = match load::places(&automatic) {
        Ok(places) => places,
        Err(error) => {
            let device = Fact::lacking("device", &error, json!({ "value": null, "gpus": 0 }));
            let others = ["number format", "attention", "batch tokens"].map(Fact::absent);
            return ([device].into_iter().chain(others).collect(), 0);
        }
    };
    let on_gpu = places.gpus > 0;
    let format = load::places(compute).map(|places| places.precision);
    let possible = if format.is_ok() { compute } else { &automatic };
    let attention = attention(bundle, possible);
    let tokens = load::batch_tokens(compute, on_gpu, false);
    let facts = vec![
        Fact::new("device", &places.devices, json!({ "value": places.devices, "gpus": places.gpus, "error": null })),
        format_fact(format, if compute.dtype == Auto::Auto { load::automatic(on_gpu) } else { "--dtype" }),
        Fact::new("attention", &attention, json!(attention)),
        Fact::new("batch tokens", &tokens, json!({ "value": tokens.value, "reason": tokens.reason })),
    ];
    (facts, places.gpus)
}

fn format_fact(format: Result<Precision>, reason: &str) -> Fact {
    let name = "number format";
    match format {
        Ok(format) => {
            let value = json!({ "value": format.to_string(), "reason": reason, "error": null });
            Fact::new(name, format!("{format} ({reason})"), value)
        }
        Err(error) => Fact::lacking(name, &error, json!({ "value": null, "reason": reason })),
    }
}

/// What is free of what this process may use, and what sets that limit.
fn memory_fact(free: u64) -> Fact {
    let host = machine::memory();
    let (total, limit) = match memory::address_space_limit() {
        Some(limit) if limit < host.total => (limit, "ulimit -v"),
        _ if host.limited_by_cgroup => (host.total, "cgroup limit"),
        _ => (host.total, "machine"),
    };
    let words = format!("{} of {} free ({limit})", Bytes(free), Bytes(total));
    Fact::new("memory", words, json!({ "free": free, "total": total, "limit": limit }))
}

/// In place of a value.
fn lacking(error: &Error) -> String {
    format!("none: {}", error.brief())
}

/// Kernels of the encoders.
fn attention(bundle: &Bundle, compute: &config::Compute) -> String {
    let kernel = |side| {
        let kernel = load::attention(&Model::Bundled(bundle, side), compute).unwrap_or_else(|error| lacking(&error));
        (load::encoder_title(bundle, side), kernel)
    };
    let kernels: Vec<_> = load::sides(bundle).into_iter().map(kernel).collect();
    match kernels.split_first() {
        Some(((_, first), others)) if others.iter().all(|(_, kernel)| kernel == first) => first.clone(),
        _ => kernels.iter().map(|(title, kernel)| format!("{title} {kernel}")).collect::<Vec<_>>().join("; "),
    }
}

/// What is decided for GPUs only.
fn gpu_facts(gpu: &config::Gpu, gpus: usize, free: u64) -> [Fact; 4] {
    let names = ["pinned memory", "cuda streams", "expandable segments", "cache cleared"];
    if gpus == 0 {
        return names.map(Fact::absent);
    }
    let switch = |on: bool| if on { "on" } else { "off" };
    let clearing = match gpu.cache_clear_interval {
        0 => "only when memory has run out".to_owned(),
        batches => format!("every {batches} batches, and when memory has run out"),
    };
    let pinning = load::pinning(gpu.pin_memory, gpus, free);
    let pinned = json!({ "value": pinning.on, "reason": pinning.reason });
    let [pinned_memory, streams, segments, cleared] = names;
    [
        Fact::new(pinned_memory, &pinning, pinned),
        Fact::new(streams, switch(gpu.streams), json!(gpu.streams)),
        Fact::new(segments, switch(gpu.expandable_segments), json!(gpu.expandable_segments)),
        Fact::new(cleared, clearing, json!(gpu.cache_clear_interval)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_for_gpus_is_shown_where_there_are_some() {
        let gpu = config::Gpu::default();
        assert_eq!(in_words(&gpu_facts(&gpu, 0, 1 << 40)), "");
        let text = |gpu, free| {
            let facts = gpu_facts(&gpu, 2, free);
            facts.iter().map(|fact| format!("{}: {}\n", fact.name, fact.words.as_deref().unwrap())).collect::<String>()
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
