//! Which file of a folder is the weights file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{bytes, format, index};
use crate::error::{Error, Fault, Result};

/// Names that libraries look for, the best first: safetensors before pickles, one file before an index of several.
pub(crate) const PREFERRED: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// End of the name of an index of shards.
const INDEX: &str = ".index.json";
/// Ends of names of files that hold tensors, or say which files do.
const USUAL: [&str; 6] = [".safetensors", ".bin", ".pt", ".pth", ".ckpt", INDEX];
/// Ends of names of weights in formats that are not read.
const OTHER: [&str; 5] = [".h5", ".msgpack", ".onnx", ".gguf", ".ot"];

/// The first bytes of PyTorch's format before it was a zip archive.
const LEGACY: &[u8] = &[0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20];

/// More files than this are not looked into to find the one that is meant.
const MAX_OPENED: usize = 32;

/// Whether a file of this name is an index of shards.
pub(crate) fn is_index(name: &str) -> bool {
    name.ends_with(INDEX)
}

/// The weights file of a folder: the file of a usual name, else the only one.
///
/// # Errors
/// [`Fault::ModelMissing`] if there is none, [`Fault::ModelFormat`] if there are several, or others in formats that are
/// not read; [`Fault::Read`].
pub(super) fn in_folder(folder: &Path) -> Result<PathBuf> {
    let preferred = PREFERRED.iter().map(|name| folder.join(name));
    // A broken link counts: without it, another model would be taken for the one that is meant.
    if let Some(file) = preferred.into_iter().find(|file| file.symlink_metadata().is_ok()) {
        return Ok(file);
    }
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for entry in folder.read_dir().map_err(|error| bytes::unreadable(folder, error))? {
        let path = entry.map_err(|error| bytes::unreadable(folder, error))?.path();
        let name = name_of(&path);
        if name.starts_with('.') || path.is_dir() {
            continue;
        }
        if USUAL.iter().any(|end| name.ends_with(end)) || holds_tensors(&path) {
            found.push(path);
        } else if OTHER.iter().any(|end| name.ends_with(end)) {
            others.push(name);
        }
    }
    found.sort();
    others.sort();
    without_parts(&mut found);
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(none(folder, &others)),
        several => Err(ambiguous(folder, several)),
    }
}

/// Takes out shards that an index names, and fair-esm's regressions.
fn without_parts(found: &mut Vec<PathBuf>) {
    let indices = found.iter().filter(|path| index::is_json(path)).filter_map(|path| index::read(path).ok());
    let shards: BTreeSet<String> = indices.flat_map(|index| index.shards.into_keys()).collect();
    found.retain(|path| !shards.contains(&name_of(path)));
    if (2..=MAX_OPENED).contains(&found.len()) {
        found.retain(|path| !is_contact_regression(path));
    }
}

/// Whether a file holds nothing but the regression that predicts contacts: fair-esm publishes it beside the model.
fn is_contact_regression(path: &Path) -> bool {
    let Ok(source) = format::open(path) else { return false };
    let is_regression = |name: &str| name.contains("contact_head.regression.");
    !source.tensors().is_empty() && source.tensors().iter().all(|tensor| is_regression(&tensor.name))
}

