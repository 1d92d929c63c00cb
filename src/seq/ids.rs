//! Identifiers of records: safe to write anywhere, and no two alike.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};

use super::source::Source;
use crate::error::{Error, Fault, Result, is_bidi};
use crate::units::Duplicates;

/// The identifiers given so far, over all inputs of a run.
///
/// It keeps a digest per record, not the identifier. To rename, 64 bits do, 10 to 21 bytes a record: two
/// identifiers of one digest (one in a million runs of ten million records) cost a needless `__2`, never a name
/// given twice. A renamed record costs 38 to 78 bytes, because its made name and its place are kept: no record of
/// the input may have that name for its own. To name both lines in an error of `--duplicates error` it keeps 128
/// bits and the place, 37 to 75 bytes.
#[derive(Debug)]
pub struct Names {
    given: Given,
    sources: Vec<Source>,
    records: u64,
    renamed: u64,
}

#[derive(Debug)]
enum Given {
    Rename(Renaming),
    Error { places: HashMap<IdDigest, Place, Plain> },
}

/// Identifiers of the input, and names made for those that came again.
#[derive(Debug, Default)]
struct Renaming {
    own: IdDigests,
    /// Made names, with the record that bears each.
    made: HashMap<u64, PackedPlace, Plain>,
    /// The number to try next, of identifiers that came twice.
    next: HashMap<u64, u64, Plain>,
}

impl Renaming {
    /// Whether the record at `here` was given another name, which is then in `id`; or the record that was given the name
    /// `id` before.
    fn admit(&mut self, id: &mut String, key: u64, here: Place) -> Result<bool, Place> {
        // Digests may agree by chance, about once in a million large runs: such a name at least looks made.
        if let Some(first) = self.made.get(&key).filter(|_| looks_made(id)) {
            return Err(first.place());
        }
        if self.own.insert(key) {
            return Ok(false);
        }
        let own = id.len();
        let number = self.next.entry(key).or_insert(2);
        loop {
            id.truncate(own);
            // Writing to a string cannot fail.
            let _ = write!(id, "__{number}");
            *number += 1;
            let name = digest(id).0;
            if !self.own.contains(name) && !self.made.contains_key(&name) {
                self.made.insert(name, PackedPlace::of(here));
                return Ok(true);
            }
        }
    }
}

/// Whether a name ends as made names do.
fn looks_made(id: &str) -> bool {
    id.rsplit_once("__").is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

type IdDigest = (u64, u64);
type Plain = BuildHasherDefault<FirstWord>;

/// A set of digests in many small tables: one large one would be there twice whenever it grows.
#[derive(Debug)]
struct IdDigests(Vec<HashSet<u64, Plain>>);

impl IdDigests {
    const TABLES: usize = 256;

    /// Whether `digest` is new.
    fn insert(&mut self, digest: u64) -> bool {
        self.0[Self::table(digest)].insert(digest)
    }

    fn contains(&self, digest: u64) -> bool {
        self.0[Self::table(digest)].contains(&digest)
    }

    /// Not by the bits that the tables themselves go by, the lowest and the highest.
    fn table(digest: u64) -> usize {
        (digest >> 40) as usize % Self::TABLES
    }
}

impl Default for IdDigests {
    fn default() -> Self {
        Self(vec![HashSet::default(); Self::TABLES])
    }
}

/// A line of an input.
#[derive(Clone, Copy, Debug)]
struct Place {
    source: usize,
    line: u64,
}

/// A place in half the bytes: 20 bits of input, 44 of line.
#[derive(Clone, Copy, Debug)]
struct PackedPlace(u64);

impl PackedPlace {
    const LINE: u64 = (1 << 44) - 1;

    fn of(place: Place) -> Self {
        Self((place.source as u64) << 44 | (place.line & Self::LINE))
    }

    fn place(self) -> Place {
        Place { source: (self.0 >> 44) as usize, line: self.0 & Self::LINE }
    }
}

impl Names {
    /// No names yet.
    pub fn new(duplicates: Duplicates) -> Self {
        let given = match duplicates {
            Duplicates::Rename => Given::Rename(Renaming::default()),
            Duplicates::Error => Given::Error { places: HashMap::default() },
        };
        Self { given, sources: Vec::new(), records: 0, renamed: 0 }
    }

    /// Records named so far: the ordinal of the last one.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many of them were given another name than their own.
    pub fn renamed(&self) -> u64 {
        self.renamed
    }

    /// Notes that the records that follow are of this input.
    pub(super) fn begin(&mut self, source: &Source) {
        self.sources.push(source.clone());
    }

    /// Takes the next record's name; `id` becomes the name that it is to bear.
    pub(super) fn admit(&mut self, id: &mut String, line: u64) -> Result<()> {
        let key = digest(id);
        let here = Place { source: self.sources.len().saturating_sub(1), line };
        match &mut self.given {
            Given::Rename(renaming) => match renaming.admit(id, key.0, here) {
                Ok(renamed) => self.renamed += u64::from(renamed),
                Err(first) => return Err(self.made(id, first, here)),
            },
            Given::Error { places } => {
                if let Some(first) = places.insert(key, here) {
                    return Err(self.duplicate(id, first, here));
                }
            }
        }
        self.records += 1;
        Ok(())
    }

    fn duplicate(&self, id: &str, first: Place, second: Place) -> Error {
        self.refused("two records have the same identifier", id, second)
            .expected("identifiers that differ up to the first blank")
            .found(format!("the same in {}, line {}", self.file(first), first.line))
            .advice("rename one of them; chunk and run do so with --duplicates rename")
    }

    fn made(&self, id: &str, first: Place, second: Place) -> Error {
        self.refused("a record has an identifier that an earlier record was renamed to", id, second)
            .expected("an identifier that no other record was given")
            .found(format!("the record in {}, line {}, was renamed to it", self.file(first), first.line))
            .advice("rename one of the two records, or move this one, or its file, before the other")
    }

    fn refused(&self, message: &str, id: &str, place: Place) -> Error {
        Error::new(Fault::InputDuplicateId, message).file(self.file(place)).record(id).line(place.line)
    }

    fn file(&self, place: Place) -> String {
        self.sources.get(place.source).map(ToString::to_string).unwrap_or_default()
    }
}

/// The identifier of a header: its first word, with everything escaped that could do harm in a table,
/// a page or a terminal. Nothing if there is no word.
pub(super) fn identifier(header: &[u8]) -> Option<String> {
    let word = header.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    if let Ok(id) = str::from_utf8(word)
        && word.iter().all(u8::is_ascii_graphic)
    {
        return Some(id.to_owned());
    }
    let mut id = String::with_capacity(word.len());
    for part in word.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() || is_bidi(c) || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}') {
                id.extend(c.escape_unicode());
            } else {
                id.push(c);
            }
        }
        for byte in part.invalid() {
            let _ = write!(id, "\\x{byte:02X}");
        }
    }
    Some(id)
}

