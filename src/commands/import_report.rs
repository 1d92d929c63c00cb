//! What `models import` found and made, as blocks of lines that fit a terminal of 80 columns.

use std::fmt::Write as _;
use std::path::Path;

use crate::bundle::SearchPath;
use crate::bundle::import::{ImportReport, ImportedModel};
use crate::error::{printable, shell_word};
use crate::units::Bytes;

const COLUMNS: usize = 80;
const INDENT: usize = 12;
/// Longer than any path that can be opened.
const MAX_WORD: usize = 5000;

/// The text of a report: a block for each model, one for the bundle.
pub(super) fn text(report: &ImportReport, search: &SearchPath) -> String {
    let mut text = String::new();
    for model in &report.models {
        block(&mut text, model, report);
    }
    let spec = &report.spec;
    let trained = if spec.trained { "" } else { ", UNTRAINED: random weights" };
    let _ = writeln!(text, "{}, version {}, window {} bp{trained}", spec.name, spec.version, spec.window);
    let folder = report.folder.display().to_string();
    row(&mut text, "folder", &[&folder]);
    row(&mut text, "digest", &[&report.digest.to_string()]);
    row(&mut text, "licence", &spec.licence.split_inclusive("; ").collect::<Vec<_>>());
    row(&mut text, "source", &spec.source.split_inclusive("; ").collect::<Vec<_>>());
    let model = asked_for_by(report, search);
    row(&mut text, "use", &[&format!("virnucpro run IN.fa --model {model} -o OUT")]);
    text
}

fn block(text: &mut String, model: &ImportedModel, report: &ImportReport) {
    let weights = model.weights.display().to_string();
    let _ = writeln!(text, "{}", model.component.title());
    row(text, "from", &[&weights]);
    row(text, "format", &[&model.format]);
    row(text, "model", &[&model.size]);
    let unneeded = model.unneeded();
    let mut tensors = vec![format!("{} used", model.kept)];
    if !model.dropped.is_empty() {
        tensors[0].push_str(&format!(", {} not needed: ", model.dropped.len()));
        let last = unneeded.len() - 1;
        tensors.extend(unneeded.into_iter().enumerate().map(|(n, name)| if n < last { name + ", " } else { name }));
    }
    row(text, "tensors", &tensors.iter().map(String::as_str).collect::<Vec<_>>());
    let mut numbers = model.stored.clone();
    if model.stored != model.dtype {
        let _ = write!(numbers, ", written as {}", model.dtype);
    }
    if let Some(frequencies) = model.frequencies.as_ref().filter(|&frequencies| *frequencies != model.dtype) {
        let _ = write!(numbers, "; rotary frequencies {frequencies}");
    }
    row(text, "numbers", &[&numbers]);
    for source in &model.sources {
        let name = source.path.file_name().unwrap_or_default().to_string_lossy();
        let size = Bytes(source.bytes);
        match source.sha256 {
            Some(sha256) => {
                row(text, "read", &[&format!("{size}, "), &format!("sha256 of {name}")]);
                row(text, "", &[&sha256.to_string()]);
            }
            None => row(text, "read", &[&format!("{size}, "), &name]),
        }
    }
    if let Some(written) = report.spec.files.get(&model.component.weights()) {
        row(text, "written", &[&format!("{}, sha256", Bytes(written.bytes))]);
        row(text, "", &[&written.sha256.to_string()]);
    }
    text.push('\n');
}

/// A label and its words, wrapped to further lines where one is too short.
fn row(text: &mut String, label: &str, words: &[&str]) {
    let mut line = format!("  {label:0$}", INDENT - 2);
    for word in words {
        let word = printable(word, MAX_WORD);
        let used = line.chars().count();
        if used > INDENT && used + word.trim_end().chars().count() > COLUMNS {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(INDENT);
        }
        line.push_str(&word);
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// What to give as `--model`: the name where it leads to this bundle, else the folder.
fn asked_for_by(report: &ImportReport, search: &SearchPath) -> String {
    let same =
        |found: &Path| found.canonicalize().ok().is_some_and(|found| report.folder.canonicalize().ok() == Some(found));
    let name = &report.spec.name;
    if !search.is_embedded(name) && search.find(name).is_some_and(|found| same(&found)) {
        return name.clone();
    }
    let folder = report.folder.display().to_string();
    shell_word(&if folder.contains('/') { folder } else { format!("./{folder}") })
}
