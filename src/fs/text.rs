//! Text as users and other programs leave it: the one place that turns bytes of text files into text.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::Utf8Error;

use crate::error::{Error, Fault, Result};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why bytes are not UTF-8 text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotText {
    /// Text in another encoding that its first bytes tell.
    Wide(&'static str),
    /// The first byte that is not UTF-8.
    Invalid {
        /// Its line, counted from 1.
        line: u64,
        /// Its place in the line in bytes, counted from 1.
        place: u64,
        /// The byte.
        byte: u8,
    },
    /// The last character is incomplete.
    Cut {
        /// Its line, counted from 1.
        line: u64,
    },
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wide(name) => write!(f, "{name} text"),
            Self::Invalid { place, byte, .. } => {
                let guess = if *byte >= 0xA0 { ", perhaps a letter in Latin-1 or Windows-1252" } else { "" };
                write!(f, "byte {place} of the line is 0x{byte:02X}{guess}")
            }
            Self::Cut { .. } => f.write_str("an incomplete character at the end"),
        }
    }
}

impl std::error::Error for NotText {}

impl NotText {
    /// The line, counted from 1, where one can be named.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Wide(_) => None,
            Self::Invalid { line, .. } | Self::Cut { line } => Some(*line),
        }
    }

    /// What the user can do.
    pub fn advice(&self) -> String {
        match self {
            Self::Wide(name) => format!("save it as UTF-8, as with `iconv -f {name} -t UTF-8`"),
            Self::Invalid { .. } => {
                "save it as UTF-8, as with `iconv -f LATIN1 -t UTF-8`; if it is not a text file, name the right one"
                    .into()
            }
            Self::Cut { .. } => "the file may be cut short: copy or download it again".into(),
        }
    }

    /// The error for a file that holds this.
    fn in_file(self, path: &Path, fault: Fault) -> Error {
        let error = Error::new(fault, format!("{} is not UTF-8 text", path.display()));
        let error = self.line().into_iter().fold(error, Error::line);
        error.file(path).expected("text in UTF-8").found(self.to_string()).advice(self.advice())
    }
}

/// The text that these bytes are, without a byte order mark.
///
/// # Errors
/// The bytes are not UTF-8.
pub fn decode(bytes: &[u8]) -> Result<&str, NotText> {
    if let Some(name) = wide(bytes) {
        return Err(NotText::Wide(name));
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| place_of(bytes, error))
}

/// The same for the content of the file at `path`.
///
/// # Errors
/// `fault`, with line and byte, for bytes that are not UTF-8.
pub fn decode_file<'a>(bytes: &'a [u8], path: &Path, fault: Fault) -> Result<&'a str> {
    decode(bytes).map_err(|wrong| wrong.in_file(path, fault))
}

/// Reads a whole text file.
///
/// # Errors
/// Those of reading, for the caller to name; within them, as [`decode_file`].
pub fn read(path: &Path, fault: Fault) -> io::Result<Result<String>> {
    let bytes = std::fs::read(path)?;
    Ok(decode_file(&bytes, path, fault).map(str::to_owned))
}

/// Encodings of two or four bytes per character, told by a byte order mark or by the zeros of ASCII letters.
fn wide(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [1..=0x7F, 0, 0, 0, ..] => "UTF-32LE",
        [0, 0, 0xFE, 0xFF, ..] | [0, 0, 0, 1..=0x7F, ..] => "UTF-32BE",
        [0xFF, 0xFE, ..] | [1..=0x7F, 0, 1..=0x7F, 0, ..] => "UTF-16LE",
        [0xFE, 0xFF, ..] | [0, 1..=0x7F, 0, 1..=0x7F, ..] => "UTF-16BE",
        _ => return None,
    })
}

fn place_of(bytes: &[u8], error: Utf8Error) -> NotText {
    let (before, rest) = bytes.split_at(error.valid_up_to());
    let line = before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    match (error.error_len(), rest.first()) {
        (Some(_), Some(&byte)) => NotText::Invalid { line, place: (before.len() - start) as u64 + 1, byte },
        _ => NotText::Cut { line },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    fn utf32(text: &str, bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        text.chars().flat_map(|c| bytes(c.into())).collect()
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        assert_eq!(decode("\u{feff}a: ü\n".as_bytes()), Ok("a: ü\n"));
        assert_eq!(decode(b"a"), Ok("a"));
        assert_eq!(decode(b""), Ok(""));
        assert_eq!(decode(BYTE_ORDER_MARK), Ok(""));
    }

    #[test]
    fn wide_encodings_are_named_with_or_without_their_mark() {
        for text in ["\u{feff}{\"a\": 1}", "{\"a\": 1}"] {
            for (bytes, name) in [
                (utf16(text, u16::to_le_bytes), "UTF-16LE"),
                (utf16(text, u16::to_be_bytes), "UTF-16BE"),
                (utf32(text, u32::to_le_bytes), "UTF-32LE"),
                (utf32(text, u32::to_be_bytes), "UTF-32BE"),
            ] {
                assert_eq!(decode(&bytes), Err(NotText::Wide(name)), "{bytes:?}");
                let advice = NotText::Wide(name).advice();
                assert!(advice.contains(&format!("`iconv -f {name} -t UTF-8`")), "{advice}");
            }
        }
    }

    #[test]
    fn what_is_not_utf_8_is_named_by_line_and_byte() {
        assert_eq!(decode(b"a\nbc\xE9d\n"), Err(NotText::Invalid { line: 2, place: 3, byte: 0xE9 }));
        assert_eq!(decode(b"\xEF\xBB\xBF\x80"), Err(NotText::Invalid { line: 1, place: 1, byte: 0x80 }));
        assert_eq!(decode(b"a\n\xC3"), Err(NotText::Cut { line: 2 }));
        let path = Path::new("x.yaml");
        let report = decode_file(b"a\nbc\xE9d\n", path, Fault::Config).unwrap_err().report("v");
        for part in ["x.yaml, line 2", "byte 3 of the line is 0xE9", "Latin-1", "VN-CONFIG", "iconv"] {
            assert!(report.contains(part), "{part} in {report}");
        }
    }
}
