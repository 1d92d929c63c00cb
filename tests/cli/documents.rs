//! What the documents say of the program, compared with the program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use virnucpro::error::Fault;
use virnucpro::metrics::Metric;
use virnucpro::store::tables::{FrameVerdictRow, InputRow, MetricRow, SequenceVerdictRow, WindowRow, WindowVerdictRow};
use virnucpro::store::{Column, Row};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// Runs the program in the repository, out of reach of the user's own settings.
fn virnucpro(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_virnucpro"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("VIRNUCPRO_")) {
        command.env_remove(name);
    }
    command.current_dir(root()).args(arguments).output().unwrap()
}

/// Cells of the rows of all Markdown tables, with the heading they stand under.
fn table_rows(text: &str) -> Vec<(String, Vec<String>)> {
    let mut heading = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim().trim_matches('`').to_owned();
        } else if line.starts_with('|') {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            rows.push((heading.clone(), cells));
        }
    }
    rows
}

#[test]
fn every_fault_is_documented_with_its_exit_code_and_no_other_is() {
    let mut documented = BTreeMap::new();
    for (heading, cells) in table_rows(&document("exit-codes.md")) {
        if !cells[0].starts_with("`VN-") {
            continue;
        }
        // The exit code is in the row, or the only one in the heading: "Device (69)".
        let in_heading = heading.split(['(', ')']).nth(1).unwrap_or_default();
        let code = if cells.len() == 3 { &cells[1] } else { in_heading };
        let code: u8 = code.parse().unwrap_or_else(|_| panic!("{cells:?} under {heading}: no exit code"));
        let twin = documented.insert(cells[0].trim_matches('`').to_owned(), code);
        assert_eq!(twin, None, "{} is documented twice", cells[0]);
    }
    let faults: BTreeMap<String, u8> =
        Fault::ALL.iter().map(|fault| (fault.id().to_owned(), fault.exit_code())).collect();
    assert_eq!(documented, faults);
}

#[test]
fn every_exit_code_of_a_fault_has_its_row() {
    let rows = table_rows(&document("exit-codes.md"));
    let codes: Vec<&str> =
        rows.iter().filter(|(heading, _)| heading == "Exit codes and faults").map(|(_, c)| &*c[0]).collect();
    for fault in Fault::ALL {
        let code = fault.exit_code().to_string();
        assert!(codes.contains(&code.as_str()), "{code} of {} is not among {codes:?}", fault.id());
    }
}

/// `run` on the demonstration file with the bundle that needs no libtorch.
fn demonstration(folder: &Path) -> PathBuf {
    let out = folder.join("out");
    let run = virnucpro(&[
        "run",
        "examples/demo.fa",
        "--model",
        "bundles/mock",
        "--legacy",
        "--tables",
        "tsv,parquet",
        "-o",
        out.to_str().unwrap(),
    ]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    out
}

#[test]
fn every_column_and_status_that_is_written_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let out = demonstration(folder.path());
    let text = document("outputs.md");
    let documented: Vec<(String, Vec<String>)> = table_rows(&text);
    for (table, columns) in [
        ("windows/inputs.tsv", InputRow::COLUMNS),
        ("windows/windows.tsv", WindowRow::COLUMNS),
        ("predictions/frames.tsv", FrameVerdictRow::COLUMNS),
        ("predictions/windows.tsv", WindowVerdictRow::COLUMNS),
        ("predictions/sequences.tsv", SequenceVerdictRow::COLUMNS),
    ] {
        let content = std::fs::read_to_string(out.join(table)).unwrap();
        let written: Vec<&str> = content.lines().next().unwrap().split('\t').collect();
        assert_eq!(written, columns.iter().map(|column| column.name).collect::<Vec<_>>(), "{table}");
        let rows = documented.iter().filter(|(heading, cells)| heading == table && cells[0].starts_with('`'));
        let told: Vec<(String, String)> = rows.map(|(_, cells)| (cells[0].clone(), cells[1].clone())).collect();
        let kind = |column: &Column| format!("{}{}", column.kind.name(), if column.nullable { "?" } else { "" });
        let expected: Vec<(String, String)> = columns.iter().map(|c| (format!("`{}`", c.name), kind(c))).collect();
        assert_eq!(told, expected, "{table}");
    }
    let windows = std::fs::read_to_string(out.join("predictions/windows.tsv")).unwrap();
    let mut statuses: Vec<&str> = windows.lines().skip(1).map(|row| row.split('\t').nth(8).unwrap()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, ["ambiguous", "framed", "no_open_frame", "too_short"], "the demonstration shows every status");
    assert!(statuses.iter().all(|status| text.contains(&format!("| `{status}` |"))));
}

