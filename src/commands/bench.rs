//! `bench`: how fast this machine embeds, as a table or in JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::{Bundle, SearchPath};
use crate::config::{self, BundleChoice};
use crate::embed::Work;
use crate::embed::load::{self, Model};
use crate::embed::measure::{Measured, Round, Rounds, measure};
use crate::error::{Error, Fault, Result};
use crate::nearest::did_you_mean;
use crate::runtime::picture::MemoryPicture;
use crate::runtime::{interrupt, machine};

/// The answer, in the form that was asked for.
///
/// # Errors
/// No such bundle or shape exists; a device is missing; memory runs out; a signal has arrived.
pub fn bench(settings: &config::Bench) -> Result<String> {
    interrupt::advise("measure again, in less time with a smaller --rounds or --round-seconds: nothing is kept");
    let rounds = Rounds { tokens: settings.tokens, count: settings.rounds, duration: settings.duration };
    let measured = |model: &Model<'_>| measure(model, &settings.compute, &rounds);
    let both = |bundle: Bundle| {
        load::sides(&bundle)
            .into_iter()
            .map(|side| measured(&Model::Bundled(&bundle, side)))
            .collect::<Result<Vec<_>>>()
    };
    let all = match &settings.shape {
        None if settings.layers.is_some() => return Err(layers_of_a_bundle("a bundle", settings.layers)),
        None => both(load::bundle(&settings.model)?)?,
        Some(name) => match load::published(name, settings.layers)? {
            Some(shape) => vec![measured(&Model::Random(shape))?],
            None => both(bundle_instead(name, settings)?)?,
        },
    };
    Ok(if settings.json { in_json(&all) } else { in_words(&all) })
}

/// The bundle that `--shape` names.
fn bundle_instead(name: &str, settings: &config::Bench) -> Result<Bundle> {
    let search = &settings.model.search;
    let bundle = load::bundle(&BundleChoice { name: name.to_owned(), search: search.clone() })
        .map_err(|error| neither(name, &SearchPath::standard(search.clone()), error))?;
    match settings.layers {
        None => Ok(bundle),
        layers => Err(layers_of_a_bundle(&format!("--shape {name}"), layers)),
    }
}

fn layers_of_a_bundle(what: &str, layers: Option<usize>) -> Error {
    Error::new(Fault::Usage, "--layers is for published encoders; a bundle is measured whole")
        .expected(format!("--shape with one of {}", load::published_names().join(", ")))
        .found(format!("{what} with --layers {}", layers.unwrap_or_default()))
        .advice("leave out --layers to measure the bundle")
}

/// The error for a name that is neither a shape nor a bundle; what is wrong with a bundle that is there is told as it is.
fn neither(name: &str, search: &SearchPath, error: Error) -> Error {
    let bundles = search.names();
    if Path::new(name).exists() || bundles.iter().any(|bundle| bundle == name) {
        return error;
    }
    let shapes = load::published_names();
    let near = did_you_mean(name, shapes.iter().copied().chain(bundles.iter().map(String::as_str)));
    Error::new(Fault::Usage, format!("'{name}' is neither a published encoder nor a bundle"))
        .expected(format!("{}, or a bundle", shapes.join(", ")))
        .found(name)
        .advice(format!(
            "{}give a bundle by its folder (./{name}) or by a name that 'virnucpro models list' shows",
            near.map_or_else(String::new, |near| near + " ")
        ))
        .caused_by(error)
}

fn in_words(all: &[Measured]) -> String {
    let mut text = format!("{}, {}\n", machine::processor(), machine::vectors());
    for measured in all {
        let Measured { title, place, lanes, batch_tokens, tokens, rounds, .. } = measured;
        let _ = writeln!(text, "\n{title}\n  {place}; lanes: {lanes}, {batch_tokens} tokens per batch");
        let _ = writeln!(text, "  sequences of {tokens} tokens, rounds: {}; median (least to most)", rounds.len());
        let mut line = |name: &str, unit: &str, of: &dyn Fn(&Round) -> Option<f64>| {
            if let Some([least, median, most]) = spread(rounds, of) {
                let _ = writeln!(text, "  {name:26} {} ({} to {}){unit}", short(median), short(least), short(most));
            }
        };
        line("sequences per second", "", &|round| Some(round.sequences as f64 / round.seconds));
        line("tokens per second", "", &|round| Some(round.tokens as f64 / round.seconds));
        line("arithmetic", " GFLOP/s", &|round| Some(measured.rate(round)? / 1e9));
        line("bare products", " GFLOP/s", &|round| Some(round.bare? / 1e9));
        line("share of them", " %", &|round| Some(100.0 * measured.share(round)?));
        line("tokenise and plan", " M tokens/s", &|round| Some(round.tokens as f64 / round.spent(Work::Plan) / 1e6));
        line("write", " MB/s", &|round| Some(bytes(measured, round) / round.spent(Work::Write) / 1e6));
        let _ = writeln!(text, "  {:26} {}", "time of the threads", split(measured));
        let retries: u64 = rounds.iter().map(|round| round.retries).sum();
        if retries > 0 {
            let _ = writeln!(text, "  batches halved after memory ran out: {retries}");
        }
    }
    let _ = writeln!(text, "\nnothing is padded; memory: {}", MemoryPicture::host());
    text
}

