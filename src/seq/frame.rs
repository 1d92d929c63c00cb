//! The six readings of a window, and which of them count: those without a stop, or the one with the longest run.
//!
//! Most frames hold a stop codon, so stops are looked for first, in all six frames in one pass over the
//! window that the compiler turns into vector instructions; only open frames are translated.

use std::fmt;
use std::ops::Range;

use super::base::Codons;
use super::codon::{reverse_complement, translate};
use super::run::Runs;
use crate::units::FrameRule;

/// One of six readings: three offsets on the strand as given, three on its reverse complement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frame {
    /// Forward from base 1.
    F1,
    /// Forward from base 2.
    F2,
    /// Forward from base 3.
    F3,
    /// Reverse complement from its base 1.
    R1,
    /// Reverse complement from its base 2.
    R2,
    /// Reverse complement from its base 3.
    R3,
}

/// The strand a frame is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strand {
    /// As given.
    Forward,
    /// The reverse complement.
    Reverse,
}

impl Frame {
    /// Every frame, in the order of output.
    pub const ALL: [Frame; 6] = [Frame::F1, Frame::F2, Frame::F3, Frame::R1, Frame::R2, Frame::R3];

    /// The name as it ends a frame's id.
    pub fn name(self) -> &'static str {
        match self {
            Self::F1 => "F1",
            Self::F2 => "F2",
            Self::F3 => "F3",
            Self::R1 => "R1",
            Self::R2 => "R2",
            Self::R3 => "R3",
        }
    }

    /// The strand that is read.
    pub fn strand(self) -> Strand {
        match self {
            Self::F1 | Self::F2 | Self::F3 => Strand::Forward,
            Self::R1 | Self::R2 | Self::R3 => Strand::Reverse,
        }
    }

    /// Bases of the strand before the first codon: 0, 1 or 2.
    pub fn offset(self) -> usize {
        match self {
            Self::F1 | Self::R1 => 0,
            Self::F2 | Self::R2 => 1,
            Self::F3 | Self::R3 => 2,
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The identifier of a frame: that of its window and the frame's name, as in `k141_7_chunk_1F2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId<'a> {
    /// Identifier of the window.
    pub window: &'a str,
    /// Name of the frame, F1 to R3.
    pub frame: &'a str,
}

impl<'a> FrameId<'a> {
    /// The parts of a frame's identifier; none for an identifier of another form.
    ///
    /// ```
    /// use virnucpro::seq::FrameId;
    ///
    /// let id = FrameId::parse("k141_7_chunk_1F2").unwrap();
    /// assert_eq!((id.window, id.frame), ("k141_7_chunk_1", "F2"));
    /// assert_eq!(FrameId::parse("sp|P69905|HBA_HUMAN"), None);
    /// ```
    pub fn parse(id: &'a str) -> Option<Self> {
        let (window, frame) = id.split_at_checked(id.len().checked_sub(2)?)?;
        let number = window.rsplit_once("_chunk_")?.1;
        let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (numbered && Frame::ALL.iter().any(|known| known.name() == frame)).then_some(Self { window, frame })
    }
}

impl fmt::Display for FrameId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.window)?;
        f.write_str(self.frame)
    }
}

/// A frame that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    /// Which of the six.
    pub frame: Frame,
    /// Bases of the frame's strand in upper case. Of an open frame: from its offset, three per residue and one more where the
    /// strand has it, which with unreadable codons is shorter than what was read, as in the original. Of the longest run:
    /// those of the whole window.
    pub nucleotides: &'a [u8],
    /// Residues in one-letter code; codons with a letter other than A, C, G, T are left out. Never empty, without a stop.
    pub protein: &'a [u8],
    /// Where the run lies in the window as given, in bases; none for an open frame.
    pub run: Option<Range<usize>>,
}

