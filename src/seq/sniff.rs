//! What a file is, told by its first bytes, never by its name.

use std::path::Path;

use super::source::Source;
use super::summary::{Compression, Format};
use crate::error::{Error, Fault, Result};

/// Bytes looked at: a tar header takes 512.
pub(super) const HEAD: usize = 4096;

const SUPPORTED: &str = "FASTA or FASTQ, plain or compressed with gzip, bzip2, xz or zstd";

const CONVERT: &str = "convert it to FASTA first";
const FROM_GFA: &str = "convert it to FASTA first, for example with `gfatools gfa2fa`";
const FROM_SAM: &str = "convert it to FASTQ first, for example with `samtools fastq`";

/// The compression, or the reason why the file is not read.
pub(super) fn compression(head: &[u8], source: &Source) -> Result<Compression> {
    Ok(match head {
        [0x1F, 0x8B, ..] => Compression::Gzip,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        // A stream may start with a skippable frame.
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Compression::Zstd,
        _ if is_office(head) => {
            return Err(source
                .fault(Fault::InputBinary, format!("{source} is an Office document (Excel or Word)"))
                .expected(SUPPORTED)
                .advice("save the sequences as plain text, in FASTA"));
        }
        _ => match foreign_compression(head) {
            Some(name) => {
                let a = if name.starts_with("lz") { "an" } else { "a" };
                return Err(source
                    .fault(Fault::InputCompression, format!("{source} is {a} {name} file, which cannot be read"))
                    .expected(SUPPORTED)
                    .advice("unpack it, and compress it with gzip or zstd if you wish"));
            }
            None => Compression::Plain,
        },
    })
}

/// The compression that a name promises.
pub(super) fn promised(path: &Path) -> Option<Compression> {
    Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "gz" | "bgz" | "bgzf" => Compression::Gzip,
        "bz2" => Compression::Bzip2,
        "xz" => Compression::Xz,
        "zst" | "zstd" => Compression::Zstd,
        "fa" | "fna" | "fasta" | "fas" | "fq" | "fastq" => Compression::Plain,
        _ => return None,
    })
}

/// The format of a text that is not empty and starts with no blank line, or the reason why it is not read.
pub(super) fn format(head: &[u8], line: u64, source: &Source) -> Result<Format> {
    if let Some(error) = archive(head, source).or_else(|| foreign_text(head, source)) {
        return Err(error.line(line));
    }
    match head {
        [b'>', ..] => Ok(Format::Fasta),
        [b'@', ..] => Ok(Format::Fastq),
        [b';' | b'#', ..] if only_comments(head) => Err(empty(source)),
        [byte, ..] if is_text(*byte) => Err(no_header(head, source).line(line)),
        _ => Err(control(head, source).line(line)),
    }
}

/// An error for a text that starts with neither header.
fn no_header(head: &[u8], source: &Source) -> Error {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if is_sample_sheet(line) {
        let named = matches!(source, Source::Path(path) if path.extension().is_some_and(|extension| {
            extension.eq_ignore_ascii_case("tsv") || extension.eq_ignore_ascii_case("csv")
        }));
        let advice = match named {
            true => "`run` and `chunk` take sample sheets; here, give the files that it lists",
            false => "save it as a file that ends in .tsv or .csv, and name that file",
        };
        return source
            .fault(Fault::InputSheet, format!("{source} is a sample sheet"))
            .expected("FASTA or FASTQ; or, for `run` and `chunk`, a sample sheet whose name ends in .tsv or .csv")
            .advice(advice);
    }
    if let Some((name, advice)) = text_of_another_kind(line) {
        return source.fault(Fault::InputFormat, format!("{source} is {name}")).expected(SUPPORTED).advice(advice);
    }
    let advice = match line {
        [b';' | b'#', ..] => "comment lines are not read: remove them",
        _ if line.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'*')) => {
            "put a header before the sequence, a line such as >name"
        }
        _ => "give FASTA or FASTQ; remove everything before the first record",
    };
    source
        .fault(Fault::InputNoHeader, format!("{source} has text before the first header"))
        .expected("'>' (FASTA) or '@' (FASTQ)")
        .found(show(head.first().copied().unwrap_or_default()))
        .advice(advice)
}

/// Whether a first line has the column `sample` among others.
fn is_sample_sheet(line: &[u8]) -> bool {
    let named = |cell: &[u8]| {
        let cell = cell.trim_ascii();
        let inner = cell.strip_prefix(b"\"").and_then(|cell| cell.strip_suffix(b"\"")).unwrap_or(cell);
        inner.eq_ignore_ascii_case(b"sample")
    };
    let line = line.strip_prefix(b"#").unwrap_or(line);
    [b'\t', b',', b';'].into_iter().any(|mark| {
        let cells: Vec<&[u8]> = line.split(|byte| *byte == mark).collect();
        cells.len() > 1 && cells.into_iter().any(named)
    })
}

