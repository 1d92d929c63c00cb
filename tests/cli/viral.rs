//! What is found: the sequences called viral as FASTA, and viral stretches as BED.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;

use crate::support::{Ran, Random, Sandbox, assert_same_files, mock};

/// Two files with records of one id, with words in headers, in letters of both cases; and what they hold, by id.
fn sandbox() -> (Sandbox, HashMap<String, (String, String)>) {
    let sandbox = Sandbox::new();
    let (mut random, mut records) = (Random::new(60), HashMap::new());
    let (mut one, mut other) = (String::new(), String::new());
    for n in 1..=40 {
        let bases = random.dna(200 + 40 * n);
        let title = format!("c{n} flag=1\tlen {n}");
        one += &format!(">{title}\n{}\n", bases.to_lowercase());
        records.insert(format!("c{n}"), (title.replace('\t', " "), bases.to_lowercase()));
        let again = random.dna(700);
        other += &format!("@c{n} read\n{again}\n+\n{}\n", "F".repeat(700));
        records.insert(format!("c{n}__2"), (format!("c{n} read sequence_id=c{n}__2"), again));
    }
    sandbox.write("one.fa", one);
    sandbox.write("other.fq", other);
    sandbox.write("tiny.fa", ">rna U\nAUGUUUGCAUGCAUGCAUGCAUGC\n");
    (sandbox, records)
}

fn run(sandbox: &Sandbox, inputs: &[&str], options: &[&str]) -> Ran {
    let model = mock();
    sandbox.run(&[&["run"], inputs, &["--model", &model, "-o", "out"], options].concat())
}

/// Titles and sequences of a FASTA file.
fn records(text: &str) -> Vec<(String, String)> {
    let parts = text.split('>').skip(1).map(|record| record.split_once('\n').unwrap());
    parts.map(|(title, bases)| (title.to_owned(), bases.replace('\n', ""))).collect()
}

#[test]
fn the_sequences_called_viral_are_written_with_their_headers_and_scores() {
    let (sandbox, given) = sandbox();
    let ran = run(&sandbox, &["one.fa", "other.fq"], &["--viral-fasta", "viral.fa"]).ok();
    let written = records(&sandbox.text("viral.fa"));
    let table = sandbox.table("out/predictions/sequences.tsv");
    let column = |name: &str| table.column(name);
    let viral: Vec<usize> = (0..table.rows.len()).filter(|&row| column("verdict")[row] == "viral").collect();
    assert!(viral.len() > 4 && viral.len() < 76, "{} of 80", viral.len());
    assert_eq!(written.len(), viral.len());
    for ((title, bases), row) in written.iter().zip(viral) {
        let (header, expected) = &given[column("sequence_id")[row]];
        let [share, mean] = ["viral_share", "mean_score_virus"].map(|name| column(name)[row]);
        assert_eq!(*title, format!("{header} viral_share={share} mean_score_virus={mean} verdict=viral"));
        assert_eq!(bases, expected);
    }
    assert!(sandbox.text("viral.fa").lines().all(|line| line.starts_with('>') || line.len() <= 80));
    ran.says(&[&format!("viral.fa: {} viral sequences", written.len())]);
}

