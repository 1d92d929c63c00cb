//! Stop-free runs of codons in the six frames of a window: how long a gene could be that has no end here.

use super::Frame;
use super::base::{Codons, NO_CODON};
use super::codon::residue;

/// A run of codons without a stop. Codons with a letter other than A, C, G, T do not end it, and do not make it longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it is read.
    pub frame: Frame,
    /// Bases of the frame's strand before its first codon.
    pub start: usize,
    /// Codons in it.
    pub codons: usize,
    /// Those of them that can be read: its length.
    pub readable: usize,
}

impl Run {
    /// Bases of the frame's strand before what follows its last codon.
    pub fn end(&self) -> usize {
        self.start + 3 * self.codons
    }
}

/// The runs and stops of the six frames of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// The longest run of each frame, the first of equal ones, in the order of [`Frame::ALL`].
    pub longest: [Run; 6],
    /// Stops in each frame.
    pub stops: [usize; 6],
}

impl Runs {
    /// Of a window, by its codons.
    pub fn of(codons: &Codons) -> Self {
        let found = Frame::ALL.map(|frame| in_frame(codons, frame));
        Self { longest: found.map(|(run, _)| run), stops: found.map(|(_, stops)| stops) }
    }

    /// The longest run of all, that of the first frame where several are equal; none in a window without a whole codon.
    pub fn longest_of_all(&self) -> Option<Run> {
        // The last of equal ones is what max_by_key gives.
        self.longest.iter().rev().max_by_key(|run| run.readable).copied().filter(|run| run.readable > 0)
    }
}

fn in_frame(codons: &Codons, frame: Frame) -> (Run, usize) {
    let empty = |start| Run { frame, start, codons: 0, readable: 0 };
    let (mut stops, mut run, mut longest) = (0, empty(frame.offset()), empty(frame.offset()));
    let longer = |run: Run, longest: Run| if run.readable > longest.readable { run } else { longest };
    for codon in codons.of_frame(frame) {
        if residue(codon) == Some(b'*') {
            longest = longer(run, longest);
            stops += 1;
            run = empty(run.end() + 3);
        } else {
            run.codons += 1;
            run.readable += usize::from(codon < NO_CODON);
        }
    }
    (longer(run, longest), stops)
}

#[cfg(test)]
mod tests {
    use super::super::codon::{amino_acid, reverse_complement};
    use super::*;
    use proptest::prelude::*;

    /// The same, letter by letter.
    fn expected(window: &[u8]) -> Vec<(usize, usize, usize, usize)> {
        let mut reverse = Vec::new();
        reverse_complement(window, &mut reverse);
        let frame = |frame: Frame| {
            let strand = strand(window, &reverse, frame);
            let codons = strand.get(frame.offset()..).unwrap_or(&[]).as_chunks::<3>().0;
            let stops: Vec<usize> = codons
                .iter()
                .enumerate()
                .filter(|(_, codon)| amino_acid(**codon) == Some(b'*'))
                .map(|(place, _)| place)
                .collect();
            let edges: Vec<isize> =
                [-1].into_iter().chain(stops.iter().map(|&at| at as isize)).chain([codons.len() as isize]).collect();
            let readable = |run: &std::ops::Range<usize>| {
                codons[run.clone()].iter().filter(|codon| amino_acid(**codon).is_some()).count()
            };
            let runs: Vec<_> = edges.windows(2).map(|edge| (edge[0] + 1) as usize..edge[1] as usize).collect();
            let most = runs.iter().map(readable).max().unwrap();
            let first = runs.iter().find(|run| readable(run) == most).unwrap().clone();
            if most == 0 {
                (frame.offset(), 0, 0, stops.len())
            } else {
                (frame.offset() + 3 * first.start, first.len(), most, stops.len())
            }
        };
        Frame::ALL.map(frame).to_vec()
    }

    fn strand<'a>(forward: &'a [u8], reverse: &'a [u8], frame: Frame) -> &'a [u8] {
        if frame.strand() == super::super::Strand::Forward { forward } else { reverse }
    }

    proptest! {
        #[test]
        fn runs_are_those_of_a_reading_letter_by_letter(window in "[ACGTN]{0,90}") {
            let runs = Runs::of(&Codons::of(window.as_bytes()));
            let of = |(run, stops): (&Run, &usize)| (run.start, run.codons, run.readable, *stops);
            let found: Vec<_> = runs.longest.iter().zip(&runs.stops).map(of).collect();
            prop_assert_eq!(found, expected(window.as_bytes()));
        }
    }

    #[test]
    fn the_first_frame_wins_and_a_window_without_a_codon_has_no_run() {
        let longest = |window: &[u8]| Runs::of(&Codons::of(window)).longest_of_all();
        assert_eq!(longest(b"ACGACG"), Some(Run { frame: Frame::F1, start: 0, codons: 2, readable: 2 }));
        assert_eq!(longest(b"TAAACG").map(|run| (run.frame, run.end())), Some((Frame::R1, 6)));
        assert_eq!(
            longest(b"NNNNNNNNNTAAGGG").map(|run| (run.frame, run.start, run.readable)),
            Some((Frame::R1, 0, 2))
        );
        assert_eq!(longest(b"NNNNNN"), None);
        assert_eq!(longest(b"AC"), None);
        assert_eq!(longest(b""), None);
    }
}