/// What a first line tells of a format that has no mark of its own, and what to do.
fn text_of_another_kind(line: &[u8]) -> Option<(&'static str, &'static str)> {
    let number = |cell: &&[u8]| !cell.is_empty() && cell.iter().all(u8::is_ascii_digit);
    let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let cells: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
    let ends = |ending: &str| line.to_ascii_lowercase().ends_with(ending.as_bytes());
    if line.starts_with(b"(") && line.contains(&b',') {
        return Some(("a tree (Newick)", "give the sequences, not their tree"));
    }
    if cells.len() > 2 && cells[0] == b"S" && cells[2].iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'*') {
        return Some(("an assembly graph (GFA)", FROM_GFA));
    }
    if line.starts_with(b"{") || line.starts_with(b"[") {
        return Some(("JSON text", "an error message may have been downloaded instead of the file: look at it"));
    }
    if words.len() == 2 && words.iter().all(number) {
        return Some(("a PHYLIP alignment", CONVERT));
    }
    if cells.len() >= 12 && (cells[4] == b"+" || cells[4] == b"-") {
        return Some(("a file of alignments (PAF)", "give the sequences, not their alignments"));
    }
    if cells.len() >= 11 && number(&cells[1]) && number(&cells[3]) {
        return Some(("a SAM file", FROM_SAM));
    }
    if cells.len() > 2 {
        return Some(("a table", "give the sequences"));
    }
    let files = [".fa", ".fna", ".fasta", ".fq", ".fastq", ".gz", ".bz2", ".xz", ".zst"];
    let listed = words.len() == 1 && files.iter().any(|ending| ends(ending));
    listed.then_some(("a list of files", "name the files as arguments, or in a sample sheet"))
}

/// An error for a file without any record.
pub(super) fn empty(source: &Source) -> Error {
    source
        .fault(Fault::InputEmpty, format!("no sequences in {source}"))
        .expected("at least one FASTA or FASTQ record")
        .advice("check the step that wrote this file")
}

/// An error for a control character where text should be; `rest` starts with it.
pub(super) fn control(rest: &[u8], source: &Source) -> Error {
    let byte = rest.first().copied().unwrap_or(0);
    let padding = rest.iter().all(|byte| matches!(byte, 0 | 0x1A) || byte.is_ascii_whitespace());
    let (message, advice) = match byte {
        0 if padding => (
            format!("{source} is filled up with NUL bytes from here on"),
            "a copy that broke off may leave such padding: compare the size with the original, and copy it again; if all \
             sequences are there, remove the padding with `tr -d '\\000'`",
        ),
        0x1A if padding => (
            format!("{source} has an end-of-file mark of DOS (Ctrl-Z) after its text"),
            "remove it, for example with `tr -d '\\032'`",
        ),
        _ => (
            format!("{source} is a binary file"),
            "check that this is the right file; if it is, copy or download it again",
        ),
    };
    source.fault(Fault::InputBinary, message).expected(SUPPORTED).found(show(byte)).advice(advice)
}

/// A byte as in `0x3E '>'`.
pub(super) fn show(byte: u8) -> String {
    if byte.is_ascii_graphic() || byte == b' ' {
        format!("0x{byte:02X} '{}'", char::from(byte))
    } else {
        format!("0x{byte:02X}")
    }
}

/// Whether the head is all of the file and holds nothing but comments and blank lines.
fn only_comments(head: &[u8]) -> bool {
    let comment = |line: &[u8]| matches!(line.trim_ascii().first(), None | Some(b';' | b'#'));
    head.len() < HEAD && head.split(|byte| *byte == b'\n').all(comment)
}

fn is_text(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte.is_ascii_whitespace() || byte >= 0x80
}

fn foreign_compression(head: &[u8]) -> Option<&'static str> {
    Some(match head {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => "zip",
        [0x1F, 0x9D | 0xA0, ..] => "compress (.Z)",
        [0x04, 0x22, 0x4D, 0x18, ..] | [0x02, 0x21, 0x4C, 0x18, ..] => "lz4",
        [b'7', b'z', 0xBC, 0xAF, 0x27, 0x1C, ..] => "7z",
        [b'R', b'a', b'r', b'!', 0x1A, 0x07, ..] => "rar",
        [b'L', b'Z', b'I', b'P', ..] => "lzip",
        [0x5D, 0, 0, _, _, 0xFF | 0, ..] => "lzma",
        [0xFF, 0x06, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y', ..] => "snappy",
        _ if is_tar(head) => "tar",
        _ => return None,
    })
}

/// Whether the head is that of a document of Excel or Word, old (OLE) or new (a zip file of known parts).
fn is_office(head: &[u8]) -> bool {
    let part = |name: &[u8]| head.get(30..).is_some_and(|names| names.starts_with(name));
    let zipped = head.starts_with(b"PK\x03\x04")
        && [&b"[Content_Types].xml"[..], b"_rels/", b"docProps/"].iter().any(|name| part(name));
    zipped || head.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1])
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// An archive or a second compression inside the first.
fn archive(head: &[u8], source: &Source) -> Option<Error> {
    let name = match compression(head, source) {
        Ok(Compression::Plain) => return None,
        Ok(inner) => inner.to_string(),
        Err(_) => foreign_compression(head)?.to_owned(),
    };
    Some(
        source
            .fault(Fault::InputCompression, format!("{source} contains a compressed {name} file"))
            .expected(SUPPORTED)
            .advice("unpack it and give the sequence files"),
    )
}

