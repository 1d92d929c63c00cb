//! Sequences written as FASTA, compressed as the name of the file says.

use std::io::{self, Write};
use std::path::Path;

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use liblzma::write::XzEncoder;

use super::sniff;
use super::summary::Compression;

/// Bases per line.
const LINE: usize = 80;
/// Level of gzip, bzip2 and xz: what their programs use if not told otherwise.
const LEVEL: u32 = 6;
/// That of zstd.
const ZSTD_LEVEL: i32 = 3;

/// Writes records to `out`. Nothing is whole before [`finish`](Self::finish).
///
/// ```
/// use std::path::Path;
/// use virnucpro::seq::FastaWriter;
///
/// let mut fasta = FastaWriter::new(Path::new("viral.fa"), Vec::new())?;
/// fasta.record("contig7 of a sample", b"ACGT")?;
/// assert_eq!(fasta.finish()?, b">contig7 of a sample\nACGT\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct FastaWriter<W: Write> {
    out: Encoder<W>,
}

enum Encoder<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Bzip2(BzEncoder<W>),
    Xz(XzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> FastaWriter<W> {
    /// Of a file called `name`.
    ///
    /// # Errors
    /// The compressor cannot be started.
    pub fn new(name: &Path, out: W) -> io::Result<Self> {
        let out = match sniff::promised(name).unwrap_or(Compression::Plain) {
            Compression::Plain => Encoder::Plain(out),
            Compression::Gzip => Encoder::Gzip(GzEncoder::new(out, flate2::Compression::new(LEVEL))),
            Compression::Bzip2 => Encoder::Bzip2(BzEncoder::new(out, bzip2::Compression::new(LEVEL))),
            Compression::Xz => Encoder::Xz(XzEncoder::new(out, LEVEL)),
            Compression::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?),
        };
        Ok(Self { out })
    }

    /// Appends a record. `title` is one line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn record(&mut self, title: &str, bases: &[u8]) -> io::Result<()> {
        let out = self.out.stream();
        for part in [b">", title.as_bytes(), b"\n"] {
            out.write_all(part)?;
        }
        for line in bases.chunks(LINE) {
            out.write_all(line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Ends the text; what it was written to.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> io::Result<W> {
        match self.out {
            Encoder::Plain(out) => Ok(out),
            Encoder::Gzip(out) => out.finish(),
            Encoder::Bzip2(out) => out.finish(),
            Encoder::Xz(out) => out.finish(),
            Encoder::Zstd(out) => out.finish(),
        }
    }
}

impl<W: Write> Encoder<W> {
    fn stream(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out,
            Self::Bzip2(out) => out,
            Self::Xz(out) => out,
            Self::Zstd(out) => out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::{Limits, Names, Reader};
    use crate::units::{Duplicates, InputPolicy};

    #[test]
    fn what_is_written_is_read_back_whole_under_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let long: Vec<u8> = b"ACGTTGCA".iter().copied().cycle().take(1000).collect();
        for (name, start) in [
            ("a.fa", &b">"[..]),
            ("a.fa.gz", b"\x1F\x8B"),
            ("a.bz2", b"BZh"),
            ("a.fna.xz", b"\xFD7zXZ"),
            ("a.zst", b"\x28\xB5"),
        ] {
            let path = folder.path().join(name);
            let mut fasta = FastaWriter::new(&path, Vec::new()).unwrap();
            fasta.record("one  with two words", &long).unwrap();
            fasta.record("empty", b"").unwrap();
            let bytes = fasta.finish().unwrap();
            assert!(bytes.starts_with(start), "{name}");
            std::fs::write(&path, bytes).unwrap();
            let source = path.as_path().into();
            let mut reader = Reader::open_titled(&source, Limits::default(), InputPolicy::default()).unwrap();
            let mut names = Names::new(Duplicates::Rename);
            let mut read = Vec::new();
            while let Some(record) = reader.next(&mut names) {
                let record = record.unwrap();
                read.push((record.id.to_owned(), record.title(), record.bases().to_vec()));
            }
            let expected = [("one", "one  with two words", &long[..]), ("empty", "empty", b"")]
                .map(|(id, title, bases)| (id.to_owned(), title.to_owned(), bases.to_vec()));
            assert_eq!(read, expected, "{name}");
        }
    }
}