#[test]
fn the_name_of_the_file_tells_its_compression_and_predict_writes_the_same() {
    let (sandbox, _) = sandbox();
    run(&sandbox, &["one.fa", "other.fq"], &["--viral-fasta", "new/viral.fa.gz"]).ok();
    let mut text = String::new();
    let file = fs::File::open(sandbox.path("new/viral.fa.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert!(text.starts_with('>'));
    let (model, predict) = (mock(), ["predict", "out/merged", "-o", "out/predictions", "-m"]);
    let more = ["--viral-fasta", "viral.fa", "--sequences", "one.fa", "other.fq"];
    sandbox.run(&[&predict[..], &[&model], &more].concat()).ok();
    assert_eq!(sandbox.text("viral.fa"), text);
    let alone = sandbox.run(&[&predict[..], &[&model, "--viral-fasta", "viral.fa"]].concat());
    alone.fails(64, "VN-USAGE");
    alone.says(&["--sequences"]);
    for other in [&["other.fq", "one.fa"][..], &["one.fa"], &["one.fa", "other.fq", "tiny.fa"]] {
        let more = [&["--viral-fasta", "viral.fa", "--sequences"], other].concat();
        sandbox.run(&[&predict[..], &[&model], &more].concat()).fails(65, "VN-IN-CHANGED");
    }
    assert_eq!(sandbox.text("viral.fa"), text);
}

#[test]
fn letters_are_those_of_the_input() {
    let (sandbox, _) = sandbox();
    run(&sandbox, &["tiny.fa"], &["--viral-fasta", "all.fa", "--viral-share", "0", "--mixed-share", "0"]).ok();
    let (title, bases) = records(&sandbox.text("all.fa")).remove(0);
    assert!(title.starts_with("rna U viral_share="), "{title}");
    assert_eq!(bases, "AUGUUUGCAUGCAUGCAUGCAUGC");
}

#[test]
fn an_input_that_changed_while_it_was_scored_is_told() {
    let (sandbox, _) = sandbox();
    run(&sandbox, &["one.fa"], &[]).ok();
    let text = sandbox.text("one.fa");
    // The same names and lengths, other bases.
    sandbox.write("changed.fa", text.replacen("acg", "gca", 1));
    let model = mock();
    let predict = ["predict", "out/merged", "-o", "out/predictions", "-m", &model, "--viral-fasta", "viral.fa"];
    sandbox.run(&[&predict[..], &["--sequences", "changed.fa"]].concat()).fails(65, "VN-IN-CHANGED");
    assert!(!sandbox.path("viral.fa").exists());
    sandbox.write("other_name.fa", text);
    sandbox.run(&[&predict[..], &["--sequences", "other_name.fa"]].concat()).ok();
}

#[test]
fn only_an_earlier_result_is_replaced_and_one_that_stays_the_same_keeps_its_time() {
    let (sandbox, _) = sandbox();
    let viral = |name: &str| run(&sandbox, &["one.fa"], &["--viral-fasta", name]);
    viral("viral.fa").ok();
    let time = || fs::metadata(sandbox.path("viral.fa")).unwrap().modified().unwrap();
    let first = time();
    viral("viral.fa").ok().says(&["is already complete"]);
    assert_eq!(time(), first);
    let text = sandbox.text("viral.fa");
    sandbox.write("viral.fa", &text[..text.rfind('>').unwrap()]);
    viral("viral.fa").ok();
    assert_eq!(sandbox.text("viral.fa"), text);
    viral("one.fa").fails(64, "VN-USAGE");
    viral("out").fails(1, "VN-IO-WRITE");
    let tables = ["predictions/sequences.tsv", "predictions/manifest.json", "./windows/inputs.tsv"];
    for output in ["out", "new"] {
        for table in tables {
            let path = format!("{output}/{table}");
            let options = ["--viral-fasta", &path, "--overwrite", "-o", output];
            sandbox.run(&[&["run", "one.fa", "--model", &mock()], &options[..]].concat()).fails(64, "VN-USAGE");
        }
    }
    assert!(!sandbox.path("new").exists());
    sandbox.write("mine.fa", ">mine\nACGT\n");
    sandbox.write("notes.txt", "notes\n");
    for mine in ["mine.fa", "notes.txt"] {
        viral(mine).fails(1, "VN-OUT-FOREIGN");
    }
    run(&sandbox, &["one.fa"], &["--viral-fasta", "mine.fa", "--overwrite"]).ok();
    assert_eq!(sandbox.text("mine.fa"), text);
    let piped = ["run", "-", "-m", &mock(), "-o", "p", "--viral-fasta", "v.fa"].map(str::to_owned);
    let piped: Vec<&str> = piped.iter().map(String::as_str).collect();
    sandbox.run_with_stdin(&piped, b">a\nACGT\n").fails(64, "VN-USAGE");
    assert!(!sandbox.path("p").exists());
}

#[test]
fn viral_stretches_are_written_as_bed() {
    let (sandbox, _) = sandbox();
    run(&sandbox, &["one.fa", "other.fq"], &[]).ok();
    let text = sandbox.text("out/predictions/viral_regions.bed");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("#sequence_id\tstart\tend\tname\tscore\tstrand\tmean_p_virus\tn_windows"));
    let lengths = sandbox.table("out/predictions/sequences.tsv");
    let lengths: HashMap<&str, f64> =
        lengths.column("sequence_id").into_iter().zip(lengths.numbers("length")).collect();
    let mut regions = 0;
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let [start, end, score, mean] = [1, 2, 4, 6].map(|cell| cells[cell].parse::<f64>().unwrap());
        assert!(start < end && end <= lengths[cells[0]] && (score - 1000.0 * mean).abs() <= 0.6, "{line}");
        assert!(cells[3].starts_with(&format!("{}_region_", cells[0])) && cells[5] == ".", "{line}");
        regions += 1;
    }
    assert!(regions > 4, "{text}");
    assert_eq!(sandbox.json("out/predictions/manifest.json")["shards"]["viral_regions.bed"]["rows"], regions);
    // Without a cost every window stands for itself; the vectors are kept.
    run(&sandbox, &["one.fa", "other.fq"], &["--region-cost", "0"]).ok();
    assert!(sandbox.text("out/predictions/viral_regions.bed").lines().count() > regions + 1);
}