/// Reads one window after the other in buffers that are used again.
///
/// ```
/// use virnucpro::seq::{Frame, SixFrames};
/// use virnucpro::units::FrameRule;
///
/// let mut frames = SixFrames::new(FrameRule::Open);
/// let first = frames.read(b"ATGGCCTAA").next().unwrap();
/// assert_eq!((first.frame, first.protein), (Frame::F2, &b"WP"[..]));
///
/// let mut frames = SixFrames::new(FrameRule::Longest);
/// let longest = frames.read(b"ATGGCCTAA").next().unwrap();
/// assert_eq!((longest.frame, longest.protein, longest.run), (Frame::R1, &b"LGH"[..], Some(0..9)));
/// ```
#[derive(Debug)]
pub struct SixFrames {
    rule: FrameRule,
    forward: Vec<u8>,
    reverse: Vec<u8>,
    codons: Codons,
    proteins: Vec<u8>,
    counting: Vec<Span>,
    stopped: bool,
}

/// A frame that counts, and the place of its protein in the common buffer.
#[derive(Clone, Debug)]
struct Span {
    frame: Frame,
    protein: Range<usize>,
    nucleotides: Range<usize>,
    run: Option<Range<usize>>,
}

impl SixFrames {
    /// Empty buffers.
    pub fn new(rule: FrameRule) -> Self {
        let (forward, reverse, proteins, counting) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { rule, forward, reverse, codons: Codons::default(), proteins, counting, stopped: false }
    }

    /// The frames of a window (any case, any letters) that count, in the order F1 to R3.
    pub fn read(&mut self, window: &[u8]) -> impl ExactSizeIterator<Item = Reading<'_>> {
        self.counting.clear();
        self.proteins.clear();
        self.forward.clear();
        self.reverse.clear();
        match self.rule {
            FrameRule::Open => self.find_open(window),
            FrameRule::Longest => self.find_longest(window),
        }
        let Self { forward, reverse, proteins, counting, .. } = &*self;
        counting.iter().map(move |span| {
            let strand = match span.frame.strand() {
                Strand::Forward => forward,
                Strand::Reverse => reverse,
            };
            Reading {
                frame: span.frame,
                nucleotides: &strand[span.nucleotides.clone()],
                protein: &proteins[span.protein.clone()],
                run: span.run.clone(),
            }
        })
    }

    fn find_open(&mut self, window: &[u8]) {
        let stops = frames_with_stop(window);
        self.stopped = stops.contains(&true);
        for (frame, stop) in Frame::ALL.into_iter().zip(stops) {
            // A window of one base has nothing at offset 2.
            if stop || window.len() < frame.offset() {
                continue;
            }
            let protein = self.translated(window, frame, frame.offset()..window.len());
            if !protein.is_empty() {
                let last = (frame.offset() + 3 * protein.len() + 1).min(window.len());
                self.counting.push(Span { frame, protein, nucleotides: frame.offset()..last, run: None });
            }
        }
    }

    fn find_longest(&mut self, window: &[u8]) {
        self.codons.read(window.iter().copied().map(super::base::number));
        self.stopped = false;
        let Some(run) = Runs::of(&self.codons).longest_of_all() else { return };
        let protein = self.translated(window, run.frame, run.start..run.end());
        let place = match run.frame.strand() {
            Strand::Forward => run.start..run.end(),
            Strand::Reverse => window.len() - run.end()..window.len() - run.start,
        };
        self.counting.push(Span { frame: run.frame, protein, nucleotides: 0..window.len(), run: Some(place) });
    }

    /// Appends the protein of a part of a frame's strand, and makes the strand where it was not needed before.
    fn translated(&mut self, window: &[u8], frame: Frame, part: Range<usize>) -> Range<usize> {
        let strand = match frame.strand() {
            Strand::Forward if self.forward.is_empty() => {
                self.forward.extend(window.iter().map(u8::to_ascii_uppercase));
                &self.forward
            }
            Strand::Reverse if self.reverse.is_empty() => {
                reverse_complement(window, &mut self.reverse);
                &self.reverse
            }
            Strand::Forward => &self.forward,
            Strand::Reverse => &self.reverse,
        };
        let start = self.proteins.len();
        translate(&strand[part], &mut self.proteins);
        start..self.proteins.len()
    }

    /// Whether a frame of the window read last holds a stop codon.
    pub fn stopped(&self) -> bool {
        self.stopped
    }
}

