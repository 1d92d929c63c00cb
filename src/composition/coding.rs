//! What the longest run of a window would code for.

use super::{Out, entropy, on_strand, share};
use crate::seq::base::{Codons, NO_BASE, NO_CODON};
use crate::seq::codon;
use crate::seq::run::Run;

/// Amino acids by place.
const AMINO_ACIDS: &[u8; 20] = b"ACDEFGHIKLMNPQRSTVWY";
/// Amino acids with like side chains: aliphatic, aromatic, with a hydroxyl group, other polar ones, acids, bases, glycine,
/// proline.
const CLASSES: [&[u8]; 8] = [b"ACILMV", b"FWY", b"ST", b"HNQ", b"DE", b"KR", b"G", b"P"];
/// How far apart the residues of a pair are.
const GAPS: [usize; 3] = [2, 3, 4];

/// The codons of a run, and the tables to read them by.
pub struct Coding {
    /// Place of the amino acid of each codon; the last of a stop.
    places: [usize; 64],
    /// Class of the amino acid of each codon.
    classes: [usize; 64],
    /// The bases of the run, on its strand.
    bases: Vec<u8>,
    /// The codons of the run, in their order.
    run: Vec<u8>,
    counts: [f32; 64],
}

impl Coding {
    /// With no run.
    pub fn new() -> Self {
        let residue = |codon: usize| codon::residue(codon as u8).unwrap_or(b'*');
        let place = |codon| AMINO_ACIDS.iter().position(|&known| known == residue(codon)).unwrap_or(20);
        let class = |codon| CLASSES.iter().position(|class| class.contains(&residue(codon))).unwrap_or(0);
        let (places, classes) = (std::array::from_fn(place), std::array::from_fn(class));
        Self { places, classes, bases: Vec::new(), run: Vec::new(), counts: [0.0; 64] }
    }

    /// Takes the run of a window, by the numbers of its bases.
    pub fn read(&mut self, bases: &[u8], codons: &Codons, run: Option<Run>) {
        self.bases.clear();
        self.run.clear();
        self.counts = [0.0; 64];
        let Some(run) = run else { return };
        self.bases.extend(on_strand(bases, run.frame.strand()).skip(run.start).take(3 * run.codons));
        self.run.extend(codons.of_frame(run.frame).skip((run.start - run.frame.offset()) / 3).take(run.codons));
        for &codon in self.run.iter().filter(|&&codon| codon != NO_CODON) {
            self.counts[usize::from(codon)] += 1.0;
        }
    }

    /// A, C, G, T at each of the three codon positions.
    pub fn positions(&self) -> [[f32; 4]; 3] {
        let mut positions = [[0.0; 4]; 3];
        for (codon, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            for (position, counts) in positions.iter_mut().enumerate() {
                counts[codon >> (4 - 2 * position) & 3] += count;
            }
        }
        positions
    }

    /// Fills 84 features: the share of each codon in those of its amino acid, and that of each amino acid.
    pub(super) fn frequencies(&self, out: &mut Out<'_>) {
        let residues = self.residues();
        out.put(self.counts.iter().zip(self.places).map(|(&count, place)| share(count, residues[place])));
        put_shares(&residues[..20], out);
    }

    /// Fills 6 features: how far codons are from what their amino acids and the bases at third positions let expect, in nats
    /// per codon and in all; entropies of codons within amino acids, of amino acids, of third positions, and of codons.
    pub(super) fn bias(&self, out: &mut Out<'_>) {
        let residues = self.residues();
        let total = self.counts.iter().sum();
        if total == 0.0 {
            return out.put([0.0; 6]);
        }
        // One of each base more, so that none is impossible.
        let thirds = self.positions()[2].map(|count| count + 1.0);
        let mut expected = [0.0; 21];
        for (codon, place) in self.places.into_iter().enumerate() {
            expected[place] += thirds[codon & 3];
        }
        let (mut distance, mut choice) = (0.0, 0.0);
        for (codon, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let frequency = count / residues[self.places[codon]];
            distance += count * (frequency * expected[self.places[codon]] / thirds[codon & 3]).ln();
            choice -= count * frequency.ln();
        }
        out.put([share(distance, total), distance, share(choice, total)]);
        out.put([entropy(&residues), entropy(&thirds), entropy(&self.counts)]);
    }

