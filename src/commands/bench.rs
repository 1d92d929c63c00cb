//! `bench`: how fast this machine embeds, as a table or in JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::config::{self, Side};
use crate::embed::Work;
use crate::embed::load::{self, Model};
use crate::embed::measure::{Measured, Round, Rounds, measure};
use crate::error::Result;
use crate::runtime::machine;
use crate::runtime::picture::MemoryPicture;

/// The answer, in the form that was asked for.
///
/// # Errors
/// No such bundle or shape exists; a device is missing; memory runs out; a signal has arrived.
pub fn bench(settings: &config::Bench) -> Result<String> {
    let rounds = Rounds { tokens: settings.tokens, count: settings.rounds, duration: settings.duration };
    let measured = |model: &Model<'_>| measure(model, &settings.compute, &rounds);
    let all = match &settings.shape {
        Some(name) => vec![measured(&Model::Random(load::published(name, settings.layers)?))?],
        None => {
            let bundle = load::bundle(&settings.model)?;
            let sides = [Side::Dnabert, Side::Esm].into_iter();
            sides.map(|side| measured(&Model::Bundled(&bundle, side))).collect::<Result<_>>()?
        }
    };
    Ok(if settings.json { in_json(&all) } else { in_words(&all) })
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
        let of_lanes = |round: &Round, kind| {
            let all: f64 = [Work::Starved, Work::Compute, Work::Behind].map(|kind| round.spent(kind)).iter().sum();
            Some(100.0 * round.spent(kind) / all)
        };
        line("lanes waiting for batches", " % of their time", &|round| of_lanes(round, Work::Starved));
        line("lanes waiting to write", " % of their time", &|round| of_lanes(round, Work::Behind));
        line("tokenise and plan", " M tokens/s", &|round| Some(round.tokens as f64 / round.spent(Work::Plan) / 1e6));
        line("write", " MB/s", &|round| Some(bytes(measured, round) / round.spent(Work::Write) / 1e6));
        line("copied", " % of the sequences", &|round| Some(100.0 * round.copies as f64 / round.sequences as f64));
        let retries: u64 = rounds.iter().map(|round| round.retries).sum();
        if retries > 0 {
            let _ = writeln!(text, "  batches halved after memory ran out: {retries}");
        }
    }
    let _ = writeln!(text, "\nnothing is padded; memory: {}", MemoryPicture::host());
    text
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
            "threads": Value::Object(spent.collect()),
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
        "vectors": machine::vectors(),
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
    fn the_json_has_every_round() {
        let answer: Value = serde_json::from_str(&in_json(&[measured()])).unwrap();
        let rounds = answer["encoders"][0]["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 3);
        assert_eq!(rounds[1]["tokens_per_s"], 4200.0);
        assert!((rounds[0]["share"].as_f64().unwrap() - 0.84).abs() < 1e-9);
    }
}