/// Codon starts looked at together: a multiple of 3, so that the lane decides the frame, and of 16.
const BLOCK: usize = 48;
/// The bytes those codons span.
const SPAN: usize = BLOCK + 2;

/// Which of the six frames hold a stop codon, in the order of [`Frame::ALL`].
fn frames_with_stop(window: &[u8]) -> [bool; 6] {
    let mut stops = Stops { forward: [0; BLOCK], reverse: [0; BLOCK] };
    let mut rest = window;
    while let Some(block) = rest.first_chunk::<SPAN>() {
        stops.mark(block);
        rest = &rest[BLOCK..];
    }
    // Zero is not a base: padding never completes a codon.
    let mut block = [0; SPAN];
    block[..rest.len()].copy_from_slice(rest);
    stops.mark(&block);

    let mut found = [false; 6];
    for (lane, (forward, reverse)) in stops.forward.iter().zip(&stops.reverse).enumerate() {
        // A codon at `i` of the window ends at `length - i` on the other strand.
        found[lane % 3] |= *forward != 0;
        found[3 + (window.len() + BLOCK - lane) % 3] |= *reverse != 0;
    }
    found
}

/// Stop codons seen so far at each lane: all ones or zero per byte, so that comparisons need no shifts.
struct Stops {
    forward: [u8; BLOCK],
    reverse: [u8; BLOCK],
}

