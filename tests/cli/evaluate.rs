//! `evaluate`: predictions and labels in, metrics and pictures out.

use std::collections::BTreeMap;

use crate::support::{Random, Sandbox, Table, mock, repository};

/// Sequences r1 to r20 with predictions of the bundle that needs no libtorch.
fn predicted() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(40).fasta(20, 1200));
    sandbox.run(&["run", "x.fa", "-o", "out", "--model", &mock(), "-q"]).ok();
    sandbox
}

/// Every second sequence is a virus; two sequences make a group, and viruses two categories.
fn labels(sequences: usize) -> String {
    let line = |n: usize| {
        let (label, category) = match n % 4 {
            1 => ("virus", "phage"),
            3 => ("virus", "RNA <virus>"),
            _ => ("others", "bacteria"),
        };
        format!("r{n}\t{label}\tg{}\t{category}\n", n / 4)
    };
    let lines = (1..=sequences).map(line).collect::<String>();
    format!("sequence\tlabel\tgroup\tcategory\n{lines}")
}

fn evaluated(options: &[&str]) -> Sandbox {
    let sandbox = predicted();
    sandbox.write("labels.tsv", labels(20));
    sandbox.run(&[&["evaluate", "out/predictions", "--labels", "labels.tsv", "-o", "e"], options].concat()).ok();
    sandbox
}

/// Values of a subset by metric.
fn values(metrics: &Table, level: &str, subset: &str, uncalled: &str) -> BTreeMap<String, Option<f64>> {
    let column = |name: &str| metrics.column(name);
    let (levels, subsets, ways) = (column("level"), column("subset"), column("uncalled"));
    let rows = (0..metrics.rows.len()).filter(|&i| levels[i] == level && subsets[i] == subset && ways[i] == uncalled);
    rows.map(|i| (column("metric")[i].to_owned(), column("value")[i].parse().ok())).collect()
}

/// Score and truth of the windows, uncalled ones with a score of 0 or not at all.
fn scored(sandbox: &Sandbox, count_uncalled: bool) -> Vec<(f64, bool)> {
    let windows = sandbox.table("out/predictions/windows.tsv");
    let rows = windows.column("sequence_id").into_iter().zip(windows.column("score_virus"));
    let number = |id: &str| id.trim_start_matches('r').parse::<usize>().unwrap();
    rows.filter(|(_, score)| count_uncalled || !score.is_empty())
        .map(|(id, score)| (score.parse().unwrap_or(0.0), number(id) % 2 == 1))
        .collect()
}

fn share_of_pairs(scored: &[(f64, bool)]) -> f64 {
    let of = |class: bool| scored.iter().filter(move |(_, is_virus)| *is_virus == class);
    let pair = |virus: f64, other: f64| f64::from(u8::from(virus > other)) + f64::from(u8::from(virus == other)) / 2.0;
    let won: f64 = of(true).map(|virus| of(false).map(|other| pair(virus.0, other.0)).sum::<f64>()).sum();
    won / (of(true).count() * of(false).count()) as f64
}

#[test]
fn metrics_are_those_of_the_tables() {
    let sandbox = evaluated(&[]);
    let metrics = sandbox.table("e/metrics.tsv");
    for (uncalled, counted) in [("left_out", false), ("non_viral", true)] {
        let values = values(&metrics, "windows", "all", uncalled);
        let scored = scored(&sandbox, counted);
        let near = |name: &str, expected: f64| {
            let found = values[name].unwrap();
            assert!((found - expected).abs() < 1e-6, "{name}, {uncalled}: {found} is not {expected}");
        };
        near("auroc", share_of_pairs(&scored));
        let right = scored.iter().filter(|(p, is_virus)| (*p >= 0.5) == *is_virus).count() as f64;
        near("accuracy", right / scored.len() as f64);
        near("prevalence", scored.iter().filter(|(_, is_virus)| *is_virus).count() as f64 / scored.len() as f64);
        let square = |(p, is_virus): &(f64, bool)| (p - f64::from(u8::from(*is_virus))).powi(2);
        near("brier", scored.iter().map(square).sum::<f64>() / scored.len() as f64);
    }
    let document = sandbox.json("e/metrics.json");
    let told = std::fs::read_to_string(repository().join("docs/outputs.md")).unwrap();
    let (windows, subset) = (&document["levels"]["windows"], &document["levels"]["windows"]["subsets"][0]);
    for keys in [&document, windows, subset, &windows["reliability"][0]] {
        let unknown = keys.as_object().unwrap().keys().find(|key| !told.contains(&format!("`{key}`")));
        assert_eq!(unknown, None);
    }
    assert_eq!(document["levels"]["windows"]["score"], "score_virus");
    assert_eq!(document["levels"]["sequences"]["score"], "mean_score_virus");
    assert_eq!(document["levels"]["sequences"]["n"], 20);
    assert_eq!(document["model"], sandbox.table("out/predictions/windows.tsv").column("model")[0]);
}

