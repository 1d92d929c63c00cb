//! What the longest run of a window would code for.

use super::{Out, share};
use crate::seq::base::{Codons, NO_CODON};
use crate::seq::codon;
use crate::seq::run::Run;

/// Amino acids by place.
const AMINO_ACIDS: &[u8; 20] = b"ACDEFGHIKLMNPQRSTVWY";
/// Place of what is no amino acid: a stop.
const NONE: u8 = 20;

/// Counts of codons, amino acids and pairs of them in a run.
pub struct Coding {
    /// Place of the amino acid of each codon.
    amino_acids: [u8; 64],
    codons: [u32; 64],
    dipeptides: [u32; 400],
}

impl Coding {
    /// With nothing counted.
    pub fn new() -> Self {
        let place = |codon: usize| {
            let residue = codon::residue(codon as u8);
            let place = AMINO_ACIDS.iter().position(|&known| Some(known) == residue);
            place.map_or(NONE, |place| place as u8)
        };
        Self { amino_acids: std::array::from_fn(place), codons: [0; 64], dipeptides: [0; 400] }
    }

    /// Counts what is in a run.
    pub fn count(&mut self, codons: &Codons, run: Option<Run>) {
        (self.codons, self.dipeptides) = ([0; 64], [0; 400]);
        let Some(run) = run else { return };
        let before = (run.start - run.frame.offset()) / 3;
        let mut last = None;
        for codon in codons.of_frame(run.frame).skip(before).take(run.codons) {
            if codon == NO_CODON {
                last = None;
                continue;
            }
            self.codons[usize::from(codon)] += 1;
            let residue = usize::from(self.amino_acids[usize::from(codon)]);
            if let Some(last) = last.replace(residue) {
                self.dipeptides[20 * last + residue] += 1;
            }
        }
    }

    /// A, C, G, T at each of the three codon positions.
    pub fn positions(&self) -> [[f32; 4]; 3] {
        let mut positions = [[0.0; 4]; 3];
        for (codon, &count) in self.codons.iter().enumerate().filter(|(_, count)| **count > 0) {
            for (position, counts) in positions.iter_mut().enumerate() {
                counts[codon >> (4 - 2 * position) & 3] += count as f32;
            }
        }
        positions
    }

    /// Fills 484 features: the share of each codon in those of its amino acid, that of each amino acid, and that of each pair
    /// of neighbours.
    pub(super) fn frequencies(&self, out: &mut Out<'_>) {
        let mut residues = [0; 21];
        for (codon, count) in self.codons.iter().enumerate() {
            residues[usize::from(self.amino_acids[codon])] += count;
        }
        out.put(
            self.codons
                .iter()
                .enumerate()
                .map(|(codon, &count)| share(count as f32, residues[usize::from(self.amino_acids[codon])] as f32)),
        );
        let total = residues.iter().sum::<u32>() as f32;
        out.put(residues[..20].iter().map(|&count| share(count as f32, total)));
        let pairs = self.dipeptides.iter().sum::<u32>() as f32;
        out.put(self.dipeptides.iter().map(|&count| share(count as f32, pairs)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::run::Runs;

    #[test]
    fn codons_are_those_of_the_run_and_an_unreadable_one_parts_neighbours() {
        let codons = Codons::of(b"TAAATGGCNATGATGTAA");
        let mut coding = Coding::new();
        coding.count(&codons, Runs::of(&codons).longest.first().copied());
        assert_eq!(coding.codons.iter().sum::<u32>(), 3);
        let methionine = AMINO_ACIDS.iter().position(|&residue| residue == b'M').unwrap();
        assert_eq!(coding.dipeptides[21 * methionine], 1);
        assert_eq!(coding.dipeptides.iter().sum::<u32>(), 1);
        assert_eq!(coding.positions()[0], [3.0, 0.0, 0.0, 0.0]);
    }
}