/// Whether the first bytes of a file look like a file of tensors.
fn holds_tensors(path: &Path) -> bool {
    let start = bytes::start_of(path);
    let in_archive = |name: &[u8]| start.windows(name.len()).any(|window| window == name);
    match start.as_slice() {
        [b'P', b'K', 3, 4, ..] => in_archive(b"/data.pkl") || in_archive(b"/version"),
        // The header's length, less than 2^24, and the header, which is JSON.
        [_, _, _, 0, 0, 0, 0, 0, b'{', ..] => true,
        start => start.starts_with(LEGACY),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn none(folder: &Path, others: &[String]) -> Error {
    let (fault, found) = match others {
        [] => (Fault::ModelMissing, "no file of weights".to_owned()),
        others => (Fault::ModelFormat, others.join(", ")),
    };
    let advice = match others {
        [] => "give the folder of the model, or name the file of weights",
        _ => "these formats are not read: take the safetensors or PyTorch file of the model",
    };
    Error::new(fault, format!("there is no weights file in {}", folder.display()))
        .file(folder)
        .expected(PREFERRED.join(", ") + ", or one file of tensors of any name")
        .found(found)
        .advice(advice)
}

fn ambiguous(folder: &Path, several: &[PathBuf]) -> Error {
    let names: Vec<_> = several.iter().map(|path| name_of(path)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let shards = names.iter().all(|name| name.contains("-of-"));
    let advice = if shards {
        "these look like shards: download the *.index.json that belongs to them into the same folder"
    } else {
        "name the file that is meant"
    };
    Error::new(Fault::ModelFormat, format!("several files in {} may be the weights file", folder.display()))
        .file(folder)
        .expected("one weights file, or one of a usual name as model.safetensors")
        .found(super::first_ten(&names))
        .advice(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safetensors(tensors: &[&str]) -> Vec<u8> {
        let entry = |(place, name): (usize, &&str)| {
            format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, 4 * place, 4 * place + 4)
        };
        let header = format!("{{{}}}", tensors.iter().enumerate().map(entry).collect::<Vec<_>>().join(","));
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; 4 * tensors.len()]].concat()
    }

    fn chosen(files: &[(&str, &[u8])]) -> Result<String, (Fault, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        std::fs::create_dir(folder.path().join("onnx.bin")).unwrap();
        in_folder(folder.path()).map(|path| name_of(&path)).map_err(|error| (error.fault(), error.report("import")))
    }

    #[test]
    fn the_usual_name_is_preferred_and_else_the_only_weights_file_is_taken() {
        let weights = safetensors(&["a"]);
        let index = br#"{"weight_map":{"a":"m-1-of-2.safetensors","b":"m-2-of-2.safetensors"}}"#;
        let torch: &[u8] = b"PK\x03\x04\0\0archive/data.pkl";
        let regression = safetensors(&["contact_head.regression.weight", "contact_head.regression.bias"]);
        for (files, expected) in [
            (&[("model.safetensors", &weights[..]), ("pytorch_model.bin", torch)][..], "model.safetensors"),
            (&[("pytorch_model.bin", torch), ("x.pt", torch)], "pytorch_model.bin"),
            (&[("weights", &weights), ("notes.txt", b"x"), ("config.json", b"{}"), (".w.pt", torch)], "weights"),
            (&[("weights", torch), ("data.zip", b"PK\x03\x04x.csv")], "weights"),
            (&[("weights", LEGACY)], "weights"),
            (
                &[
                    ("m.index.json", index),
                    ("m-1-of-2.safetensors", &safetensors(&["a"])),
                    ("m-2-of-2.safetensors", &safetensors(&["b"])),
                ],
                "m.index.json",
            ),
            (&[("x.pt", &weights), ("x-contact-regression.pt", &regression)], "x.pt"),
            (&[("x-contact-regression.pt", &regression)], "x-contact-regression.pt"),
        ] {
            assert_eq!(chosen(files).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn none_and_several_are_refused_with_what_there_is() {
        let weights = safetensors(&["a"]);
        for (files, fault, parts) in [
            (&[][..], Fault::ModelMissing, &["no file of weights"][..]),
            (&[("tf_model.h5", &b"x"[..])], Fault::ModelFormat, &["tf_model.h5", "not read"]),
            (&[("a.pt", b"x"), ("b", &weights)], Fault::ModelFormat, &["a.pt, b", "name the file"]),
            (
                &[("m-1-of-2.safetensors", &weights[..]), ("m-2-of-2.safetensors", &weights)],
                Fault::ModelFormat,
                &["m-1-of-2.safetensors", "index.json"],
            ),
        ] {
            let (found, report) = chosen(files).unwrap_err();
            assert_eq!(found, fault, "{report}");
            assert!(parts.iter().all(|part| report.contains(part)), "{report}");
        }
    }

    #[test]
    fn a_broken_link_of_a_usual_name_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pytorch_model.bin"), "PK\x03\x04archive/data.pkl").unwrap();
        std::os::unix::fs::symlink("../../blobs/gone", folder.path().join("model.safetensors")).unwrap();
        assert_eq!(name_of(&in_folder(folder.path()).unwrap()), "model.safetensors");
    }
}