fn digest(id: &str) -> IdDigest {
    let hash = blake3::hash(id.as_bytes());
    let (words, _) = hash.as_bytes().as_chunks::<8>();
    (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]))
}

/// The keys are digests already: their first word serves as hash.
#[derive(Debug, Default)]
struct FirstWord(Option<u64>);

impl Hasher for FirstWord {
    fn write_u64(&mut self, word: u64) {
        self.0.get_or_insert(word);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Names of records on lines 1, 2, ..., up to an error.
    fn rename(ids: &[&str]) -> (Vec<String>, Option<Error>) {
        let mut names = Names::new(Duplicates::Rename);
        names.begin(&Source::Path("a.fa".into()));
        let mut given = Vec::new();
        for (line, id) in (1..).zip(ids) {
            let mut id = (*id).to_owned();
            if let Err(error) = names.admit(&mut id, line) {
                return (given, Some(error));
            }
            given.push(id);
        }
        (given, None)
    }

    #[test]
    fn duplicates_are_renamed_beside_real_ids_of_that_form() {
        let names = |ids: &[&str]| rename(ids).0;
        assert_eq!(names(&["x", "x", "x", "y"]), ["x", "x__2", "x__3", "y"]);
        assert_eq!(names(&["x", "x__2", "x"]), ["x", "x__2", "x__3"]);
        assert_eq!(names(&["x", "x__2", "x", "x__2", "x"]), ["x", "x__2", "x__3", "x__2__2", "x__4"]);
    }

    #[test]
    fn a_record_that_has_a_made_name_of_its_own_is_refused_with_both_lines() {
        for ids in [&["x", "x", "x__2"][..], &["x", "x__2", "x", "x__3"], &["x__2", "x__2", "y", "x__2__2"]] {
            let (given, error) = rename(ids);
            let text = error.unwrap().report("test");
            assert_eq!(given.len(), ids.len() - 1);
            assert!(text.contains("VN-IN-DUPID") && text.contains(&format!("a.fa, line {}\n", ids.len())), "{text}");
            let first = given.iter().position(|name| name == ids[ids.len() - 1]).unwrap() + 1;
            assert!(text.contains(&format!("a.fa, line {first}, was renamed to it")), "{text}");
        }
    }

    #[test]
    fn a_duplicate_error_names_both_lines_and_files() {
        let mut names = Names::new(Duplicates::Error);
        names.begin(&Source::Path("a.fa".into()));
        names.admit(&mut "x".to_owned(), 3).unwrap();
        names.begin(&Source::Path("b.fa".into()));
        names.admit(&mut "y".to_owned(), 1).unwrap();
        let error = names.admit(&mut "x".to_owned(), 9).unwrap_err();
        let text = error.report("test");
        assert_eq!(error.fault(), Fault::InputDuplicateId);
        assert!(text.contains("b.fa, line 9") && text.contains("a.fa, line 3"), "{text}");
    }

    #[test]
    fn identifiers_can_inject_nothing() {
        for (header, expected) in [
            (&b"a b c"[..], Some("a")),
            (b"a\tb", Some("a")),
            (b"  a", Some("a")),
            (b"", None),
            (b" \t", None),
            (b"a\x1b[2Jb", Some("a\\u{1b}[2Jb")),
            (b"a\0b", Some("a\\u{0}b")),
            (b"a\xffb", Some("a\\xFFb")),
            ("a\u{202e}b".as_bytes(), Some("a\\u{202e}b")),
            ("a\u{85}b\u{2028}".as_bytes(), Some("a\\u{85}b\\u{2028}")),
            ("größe|é".as_bytes(), Some("größe|é")),
            (b"../../x;$(rm)`ls`", Some("../../x;$(rm)`ls`")),
        ] {
            assert_eq!(identifier(header).as_deref(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_name_is_given_once_and_first_to_the_record_that_has_it_of_its_own(
            ids in prop::collection::vec("[xyz](__[23])?", 0..12)
        ) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let (given, error) = rename(&ids);
            let different: HashSet<_> = given.iter().collect();
            prop_assert_eq!(different.len(), given.len());
            prop_assert_eq!(error.is_some(), given.len() < ids.len());
            for (name, place) in given.iter().zip(0..) {
                let of_its_own = ids[..given.len()].iter().position(|id| id == name);
                prop_assert!(of_its_own.is_none_or(|first| first == place), "{ids:?}: {given:?}");
            }
        }
    }
}