#[test]
fn categories_lengths_and_groups_have_metrics_of_their_own() {
    let sandbox = predicted();
    sandbox.write("y.fa", Random::new(41).fasta(8, 260));
    sandbox.run(&["run", "x.fa", "y.fa", "-o", "two", "--model", &mock(), "-q"]).ok();
    let more: String = (1..=8).map(|n| format!("r{n}__2\t{}\t\t\n", n % 2)).collect();
    sandbox.write("labels.tsv", labels(20) + &more);
    sandbox.run(&["evaluate", "two/predictions", "--labels", "labels.tsv", "-o", "e"]).ok();
    let metrics = sandbox.table("e/metrics.tsv");
    let named: Vec<&str> = metrics.column("subset");
    for subset in
        ["category:phage", "category:RNA <virus>", "category:bacteria", "length:150-299", "length:500-", "group:g1"]
    {
        assert!(named.contains(&subset), "{subset} is not in {named:?}");
    }
    // A category is measured against the whole other class: 5 and 14 sequences.
    let row = metrics.rows.iter().find(|row| row[..3] == ["sequences", "category:phage", "non_viral"]).unwrap();
    assert_eq!(row[7], "19");
    // Sequences without a group are groups of their own: 6 named ones, and 8.
    let whole = metrics.rows.iter().position(|row| row[1] == "all" && row[2] == "non_viral").unwrap();
    assert_eq!(metrics.column("n_groups")[whole], "14");
}

#[test]
fn every_interval_holds_its_value_and_pictures_are_written() {
    let sandbox = evaluated(&[]);
    let metrics = sandbox.table("e/metrics.tsv");
    let ranks = ["auroc", "auprc", "accuracy", "brier"];
    let mut intervals = 0;
    for row in metrics.rows.iter().filter(|row| row[1] == "all" && ranks.contains(&&*row[3])) {
        let [value, low, high] = [4, 5, 6].map(|cell| row[cell].parse::<f64>().unwrap());
        assert!(low <= value && value <= high, "{row:?}");
        intervals += 1;
    }
    assert_eq!(intervals, 16);
    for name in ["roc", "precision_recall", "reliability", "categories"] {
        let picture = sandbox.text(&format!("e/{name}.svg"));
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{name}");
        assert!(!picture.contains("NaN") && !picture.contains("inf") && !picture.contains("RNA <"), "{picture}");
    }
    assert!(sandbox.text("e/categories.svg").contains("RNA &lt;virus&gt;"));
}

#[test]
fn the_same_command_keeps_its_work_and_gives_the_same_bytes() {
    let sandbox = evaluated(&[]);
    let arguments = ["evaluate", "out/predictions", "--labels", "labels.tsv", "-o"];
    let first = sandbox.files("e");
    let again = sandbox.run(&[&arguments[..], &["e"]].concat()).ok();
    again.says(&["is already complete"]);
    assert!(
        again.stdout.contains("category:phage") && again.stdout.contains("metrics and pictures: e"),
        "{}",
        again.told()
    );
    sandbox.run(&[&arguments[..], &["f"]].concat()).ok();
    assert!(first == sandbox.files("f"));
    // Other labels are other work.
    sandbox.write("labels.tsv", labels(20).replace("phage", "podovirus"));
    sandbox.run(&[&arguments[..], &["e"]].concat()).fails(3, "VN-CKPT-INPUT");
    sandbox.run(&[&arguments[..], &["e", "--overwrite"]].concat()).ok();
    assert!(sandbox.text("e/metrics.tsv").contains("podovirus"));
}

#[test]
fn labels_of_windows_measure_windows_alone() {
    let sandbox = predicted();
    let windows = sandbox.table("out/predictions/windows.tsv");
    let ids = windows.column("window_id");
    let lines: String = ids.iter().enumerate().map(|(n, id)| format!("{id}\t{}\n", n % 2)).collect();
    sandbox.write("labels.tsv", format!("id\tlabel\n{lines}"));
    sandbox.run(&["evaluate", "out/predictions", "--labels", "labels.tsv", "-o", "e"]).ok();
    let document = sandbox.json("e/metrics.json");
    assert_eq!(document["levels"]["windows"]["n"], ids.len());
    assert!(document["levels"]["sequences"].is_null() && !sandbox.path("e/categories.svg").exists());
}