impl Stops {
    fn mark(&mut self, bytes: &[u8; SPAN]) {
        let upper = |i: usize| bytes[i] & !0x20;
        let is = |byte: u8, letter: u8| if byte == letter { 0xFFu8 } else { 0 };
        for i in 0..BLOCK {
            let (x, y, z) = (upper(i), upper(i + 1), upper(i + 2));
            let (t, a) = (is(x, b'T'), is(z, b'A'));
            self.forward[i] |= t & ((is(y, b'A') & (a | is(z, b'G'))) | (is(y, b'G') & a));
            self.reverse[i] |= a & ((is(y, b'T') & (t | is(x, b'C'))) | (is(y, b'C') & t));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (String, String, String);

    fn rows(window: &[u8]) -> Vec<Row> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut six = SixFrames::new(FrameRule::Open);
        six.read(window).map(|open| (open.frame.to_string(), text(open.nucleotides), text(open.protein))).collect()
    }

    /// The rules as written down, letter by letter, with a codon table spelled out in another order.
    fn restated(window: &str) -> Vec<Row> {
        const RESIDUES: &str = "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF";
        let upper = window.to_uppercase();
        let reverse: String = upper
            .chars()
            .rev()
            .map(|letter| "ACGT".find(letter).map_or(letter, |i| "TGCA".chars().nth(i).unwrap()))
            .collect();
        let mut rows = Vec::new();
        for (name, strand) in [("F", upper), ("R", reverse)] {
            for offset in 0..3 {
                let mut protein = String::new();
                for i in (offset..strand.len()).step_by(3).filter(|i| i + 3 <= strand.len()) {
                    let digits: Option<Vec<usize>> =
                        strand[i..i + 3].chars().map(|letter| "ACGT".find(letter)).collect();
                    if let Some(digits) = digits {
                        protein.push(RESIDUES.chars().nth(digits[0] * 16 + digits[1] * 4 + digits[2]).unwrap());
                    }
                }
                if !protein.is_empty() && !protein.contains('*') {
                    let end = strand.len().min(offset + 3 * protein.len() + 1);
                    rows.push((format!("{name}{}", offset + 1), strand[offset..end].to_owned(), protein));
                }
            }
        }
        rows
    }

    #[test]
    fn small_windows_by_hand() {
        let row = |name: &str, dna: &str, protein: &str| (name.to_owned(), dna.to_owned(), protein.to_owned());
        for window in ["", "A", "AC", "NNNNNN", "NN"] {
            assert_eq!(rows(window.as_bytes()), [], "{window}");
        }
        assert_eq!(rows(b"ACG"), [row("F1", "ACG", "T"), row("R1", "CGT", "R")]);
        assert_eq!(
            rows(b"atgTAA"),
            [
                row("F2", "TGTA", "C"),
                row("F3", "GTAA", "V"),
                row("R1", "TTACAT", "LH"),
                row("R2", "TACA", "Y"),
                row("R3", "ACAT", "T")
            ]
        );
        assert_eq!(rows(b"ACGNACGTACGTACG")[0], row("F1", "ACGNACGTACGTA", "TVRT"));
        // X, a masked base, as any letter that is not a base: no complement, no codon, and its place in the nucleotides.
        assert_eq!(rows(b"acgxACGTACGTACG")[0], row("F1", "ACGXACGTACGTA", "TVRT"));
        assert_eq!(rows(b"ACGXTTGGA")[3], row("R1", "TCCAAXC", "SR"));
        assert_eq!(rows(b"ACGRTTGGA")[3], row("R1", "TCCAARC", "SR"));
    }

    #[test]
    fn a_stop_is_found_at_every_place_of_a_window() {
        for stop in ["TAA", "tag", "TgA", "TTA", "cta", "TCA"] {
            for at in 0..200 {
                for after in 0..6 {
                    let window = format!("{}{stop}{}", "C".repeat(at), "G".repeat(after));
                    assert_eq!(rows(window.as_bytes()), restated(&window), "{window}");
                }
            }
        }
    }

    #[test]
    fn buffers_hold_nothing_of_the_window_before() {
        let mut six = SixFrames::new(FrameRule::Open);
        assert_eq!(six.read(&b"GCC".repeat(100)).len(), 6);
        assert_eq!(six.read(b"ACG").len(), 2);
        assert_eq!(six.read(b"").len(), 0);
    }

    #[test]
    fn every_window_with_a_codon_that_can_be_read_has_a_longest_run() {
        let mut six = SixFrames::new(FrameRule::Longest);
        for (window, expected) in [
            (&b"atgTAA"[..], Some((Frame::R1, &b"TTACAT"[..], &b"LH"[..], 0..6))),
            (b"TAA", Some((Frame::R1, b"TTA", b"L", 0..3))),
            (b"CCTAATAG", Some((Frame::F1, b"CCTAATAG", b"PN", 0..6))),
            (b"TAATAATAAC", Some((Frame::F2, b"TAATAATAAC", b"NNN", 1..10))),
            (b"TAAACGNNNTAA", Some((Frame::R1, b"TTANNNCGTTTA", b"LRL", 0..12))),
            (b"NNNNNN", None),
            (b"AC", None),
            (b"", None),
        ] {
            let found: Vec<_> = six.read(window).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()));
            let found = found.first().map(|one| (one.frame, one.nucleotides, one.protein, one.run.clone().unwrap()));
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(window));
            assert!(!six.stopped());
        }
    }

    proptest! {
        #[test]
        fn the_longest_run_is_where_its_protein_is_read(window in "[ACGT]{3,200}|[ACGTN]{3,90}") {
            let mut six = SixFrames::new(FrameRule::Longest);
            let Some(longest) = six.read(window.as_bytes()).next() else {
                prop_assert!(rows(window.as_bytes()).is_empty());
                return Ok(());
            };
            let mut run = window.as_bytes()[longest.run.unwrap()].to_vec();
            if longest.frame.strand() == Strand::Reverse {
                reverse_complement(&run.clone(), &mut run);
            }
            let mut protein = Vec::new();
            translate(&run, &mut protein);
            prop_assert_eq!(&protein, longest.protein);
            prop_assert!(!protein.is_empty() && !protein.contains(&b'*'));
            let longest_open = rows(window.as_bytes()).iter().map(|row| row.2.len()).max().unwrap_or(0);
            prop_assert!(protein.len() >= longest_open);
        }

        #[test]
        fn equal_to_the_rules_on_dna(window in "[ACGT]{0,120}|[ACGTacgt]{0,600}") {
            prop_assert_eq!(rows(window.as_bytes()), restated(&window));
        }

        #[test]
        fn equal_to_the_rules_on_any_letters(window in "[ACGTNRYKMSWBDHVUXacgtnryux-]{0,80}|[ACGCGGCGCN-]{0,500}") {
            prop_assert_eq!(rows(window.as_bytes()), restated(&window));
        }
    }
}
