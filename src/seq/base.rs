//! Bases and codons as small numbers.

use super::{Frame, Strand};

/// Number of a letter that is none of A, C, G, T: it pushes every codon it takes part in beyond the 64.
pub const NO_BASE: u8 = 64;
/// Number of a codon with such a letter.
pub const NO_CODON: u8 = 64;

const BASE: [u8; 256] = {
    let mut table = [NO_BASE; 256];
    let mut code = 0;
    while code < 4 {
        let letter = b"ACGT"[code];
        table[letter as usize] = code as u8;
        table[letter.to_ascii_lowercase() as usize] = code as u8;
        code += 1;
    }
    table
};

/// Number of a letter: A 0, C 1, G 2, T 3, in either case; [`NO_BASE`] for any other.
#[inline]
pub fn number(letter: u8) -> u8 {
    BASE[usize::from(letter)]
}

/// The codons that each base of a window begins.
#[derive(Clone, Debug, Default)]
pub struct Codons(Vec<u8>);

impl Codons {
    /// Of the letters of a window.
    pub fn of(window: &[u8]) -> Self {
        let mut codons = Self::default();
        codons.read(window.iter().copied().map(number));
        codons
    }

    /// Takes the codons of other bases, by their numbers.
    pub fn read(&mut self, bases: impl Iterator<Item = u8>) {
        self.0.clear();
        let (mut code, mut valid) = (0, 0);
        self.0.extend(
            bases
                .map(|base| {
                    valid = if base < NO_BASE { valid + 1 } else { 0 };
                    code = (code << 2 | (base & 3)) & 63;
                    if valid >= 3 { code } else { NO_CODON }
                })
                .skip(2),
        );
    }

    /// The codons of a frame in the order of its strand: three bases as a number from 0 to 63, the first the most significant.
    pub fn of_frame(&self, frame: Frame) -> impl Iterator<Item = u8> + '_ {
        let reverse = frame.strand() == Strand::Reverse;
        let (last, steps) = (self.0.len(), self.0.len().saturating_sub(frame.offset()).div_ceil(3));
        (0..steps).map(move |step| {
            let place = frame.offset() + 3 * step;
            if reverse { REVERSED[usize::from(self.0[last - 1 - place])] } else { self.0[place] }
        })
    }
}

/// The codon on the other strand.
const REVERSED: [u8; 65] = {
    let mut table = [NO_CODON; 65];
    let mut code = 0;
    while code < 64 {
        table[code] = 63 - ((code as u8 & 3) << 4 | (code as u8 & 12) | code as u8 >> 4);
        code += 1;
    }
    table
};