#[test]
fn labels_that_do_not_fit_are_told_by_their_cause() {
    let sandbox = predicted();
    let run = |labels: &str, options: &[&str]| {
        sandbox.write("labels.tsv", labels);
        sandbox.run(&[&["evaluate", "out/predictions", "--labels", "labels.tsv", "-f", "-o", "e"], options].concat())
    };
    let missing = run(&labels(19), &[]);
    assert_eq!(missing.fails(65, "VN-IN-LABELS")["record"], "r20_chunk_1");
    missing.says(&["1 sequence and 3 windows without one", "--ignore-unlabelled"]);
    run(&labels(19), &["--ignore-unlabelled"]).ok().says(&["1 sequence and 3 windows without a label: left out"]);
    let none = run("sequence\tlabel\nx\tvirus\ny\tothers\n", &["--ignore-unlabelled"]);
    assert_eq!(none.fails(65, "VN-IN-LABELS")["line"], 2);
    none.says(&["no label names anything", "ids such as r1_chunk_1"]);
    run(&labels(20).replace("others", "virus"), &[]).fails(65, "VN-IN-LABELS");
    run(&labels(20).replace("others", "other"), &[]).fails(65, "VN-IN-LABELS");
    run(&(labels(20) + "r21\t1\t\t\nr22\t0\t\t\n"), &[]).ok().says(&["2 labels name nothing", "r21, in line 22"]);
}

#[test]
fn an_id_that_two_samples_have_is_refused_since_a_label_cannot_tell_them_apart() {
    let sandbox = predicted();
    sandbox.write("labels.tsv", labels(20));
    sandbox.write("y.fa", Random::new(41).fasta(3, 1200));
    sandbox.run(&["run", "y.fa", "-o", "other", "--model", &mock(), "-q"]).ok();
    let measure = ["evaluate", "out/predictions", "other/predictions", "--labels", "labels.tsv", "-o", "e"];
    let ran = sandbox.run(&measure);
    assert_eq!(ran.fails(65, "VN-IN-LABELS")["record"], "r1");
    ran.says(&["two samples have the same id", "samples x and y", "one at a time"]);
    // It does not matter where the id has no label.
    let (header, lines) = (labels(0), labels(20));
    let from = lines.find("r4\t").unwrap();
    sandbox.write("some.tsv", header + &lines[from..]);
    let some = ["evaluate", "out/predictions", "other/predictions", "--labels", "some.tsv", "-o", "s"];
    sandbox.run(&[&some[..], &["--ignore-unlabelled"]].concat()).ok().says(&["17 sequences"]);
    // The same sequences in other windows, and those of another sample with ids of its own, are measured together.
    sandbox.run(&["run", "x.fa", "-o", "other", "--window", "300", "--model", &mock(), "-q", "-f"]).ok();
    sandbox.run(&measure).ok().says(&["40 sequences"]);
    let renamed = sandbox.text("y.fa").replace(">r", ">q");
    sandbox.write("y.fa", renamed);
    sandbox.run(&["run", "y.fa", "-o", "other", "--model", &mock(), "-q", "--overwrite"]).ok();
    sandbox.write("labels.tsv", labels(20) + "q1\tvirus\t\t\nq2\tothers\t\t\nq3\tvirus\t\t\n");
    sandbox.run(&[&measure[..], &["--overwrite"]].concat()).ok().says(&["23 sequences"]);
}

#[test]
fn what_is_not_predictions_is_told_as_such() {
    let sandbox = predicted();
    sandbox.write("labels.tsv", labels(20));
    let run =
        |folders: &[&str]| sandbox.run(&[&["evaluate"], folders, &["--labels", "labels.tsv", "-o", "e"]].concat());
    let outer = run(&["out"]);
    outer.fails(66, "VN-IN-MISSING");
    outer.says(&["give out/predictions"]);
    run(&["out/windows"]).fails(66, "VN-IN-MISSING");
    run(&["gone"]).fails(66, "VN-IN-MISSING");
    run(&["out/predictions", "out/merged/../predictions"]).fails(64, "VN-USAGE");
    let windows = sandbox.text("out/predictions/windows.tsv");
    sandbox.write("out/predictions/windows.tsv", windows.replacen("r1\t", "r2\t", 1));
    run(&["out/predictions"]).fails(3, "VN-CKPT-HASH");
    assert!(!sandbox.path("e").exists());
}