#[test]
fn every_column_and_metric_of_an_evaluation_is_documented() {
    let text = document("outputs.md");
    let rows = table_rows(&text).into_iter().filter(|(heading, _)| heading == "metrics.tsv");
    let (named, rest): (Vec<_>, Vec<_>) = rows.map(|(_, cells)| cells).partition(|cells| cells.len() == 3);
    let told: Vec<&str> = named.iter().map(|cells| &*cells[0]).filter(|name| name.starts_with('`')).collect();
    assert_eq!(told, MetricRow::COLUMNS.iter().map(|column| format!("`{}`", column.name)).collect::<Vec<_>>());
    let metrics: String = rest.iter().map(|cells| &*cells[0]).collect();
    for metric in Metric::ALL {
        let name = metric.name();
        let short = name.strip_prefix("recall_at_fpr_0.").map(|rate| format!("`_0.{rate}`")).unwrap_or_default();
        assert!(metrics.contains(&format!("`{name}`")) || (!short.is_empty() && metrics.contains(&short)), "{name}");
    }
}

#[test]
fn every_file_that_is_written_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let out = demonstration(folder.path());
    let text = document("outputs.md");
    for stage in std::fs::read_dir(&out).unwrap() {
        for file in std::fs::read_dir(stage.unwrap().path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let pattern = name.replace("00001", "NNNNN");
            assert!(text.contains(&name) || text.contains(&pattern), "{name}");
        }
    }
}

#[test]
fn every_option_of_the_pipeline_is_documented_with_its_default() {
    let documented: BTreeMap<String, String> = table_rows(&document("configuration.md"))
        .into_iter()
        .filter(|(heading, cells)| heading == "Options" && cells[0].starts_with('`'))
        .flat_map(|(_, cells)| {
            let names: Vec<String> = cells[0].split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
            names.into_iter().map(move |name| (name, cells[1].trim_matches('`').to_owned()))
        })
        .collect();
    for arguments in [
        &["run", "x.fa", "-o", "y", "--print-config"][..],
        &["chunk", "x.fa", "-o", "y", "--print-config"],
        &["embed-esm", "x.faa", "-o", "y", "--print-config"],
        &["predict", "m", "-o", "y", "--print-config"],
        &["evaluate", "p", "--labels", "l.tsv", "-o", "y", "--print-config"],
        &["info", "--print-config"],
    ] {
        let listing = String::from_utf8(virnucpro(arguments).stdout).unwrap();
        assert!(listing.lines().count() > 5, "{arguments:?}: {listing}");
        for line in listing.lines().skip(1) {
            let (name, value) = line.trim_start_matches("# ").split_once(": ").unwrap();
            let default = documented.get(name).unwrap_or_else(|| panic!("option {name} of {arguments:?}"));
            let plain = !["output", "resume", "no-resume", "window"].contains(&name);
            if let Some(value) = value.strip_suffix("  # default").filter(|_| plain) {
                assert_eq!(value, default, "default of {name}");
            }
        }
    }
}

#[test]
fn the_demonstration_file_is_what_its_script_writes() {
    let Ok(made) = Command::new("python3").arg(root().join("examples/make_demo.py")).output() else {
        println!("skipped: there is no python3");
        return;
    };
    assert!(made.status.success());
    assert!(made.stdout == std::fs::read(root().join("examples/demo.fa")).unwrap());
}