    /// Fills 128 features: the shares of words of three bases that begin at the second position of a codon, and of those that
    /// begin at the third.
    pub(super) fn across_codons(&self, out: &mut Out<'_>) {
        for phase in [1, 2] {
            let mut counts = [0.0; 64];
            for word in self.bases.get(phase..).unwrap_or(&[]).as_chunks::<3>().0 {
                if !word.contains(&NO_BASE) {
                    counts[word.iter().fold(0, |code, &base| code << 2 | usize::from(base))] += 1.0;
                }
            }
            put_shares(&counts, out);
        }
    }

    /// Fills 192 features: the shares of pairs of classes of amino acids, for residues two, three and four apart.
    pub(super) fn pairs(&self, out: &mut Out<'_>) {
        let class = |codon: u8| self.classes.get(usize::from(codon)).copied();
        for gap in GAPS {
            let mut counts = [0.0; 64];
            for (&one, &other) in self.run.iter().zip(self.run.iter().skip(gap)) {
                if let (Some(one), Some(other)) = (class(one), class(other)) {
                    counts[8 * one + other] += 1.0;
                }
            }
            put_shares(&counts, out);
        }
    }

    /// Amino acids by place, and stops, of which a run has none.
    fn residues(&self) -> [f32; 21] {
        let mut residues = [0.0; 21];
        for (&count, place) in self.counts.iter().zip(self.places) {
            residues[place] += count;
        }
        residues
    }
}

/// Each count as a share of all.
fn put_shares(counts: &[f32], out: &mut Out<'_>) {
    let total = counts.iter().sum();
    out.put(counts.iter().map(|&count| share(count, total)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::base::number;
    use crate::seq::run::Runs;

    fn of(window: &[u8]) -> Coding {
        let bases: Vec<u8> = window.iter().copied().map(number).collect();
        let codons = Codons::of(window);
        let mut coding = Coding::new();
        coding.read(&bases, &codons, Runs::of(&codons).longest.first().copied());
        coding
    }

    fn filled<const N: usize>(fill: impl Fn(&mut Out<'_>)) -> [f32; N] {
        let mut features = [f32::NAN; N];
        fill(&mut Out { features: &mut features });
        features
    }

    #[test]
    fn codons_are_those_of_the_run_and_an_unreadable_one_is_not_counted() {
        let coding = of(b"TAAATGGCNATGATGTAA");
        assert_eq!(coding.run, [14, NO_CODON, 14, 14]);
        assert_eq!(coding.counts.iter().sum::<f32>(), 3.0);
        assert_eq!(coding.positions()[0], [3.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn words_across_codons_end_with_the_run() {
        let shares: [f32; 128] = filled(|out| of(b"ATGATGTAA").across_codons(out));
        assert_eq!((shares[0b11_10_00], shares[64 + 0b10_00_11]), (1.0, 1.0)); // TGA, GAT
        assert_eq!(shares.iter().sum::<f32>(), 2.0);
    }

    #[test]
    fn residues_of_a_pair_are_apart_and_both_can_be_read() {
        let shares: [f32; 192] = filled(|out| of(b"ATGGGCNNNGATAAA").pairs(out)); // M G X D K
        assert_eq!((shares[8 * 6 + 4], shares[64 + 4], shares[64 + 8 * 6 + 5], shares[128 + 5]), (1.0, 0.5, 0.5, 1.0));
        assert_eq!(shares.iter().sum::<f32>(), 3.0);
    }

    #[test]
    fn codons_as_third_positions_let_expect_are_without_bias() {
        let bias: [f32; 6] = filled(|out| of(b"GCAGCCGCGGCT").bias(out));
        assert!(bias[0].abs() < 1e-6 && bias[1].abs() < 1e-6, "{bias:?}");
        assert!(bias[2..].iter().zip([4.0, 1.0, 4.0, 4.0f32]).all(|(a, b)| (a - b.ln()).abs() < 1e-6), "{bias:?}");
        let biased: [f32; 6] = filled(|out| of(b"GCAGCACCTCCT").bias(out));
        assert!(biased[0] > 0.5 && biased[1] == 4.0 * biased[0], "{biased:?}");
    }
}
