//! The text as the parser is to see it: every byte checked, every sequence on one line.
//!
//! The parser (needletail) accepts any byte in a sequence, keeps an index entry per line and knows the line
//! of a record only. So this reader stands before it: it checks each byte while the line is known, drops
//! blanks at line ends, joins the lines of a FASTA sequence - a record then lies in the parser's buffer in
//! one piece, and windows need no copy - and puts the record's line number before its identifier.

use std::io::{self, BufRead, Read};

use super::checker::{Checker, Progressed};
use super::shared::{Rules, Shared};

/// Checked text. An error ends it as if the file ended there, and waits in the findings, so that the
/// records before it are still read.
pub(super) struct CheckedText {
    text: Box<dyn BufRead + Send>,
    checker: Checker,
    done: bool,
}

impl CheckedText {
    pub(super) fn new(text: Box<dyn BufRead + Send>, rules: Rules, shared: Shared) -> Self {
        Self { text, checker: Checker::new(rules, shared), done: false }
    }
}

impl Read for CheckedText {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let written = self.checker.flush(out);
            if written > 0 || self.done || out.is_empty() {
                return Ok(written);
            }
            let mut progress = Progressed::default();
            let result = match self.text.fill_buf() {
                Ok([]) => {
                    self.done = true;
                    self.checker.end()
                }
                Ok(chunk) => self.checker.check(chunk, out, &mut progress),
                Err(error) => Err(self.checker.io_fault(error)),
            };
            self.text.consume(progress.used);
            if let Err(error) = result {
                self.done = true;
                self.checker.fail(error);
            }
            if progress.written > 0 {
                return Ok(progress.written);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::shared::line_and_name;
    use crate::seq::{Alphabet, Format, Limits, Source};
    use crate::units::InputPolicy;
    use std::io::{BufReader, Cursor};

    /// The checked text, and the fault, when both sides move this many bytes at a time.
    fn checked(text: &str, format: Format, step: usize) -> (String, Option<(u64, String)>) {
        let source = Source::Path("x".into());
        let (alphabet, limits, policy) = (Alphabet::Nucleotide, Limits::default(), InputPolicy::default());
        let (chosen, known, titles, line) = (true, false, false, 1);
        let rules = Rules { source, format, alphabet, limits, policy, chosen, known, titles, line };
        let shared = Shared::default();
        let input = BufReader::with_capacity(step, Cursor::new(text.to_owned()));
        let mut reader = CheckedText::new(Box::new(input), rules, shared.clone());
        let (mut out, mut part) = (Vec::new(), vec![0; step]);
        loop {
            match reader.read(&mut part).unwrap() {
                0 => break,
                count => out.extend_from_slice(&part[..count]),
            }
        }
        let fault = shared.lock().fault.take().map(|(record, error)| (record, error.json()));
        (String::from_utf8(out).unwrap(), fault)
    }

    #[test]
    fn sequences_are_joined_and_lines_numbered() {
        let (text, fault) = checked("\n>a b\r\nAC \r\n\nGT\n>c\n>d\nA", Format::Fasta, 100);
        assert_eq!((text.as_str(), fault), (">2:a\nACGT\n>6:c\n\n>7:d\nA\n", None));
        let (text, fault) = checked("@a b\r\nAC\n+a b\nI? \n\n\n@c\nU\n+\nI\n", Format::Fastq, 100);
        assert_eq!((text.as_str(), fault), ("@1:a\nAC\n+\nI?\n@7:c\nT\n+\nI\n", None));
        assert_eq!(line_and_name(b"12:a:b"), Some((12, &b"a:b"[..])));
    }

    #[test]
    fn the_size_of_the_pieces_does_not_matter() {
        for (text, format) in [
            (">a b\r\nACGTACGTACGTACGTACGT \r\n\nGT\n>c\n>d\nACGTAC", Format::Fasta),
            (">a\nACGT\n>b\nAC GT\n", Format::Fasta),
            (">a\nACGT\n> \nACGT\n", Format::Fasta),
            (">a\nACGT\n>b", Format::Fasta),
            (">a\nAC\rGT\n", Format::Fasta),
            ("@a b\r\nACGTNACGTN\n+a b\nIIIII?????\n\n\n", Format::Fastq),
            ("@a\nAC\n+\nII\n\n \n@b\nAC\n+\nII\n", Format::Fastq),
            ("@a\nAC\nGT\n+\nII\nII\n", Format::Fastq),
            ("@a\nACU\n+\nIII\n@b\nAC\n+\nI\n", Format::Fastq),
            (">a\nACGUUuUXACG\nAUG\n", Format::Fasta),
        ] {
            let whole = checked(text, format, 1000);
            for step in 1..40 {
                assert_eq!(checked(text, format, step), whole, "{text:?} by {step}");
            }
        }
    }
}