/// Shares of the threads' time in all rounds.
fn split(measured: &Measured) -> String {
    let computing = if measured.on_gpu { "lanes computing and copying" } else { "lanes computing" };
    let kinds = [
        ("tokenise and plan", Work::Plan),
        (computing, Work::Compute),
        ("lanes waiting for batches", Work::Starved),
        ("lanes waiting to write", Work::Behind),
        ("writing", Work::Write),
    ];
    let seconds = kinds.map(|(name, kind)| (name, measured.rounds.iter().map(|round| round.spent(kind)).sum::<f64>()));
    let all = seconds.iter().map(|(_, seconds)| seconds).sum::<f64>().max(f64::MIN_POSITIVE);
    seconds.map(|(name, seconds)| format!("{name} {:.1} %", 100.0 * seconds / all)).join(", ")
}

/// Bytes of the vectors of a round.
fn bytes(measured: &Measured, round: &Round) -> f64 {
    (round.sequences * measured.dim as u64 * 4) as f64
}

/// The least, the median and the most of what rounds give.
fn spread(rounds: &[Round], of: &dyn Fn(&Round) -> Option<f64>) -> Option<[f64; 3]> {
    let mut values = rounds.iter().map(of).collect::<Option<Vec<f64>>>()?;
    values.sort_by(f64::total_cmp);
    Some([*values.first()?, values[values.len() / 2], *values.last()?])
}

/// Three digits.
fn short(value: f64) -> String {
    match value {
        value if value >= 1000.0 => format!("{value:.0}"),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn in_json(all: &[Measured]) -> String {
    let names = ["read_s", "plan_s", "blocked_s", "starved_s", "compute_s", "behind_s", "write_s"];
    let round = |measured: &Measured, round: &Round| {
        let spent = names.iter().zip(Work::ALL).map(|(name, kind)| ((*name).to_owned(), json!(round.spent(kind))));
        json!({
            "seconds": round.seconds,
            "sequences": round.sequences,
            "tokens": round.tokens,
            "copies": round.copies,
            "padding": 0,
            "retries": round.retries,
            "sequences_per_s": round.sequences as f64 / round.seconds,
            "tokens_per_s": round.tokens as f64 / round.seconds,
            "flops": measured.rate(round),
            "bare_flops": round.bare,
            "share": measured.share(round),
            "seconds_by_work": Value::Object(spent.collect()),
        })
    };
    let encoder = |measured: &Measured| {
        json!({
            "title": measured.title,
            "place": measured.place,
            "lanes": measured.lanes,
            "batch_tokens": measured.batch_tokens,
            "tokens": measured.tokens,
            "dim": measured.dim,
            "flops_per_token": measured.operations,
            "rounds": measured.rounds.iter().map(|each| round(measured, each)).collect::<Vec<_>>(),
        })
    };
    let answer = json!({
        "virnucpro": env!("CARGO_PKG_VERSION"),
        "libtorch": load::libtorch(),
        "processor": machine::processor(),
        "instructions": machine::vectors(),
        "cpus": machine::cpus().value,
        "memory": MemoryPicture::host(),
        "encoders": all.iter().map(encoder).collect::<Vec<_>>(),
    });
    format!("{answer:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let round = |seconds: f64, bare: f64| Round {
            seconds,
            sequences: 100,
            tokens: 16_800,
            spent: [0.1, 0.2, 0.3, 0.1, 1.8, 0.1, 0.01],
            bare: Some(bare),
            ..Round::default()
        };
        Measured {
            title: "an encoder".to_owned(),
            place: "cpu f32".to_owned(),
            lanes: 1,
            on_gpu: false,
            batch_tokens: 1024,
            tokens: 168,
            dim: 1280,
            operations: Some(1e9),
            rounds: vec![round(2.0, 10e12), round(4.0, 10e12), round(2.0, 12e12)],
        }
    }

    #[test]
    fn the_table_has_medians_and_the_share() {
        let text = in_words(&[measured()]);
        for part in ["an encoder", "sequences of 168 tokens, rounds: 3", "50.0 (25.0 to 50.0)", "70.0 (42.0 to 84.0) %"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_time_of_the_threads_is_split_in_one_line() {
        let text = in_words(&[measured()]);
        let split = "tokenise and plan 9.0 %, lanes computing 81.4 %, lanes waiting for batches 4.5 %, \
                     lanes waiting to write 4.5 %, writing 0.5 %";
        assert!(text.lines().any(|line| line.ends_with(split)), "{text}");
        let text = in_words(&[Measured { on_gpu: true, ..measured() }]);
        assert!(text.contains("lanes computing and copying 81.4 %"), "{text}");
    }

    #[test]
    fn the_json_has_every_round() {
        let answer: Value = serde_json::from_str(&in_json(&[measured()])).unwrap();
        let rounds = answer["encoders"][0]["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 3);
        assert_eq!(rounds[1]["tokens_per_s"], 4200.0);
        assert_eq!(rounds[1]["seconds_by_work"]["compute_s"], 1.8);
        assert!(answer["instructions"].is_string() && answer.get("vectors").is_none());
        assert!((rounds[0]["share"].as_f64().unwrap() - 0.84).abs() < 1e-9);
    }
}