/// An encoding of two or four bytes per character, told by its byte order mark or by the zeros around a first `>` or `@`.
fn wide(head: &[u8]) -> Option<&'static str> {
    Some(match head {
        [0xFF, 0xFE, 0, 0, ..] | [b'>' | b'@', 0, 0, 0, ..] => "UTF-32LE",
        [0, 0, 0xFE, 0xFF, ..] | [0, 0, 0, b'>' | b'@', ..] => "UTF-32BE",
        [0xFF, 0xFE, ..] | [b'>' | b'@', 0, ..] => "UTF-16LE",
        [0xFE, 0xFF, ..] | [0, b'>' | b'@', ..] => "UTF-16BE",
        _ => return None,
    })
}

/// A well-known format of another kind.
fn foreign_text(head: &[u8], source: &Source) -> Option<Error> {
    let starts =
        |prefix: &str| head.len() >= prefix.len() && head[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes());
    let error = |fault, name: &str, advice: &str| {
        Some(source.fault(fault, format!("{source} is {name}")).expected(SUPPORTED).advice(advice))
    };
    if let Some(name) = wide(head) {
        let advice = format!("save it as plain ASCII or UTF-8 text, as with `iconv -f {name} -t UTF-8`");
        return error(Fault::InputEncoding, &format!("text in {name}"), &advice);
    }
    let right = "name the right file";
    let binary = match head {
        [0x7F, b'E', b'L', b'F', ..] => Some(("an executable (ELF)", right)),
        [0x89, b'P', b'N', b'G', ..] | [0xFF, 0xD8, 0xFF, ..] => Some(("an image", right)),
        [0x89, b'H', b'D', b'F', ..] => Some(("an HDF5 file", "give FASTA or FASTQ; basecallers write it")),
        [0x8B, b'P', b'O', b'D', ..] => {
            Some(("a POD5 file of raw signals", "basecall it first, for example with dorado"))
        }
        [b'P', b'A', b'R', b'1', ..] => Some(("a Parquet file", "give the sequences as FASTA")),
        [b'B', b'C', b'F', 2 | 4, ..] => Some(("a BCF file", "give the sequences, not the variants")),
        [b'A', b'B', b'I', b'F', ..] | [b'.', b's', b'c', b'f' | b'F', ..] => {
            Some(("a file of Sanger traces", "convert it to FASTA first, for example with EMBOSS seqret"))
        }
        [b'.', b's', b'f', b'f', ..] => Some(("an SFF file", "convert it to FASTQ first, for example with sff2fastq")),
        [0x43, 0x27, 0x41, 0x1A, ..] | [0x1A, 0x41, 0x27, 0x43, ..] => {
            Some(("a 2bit file", "convert it to FASTA first, for example with `twoBitToFa`"))
        }
        _ if starts("%PDF-") => Some(("a PDF document", right)),
        _ if starts("SQLite format 3\0") => Some(("an SQLite database", right)),
        _ if starts("NCBI.sra") => {
            Some(("an SRA archive", "convert it to FASTQ first, for example with `fasterq-dump`"))
        }
        _ => None,
    };
    if let Some((name, advice)) = binary {
        return error(Fault::InputBinary, name, advice);
    }
    let texts = [
        ("BAM\u{1}", "a BAM file", FROM_SAM),
        ("CRAM", "a CRAM file", FROM_SAM),
        ("@HD\tVN:", "a SAM file", FROM_SAM),
        ("@SQ\tSN:", "a SAM file", FROM_SAM),
        ("@RG\tID:", "a SAM file", FROM_SAM),
        ("@PG\tID:", "a SAM file", FROM_SAM),
        ("@CO\t", "a SAM file", FROM_SAM),
        ("{\\rtf", "an RTF document", "save it as plain text"),
        ("H\tVN:Z:", "an assembly graph (GFA)", FROM_GFA),
        ("#!", "a script", right),
        ("LOCUS  ", "a GenBank file", CONVERT),
        ("ID   ", "an EMBL file", CONVERT),
        ("##gff-version", "a GFF file", "give the sequences, not the annotation"),
        ("##fileformat=VCF", "a VCF file", "give the sequences, not the variants"),
        ("#NEXUS", "a NEXUS file", CONVERT),
        ("# STOCKHOLM", "a Stockholm alignment", CONVERT),
        ("CLUSTAL", "a CLUSTAL alignment", CONVERT),
        ("<!DOCTYPE", "a web page", "a web page was downloaded instead of the file: download it again"),
        ("<html", "a web page", "a web page was downloaded instead of the file: download it again"),
        ("<?xml", "an XML file", CONVERT),
        ("version https://git-lfs", "a Git-LFS pointer", "the file itself is not here: run `git lfs pull`"),
    ];
    let (_, name, advice) = texts.iter().find(|(prefix, ..)| starts(prefix))?;
    error(Fault::InputFormat, name, advice)
}
