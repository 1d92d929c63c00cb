//! Vectors in the original's `.pt` files. Not a reader of pickles: it knows the few opcodes of these files, runs
//! nothing, and panics at anything else.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Ids and values, row-major.
pub struct Vectors {
    pub ids: Vec<String>,
    pub values: Vec<f32>,
}

/// Reads `{key: [ids], data: ...}`, `data` being lists of floats with labels, a list of tensors, or one tensor.
pub fn read(path: &Path) -> Vectors {
    let files = stored_files(&fs::read(path).unwrap());
    let find = |end: &str| &files.iter().find(|(name, _)| name.ends_with(end)).unwrap_or_else(|| panic!("{end}")).1;
    let events = events(find("/data.pkl"));
    let start = events.iter().position(|event| event.is("data")).expect("data");
    let ids: Vec<String> = events[1..start].iter().map(|event| event.text().to_owned()).collect();
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    let mut rest = events[start + 1..].iter();
    while let Some(event) = rest.next() {
        match event {
            Event::Float(value) => {
                assert!(f64::from(*value as f32) == *value, "{value} is no f32");
                values.push(*value as f32);
            }
            Event::Text(text) if text == "label" => labels.push(rest.next().unwrap().text().to_owned()),
            Event::Text(text) if text == "storage" => {
                let bytes = find(&format!("/data/{}", rest.next().unwrap().text()));
                values.extend(bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())));
            }
            Event::Text(text) => assert!(["mean_representation", "cpu"].contains(&text.as_str()), "{text}"),
        }
    }
    assert!(labels.is_empty() || labels == ids, "labels and ids differ");
    Vectors { ids, values }
}

/// What matters of a pickle, in order.
enum Event {
    Text(String),
    Float(f64),
}

impl Event {
    fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Text(text) if text == wanted)
    }

    fn text(&self) -> &str {
        let Self::Text(text) = self else { panic!("a number where a text should be") };
        text
    }
}

/// Texts and floats of a pickle; a text that is referred to comes again.
fn events(pickle: &[u8]) -> Vec<Event> {
    const CLASSES: [&str; 3] =
        ["torch._utils\n_rebuild_tensor_v2\n", "torch\nFloatStorage\n", "collections\nOrderedDict\n"];
    let (mut events, mut memo) = (Vec::new(), HashMap::new());
    let (mut rest, mut last) = (pickle, None);
    loop {
        let (opcode, after) = rest.split_first().expect("a pickle ends with STOP");
        let number =
            |bytes: usize| after[..bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let taken = match opcode {
            b'.' => return events,
            0x80 | b'K' => 1,
            b'M' => 2,
            b'J' => 4,
            b'}' | b']' | b')' | b'(' | b'e' | b'u' | b't' | b'R' | b'Q' | 0x85 | 0x86 | 0x89 => 0,
            b'G' => {
                events.push(Event::Float(f64::from_be_bytes(after[..8].try_into().unwrap())));
                8
            }
            b'X' => {
                let length = number(4);
                let text = str::from_utf8(&after[4..4 + length]).unwrap().to_owned();
                events.push(Event::Text(text.clone()));
                last = Some(text);
                rest = &after[4 + length..];
                continue; // what is kept next is this text
            }
            b'c' => CLASSES.iter().find(|class| after.starts_with(class.as_bytes())).expect("a known class").len(),
            b'q' | b'r' => {
                let bytes = if *opcode == b'q' { 1 } else { 4 };
                memo.insert(number(bytes), last.take());
                bytes
            }
            b'h' | b'j' => {
                let bytes = if *opcode == b'h' { 1 } else { 4 };
                events.extend(memo[&number(bytes)].clone().map(Event::Text));
                bytes
            }
            other => panic!("opcode {other:#04x}"),
        };
        last = None;
        rest = &after[taken..];
    }
}

/// Names and contents of a zip archive whose files are stored as they are.
fn stored_files(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let number =
        |at: usize, bytes: usize| zip[at..at + bytes].iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
    let end = zip.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").expect("the end of a zip archive");
    let (count, mut entry) = (number(end + 10, 2), number(end + 16, 4));
    let mut files = Vec::new();
    for _ in 0..count {
        assert_eq!(&zip[entry..entry + 4], b"PK\x01\x02");
        assert_eq!(number(entry + 10, 2), 0, "a file is compressed");
        let (size, name) = (number(entry + 24, 4), number(entry + 28, 2));
        let text = str::from_utf8(&zip[entry + 46..entry + 46 + name]).unwrap().to_owned();
        let local = number(entry + 42, 4);
        let start = local + 30 + number(local + 26, 2) + number(local + 28, 2);
        files.push((text, zip[start..start + size].to_vec()));
        entry += 46 + name + number(entry + 30, 2) + number(entry + 32, 2);
    }
    files
}