fn run_mini(sandbox: &Sandbox, output: &str, options: &[&str]) -> Ran {
    sandbox.run(&[&["run", "one.fa", "-m", "mini", "-o", output], options].concat())
}

#[test]
fn a_false_discovery_rate_chooses_the_cut_off() {
    let (sandbox, _) = sandbox();
    run_mini(&sandbox, "all", &[]).ok();
    let numbers = |output: &str| -> Vec<(f64, String)> {
        let table = sandbox.table(&format!("{output}/predictions/sequences.tsv"));
        let p = table.column("p_virus").into_iter().map(|p| p.parse().unwrap());
        p.zip(table.column("verdict").into_iter().map(str::to_owned)).collect()
    };
    let mut probabilities: Vec<f64> = numbers("all").iter().map(|(p, _)| *p).collect();
    probabilities.sort_by(|a, b| b.total_cmp(a));
    // What the seven surest let expect, and a little more.
    let fdr = probabilities[..7].iter().map(|p| 1.0 - p).sum::<f64>() / 7.0 + 1e-6;
    run_mini(&sandbox, "some", &["--fdr", &fdr.to_string()]).ok();
    let viral: Vec<f64> =
        numbers("some").into_iter().filter(|(_, verdict)| verdict == "viral").map(|(p, _)| p).collect();
    assert_eq!(viral.len(), 7);
    assert!(viral.iter().all(|p| *p >= probabilities[6]), "{viral:?}");
    let summary = sandbox.json("some/predictions/summary.json");
    assert_eq!((&summary["sequences"]["viral"], &summary["sequences"]["non-viral"]), (&7.into(), &33.into()));
    let cut_off = summary["cut_offs"]["min_p"].as_f64().unwrap();
    assert!(cut_off <= probabilities[6] && cut_off > probabilities[7], "{cut_off}");
    // The same cut-off by hand, and none that can be reached.
    run_mini(&sandbox, "by-hand", &["--min-p", &cut_off.to_string()]).ok();
    assert_eq!(numbers("by-hand"), numbers("some"));
    run_mini(&sandbox, "none", &["--fdr", "0"]).ok().says(&["sure enough"]);
    assert!(numbers("none").iter().all(|(_, verdict)| verdict == "non-viral"));
    run(&sandbox, &["one.fa"], &["--fdr", "0.1"]).fails(64, "VN-USAGE");
    run_mini(&sandbox, "both", &["--fdr", "0.1", "--min-p", "0.7"]).fails(64, "VN-USAGE");
}

#[test]
fn tables_are_the_same_whether_vectors_are_stored_or_not() {
    let (sandbox, _) = sandbox();
    let options = ["--tables", "tsv,parquet", "--fdr", "0.4", "-q"];
    run_mini(&sandbox, "direct", &options).ok();
    run_mini(&sandbox, "stored", &[&options[..], &["--keep-intermediate"]].concat()).ok();
    let tables = |output: &str| {
        let mut files = sandbox.files(&format!("{output}/predictions"));
        // They say what they were made from.
        files.retain(|name, _| name.ends_with(".tsv") || name.ends_with(".bed"));
        files
    };
    assert_eq!(tables("direct").len(), 4);
    assert_same_files(&tables("direct"), &tables("stored"), "tables");
    assert!(sandbox.path("stored/dnabert/shard-00001.parquet").exists() && !sandbox.path("stored/esm").exists());
    assert_eq!(sandbox.files("direct/windows").len(), 5);
    // What is there is kept, in either way; windows without shards are no input of an embed stage.
    run_mini(&sandbox, "direct", &options[..4]).ok().says(&["already complete"]);
    let refused = sandbox.run(&["embed-dnabert", "direct/windows", "-m", "mini", "-o", "vectors"]);
    refused.fails(66, "VN-IN-MISSING");
    refused.says(&["without shards", "--keep-intermediate"]);
}
