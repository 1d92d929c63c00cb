//! What `models import` found and made, as blocks of lines that fit a terminal of 80 columns.

use std::fmt::Write as _;
use std::path::Path;

use crate::bundle::SearchPath;
use crate::bundle::import::{Dims, PartReport, Report};
use crate::error::printable;
use crate::units::Bytes;

const COLUMNS: usize = 80;
const INDENT: usize = 12;
/// Longer than any path that can be opened.
const MAX_WORD: usize = 5000;

/// The text of a report: a block for each part, one for the bundle.
pub(super) fn text(report: &Report, search: &SearchPath) -> String {
    let mut text = String::new();
    for part in &report.parts {
        block(&mut text, part);
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

/// A part as people call it.
pub(super) fn title(part: &str) -> &'static str {
    match part {
        "dnabert" => "DNABERT-S",
        "esm" => "ESM-2",
        _ => "head",
    }
}

fn block(text: &mut String, part: &PartReport) {
    let weights = part.weights.display().to_string();
    let _ = writeln!(text, "{}", title(part.name));
    row(text, "from", &[&weights]);
    row(text, "format", &[&part.format]);
    row(text, "model", &[&dims(part.dims)]);
    let unneeded = part.unneeded();
    let mut tensors = vec![format!("{} used", part.kept)];
    if !part.dropped.is_empty() {
        tensors[0].push_str(&format!(", {} not needed: ", part.dropped.len()));
        let last = unneeded.len() - 1;
        tensors.extend(unneeded.into_iter().enumerate().map(|(n, name)| if n < last { name + ", " } else { name }));
    }
    row(text, "tensors", &tensors.iter().map(String::as_str).collect::<Vec<_>>());
    let mut numbers = part.stored.clone();
    if part.stored != part.dtype {
        let _ = write!(numbers, ", written as {}", part.dtype);
    }
    if let Some(frequencies) = part.frequencies.as_ref().filter(|&frequencies| *frequencies != part.dtype) {
        let _ = write!(numbers, "; rotary frequencies {frequencies}");
    }
    row(text, "numbers", &[&numbers]);
    for source in &part.sources {
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
    row(text, "written", &[&format!("{}, sha256", Bytes(part.file.bytes))]);
    row(text, "", &[&part.file.sha256.to_string()]);
    text.push('\n');
}

/// A label and its words, which are set on further lines where one is too short.
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

fn dims(dims: Dims) -> String {
    let counted = |count: Option<u32>, of: &str| count.map(|count| format!("{count} {of}"));
    let width = match dims.layers {
        Some(_) => format!("width {}", dims.width),
        None => format!("{} inputs", dims.width),
    };
    let vocabulary = dims.vocabulary.map(|rows| format!("vocabulary {rows}"));
    let all = [counted(dims.layers, "layers"), Some(width), counted(dims.heads, "heads"), vocabulary];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What stands after `--model`: the name where it leads to this bundle, else the folder.
fn asked_for_by(report: &Report, search: &SearchPath) -> String {
    let same =
        |found: &Path| found.canonicalize().ok().is_some_and(|found| report.folder.canonicalize().ok() == Some(found));
    let name = &report.spec.name;
    if !search.is_embedded(name) && search.find(name).is_some_and(|found| same(&found)) {
        return name.clone();
    }
    let folder = report.folder.display().to_string();
    quoted(if folder.contains('/') { folder } else { format!("./{folder}") })
}

/// A word for a shell.
fn quoted(word: String) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_would_change_it() {
        for (path, word) in [
            ("/a/b-1.x", "/a/b-1.x"),
            ("/a b", "'/a b'"),
            ("./it's", "'./it'\\''s'"),
            ("/$HOME", "'/$HOME'"),
            ("/~x;", "'/~x;'"),
        ] {
            assert_eq!(quoted(path.to_owned()), word);
        }
    }
}
