//! The standard genetic code (NCBI table 1) over bytes of any case.
//!
//! Only A, C, G and T count as bases here: U, N and the other IUPAC codes make their codon unreadable.

use super::base;

/// Amino acids and stops by the number of their codon.
const AMINO_ACIDS: &[u8; 64] = b"KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF";

const COMPLEMENT: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match (byte as u8).to_ascii_uppercase() {
            b'A' => b'T',
            b'C' => b'G',
            b'G' => b'C',
            b'T' => b'A',
            other => other,
        };
        byte += 1;
    }
    table
};

/// Amino acid of a codon, `*` for a stop, nothing when a letter is not a base.
#[inline]
pub fn amino_acid(codon: [u8; 3]) -> Option<u8> {
    let [first, second, third] = codon.map(|letter| usize::from(base::number(letter)));
    AMINO_ACIDS.get(first << 4 | second << 2 | third).copied()
}

/// The same, of a codon by its number.
#[inline]
pub fn residue(codon: u8) -> Option<u8> {
    AMINO_ACIDS.get(usize::from(codon)).copied()
}

/// Appends the protein of a strand read from its first base; unreadable codons leave no trace.
pub fn translate(strand: &[u8], protein: &mut Vec<u8>) {
    let codons = strand.as_chunks::<3>().0;
    let mut end = protein.len();
    protein.resize(end + codons.len(), 0);
    for codon in codons {
        let residue = amino_acid(*codon);
        // Written always, kept when it is one: no branch to predict.
        protein[end] = residue.unwrap_or(0);
        end += usize::from(residue.is_some());
    }
    protein.truncate(end);
}

/// The protein of a strand read from its first base, where every codon can be read.
pub fn readable_protein(strand: &[u8]) -> Option<Vec<u8>> {
    strand.as_chunks::<3>().0.iter().map(|codon| amino_acid(*codon)).collect()
}

/// Replaces `reverse` by the reverse complement of `strand` in upper case.
///
/// Only A, C, G, T are complemented: the other letters keep their meaning of the forward strand, as in the
/// original (R stays R).
pub fn reverse_complement(strand: &[u8], reverse: &mut Vec<u8>) {
    reverse.clear();
    reverse.extend(strand.iter().rev().map(|byte| COMPLEMENT[usize::from(*byte)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codons_of_every_kind() {
        for (codon, expected) in [
            (b"ATG", Some(b'M')),
            (b"tgg", Some(b'W')),
            (b"TAA", Some(b'*')),
            (b"TAG", Some(b'*')),
            (b"tGa", Some(b'*')),
            (b"GGG", Some(b'G')),
            (b"TTT", Some(b'F')),
            (b"AAN", None),
            (b"NAA", None),
            (b"ANA", None),
            (b"AUG", None),
            (b"A-G", None),
        ] {
            assert_eq!(amino_acid(*codon), expected, "{}", String::from_utf8_lossy(codon));
        }
        let stops = AMINO_ACIDS.iter().filter(|letter| **letter == b'*').count();
        assert_eq!(stops, 3);
    }

    #[test]
    fn only_bases_are_complemented() {
        let mut reverse = vec![1, 2, 3];
        reverse_complement(b"acgtRYKMn-U", &mut reverse);
        assert_eq!(reverse, b"U-NMKYRACGT");
    }
}
