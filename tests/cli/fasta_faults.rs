//! Every fault of sequence input: what is read, and what is refused with which words.
//!
//! One row per case; `F..` numbers the fault in the project's catalogue.

use std::fs;
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;
use virnucpro::error::{Error, Fault};
use virnucpro::seq::{Alphabet, Compression, Limits, Masked, Names, Note, Reader, Source, Summary};
use virnucpro::units::{Duplicates, InputPolicy, UnknownLetters};

type Records = Vec<(String, String)>;

fn read(source: &Source, duplicates: Duplicates, limits: Limits) -> Result<(Records, Summary), Error> {
    let reader = Reader::open_with(source, Alphabet::Nucleotide, limits, InputPolicy::AS_IT_STANDS)?;
    records(reader, Names::new(duplicates))
}

fn records(mut reader: Reader, mut names: Names) -> Result<(Records, Summary), Error> {
    let mut records = Vec::new();
    while let Some(record) = reader.next(&mut names) {
        let record = record?;
        assert_eq!(record.ordinal, records.len() as u64 + 1);
        records.push((record.id.to_owned(), String::from_utf8(record.bases().to_vec()).unwrap()));
    }
    assert!(reader.next(&mut names).is_none());
    let summary = reader.summary().unwrap().clone();
    assert_eq!(summary.records, records.len() as u64);
    assert_eq!(summary.bases, records.iter().map(|(_, bases)| bases.len() as u64).sum::<u64>());
    Ok((records, summary))
}

fn read_file(path: &Path) -> Result<(Records, Summary), Error> {
    read(&path.into(), Duplicates::Rename, Limits::default())
}

/// Reads bytes from a file of the given name.
fn read_bytes(name: &str, bytes: &[u8]) -> Result<(Records, Summary), Error> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let result = read_file(&path);
    if let Ok((_, summary)) = &result {
        assert_eq!((summary.bytes, summary.digest), (bytes.len() as u64, blake3::hash(bytes)), "{name}");
    }
    result
}

/// The same under a policy.
fn read_as(policy: InputPolicy, name: &str, bytes: &[u8]) -> Result<(Records, Summary), Error> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let reader = Reader::open_with(&path.into(), Alphabet::Nucleotide, Limits::default(), policy)?;
    records(reader, Names::new(Duplicates::Rename))
}

fn read_strict(name: &str, bytes: &[u8]) -> Result<(Records, Summary), Error> {
    read_as(InputPolicy { strict: true, ..InputPolicy::AS_IT_STANDS }, name, bytes)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn xz(text: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

/// A BGZF block: a gzip member with its own size in the extra field `BC`.
fn bgzf_block(text: &[u8]) -> Vec<u8> {
    let extra = |size: u16| [&b"BC\x02\0"[..], &size.to_le_bytes()].concat();
    let block = |size| {
        let mut encoder = flate2::GzBuilder::new().extra(extra(size)).write(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    block(block(0).len() as u16 - 1)
}

fn tar() -> Vec<u8> {
    let mut block = vec![0; 1024];
    block[..4].copy_from_slice(b"x.fa");
    block[257..262].copy_from_slice(b"ustar");
    block
}

fn utf16(text: &str, mark: bool) -> Vec<u8> {
    let mark = if mark { Some(0xFEFF) } else { None };
    mark.into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// What a row expects: records, or a fault with its line (0 for none) and a part of its report.
enum Expect {
    Records(&'static [(&'static str, &'static str)]),
    Fault(Fault, u64, &'static str),
}

use Expect::{Fault as Refuse, Records as Accept};

struct Row(&'static str, Vec<u8>, Expect);

fn row(name: &'static str, bytes: impl AsRef<[u8]>, expect: Expect) -> Row {
    Row(name, bytes.as_ref().to_vec(), expect)
}

fn check(rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for Row(name, bytes, expect) in rows {
        match (read_bytes("input", &bytes), expect) {
            (Ok((records, _)), Accept(expected)) => {
                let expected: Records = expected.iter().map(|(id, seq)| ((*id).into(), (*seq).into())).collect();
                if records != expected {
                    wrong.push(format!("{name}: read {records:?}"));
                }
            }
            (Err(error), Refuse(fault, line, part)) => {
                let json: serde_json::Value = serde_json::from_str(&error.json()).unwrap();
                let report = error.report("test");
                let exact = error.fault() == fault
                    && json["exit"] == u64::from(fault.exit_code())
                    && json["line"].as_u64() == (line > 0).then_some(line)
                    && report.contains(part);
                if !exact || !report.contains("file:") || !report.contains("to do:") {
                    wrong.push(format!("{name}: expected {fault}, line {line}, '{part}' in\n{report}"));
                }
            }
            (Ok((records, _)), Refuse(fault, ..)) => wrong.push(format!("{name}: no {fault} but {records:?}")),
            (Err(error), Accept(_)) => wrong.push(format!("{name}: {}", error.report("test"))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

const ONE: &[(&str, &str)] = &[("a", "ACGT")];
const TWO: &[(&str, &str)] = &[("a", "ACGT"), ("b", "GGTT")];

fn character(line: u64, part: &'static str) -> Expect {
    Refuse(Fault::InputCharacter, line, part)
}

#[test]
fn every_character_is_told_with_the_cause_it_most_likely_has() {
    let in_fasta = [
        ("        1 gatcctccat atacaacggt", "GenBank and EMBL"),
        ("1 ACGT", "GenBank and EMBL"),
        ("     gatcctccat atacaacggt        60", "GenBank and EMBL"),
        ("atgaccatgattacgccaag 20", "GenBank and EMBL"),
        ("21atgaccatgattacg", "GenBank and EMBL"),
        ("40 40 38 7", "qualities"),
        ("T01230.123", "colour space"),
        ("ACGT60", "remove the numbers"),
        ("ACGT ACGT", "remove the spaces"),
        ("//", "ends a record"),
        ("ACG[A/G]T", "IUPAC code"),
        ("ACG(A/G)T", "IUPAC code"),
        ("# comment", "comment lines"),
        ("; comment", "comment lines"),
        ("ACG;T", "correct the line"),
        ("ACGT?", "write N"),
        ("ACGTI", "inosine"),
        ("ACG.T", "--letters mask"),
        ("ACGTE", "proteins only"),
        ("ACG\u{2013}T", "word processor"),
        ("@b", "FASTQ record in a FASTA file"),
        ("ACGT@b", "correct the line"),
    ];
    let rows = |format: fn(&str) -> String, cases: &[(&str, &'static str)]| {
        cases.iter().map(|(line, part)| row("a line", format(line), character(2, part))).collect()
    };
    check(rows(|line| format!(">a\n{line}\nACGT\n"), &in_fasta));
    let in_fastq = [
        ("AC.T", "--letters mask"),
        ("T0123", "colour space"),
        ("IIII", "four lines"),
        ("AC T", "four lines"),
        ("+", "four lines"),
        ("AC>b", "line break seems to be missing"),
    ];
    check(rows(|line| format!("@a\n{line}\n+\nIIII\n"), &in_fastq));
}

/// The start of a spreadsheet: a zip file whose first member has a known name.
fn xlsx() -> Vec<u8> {
    [&b"PK\x03\x04"[..], &[0; 26], b"[Content_Types].xml"].concat()
}

#[test]
fn a_text_without_header_is_told_by_what_it_is() {
    let sheet = |text: &str| row("sheet", text, Refuse(Fault::InputSheet, 1, "ends in .tsv or .csv"));
    let header = |text: &str, part| row("text", text, Refuse(Fault::InputNoHeader, 1, part));
    let kind = |text: &str, part| row("kind", text, Refuse(Fault::InputFormat, 1, part));
    let binary = |bytes: &[u8], part| row("binary", bytes, Refuse(Fault::InputBinary, 1, part));
    check(vec![
        sheet("sample\tfile\ngut\tx.fa\n"),
        sheet("file,Sample\r\nx.fa,gut\r\n"),
        sheet("\"sample\",\"file\"\n"),
        sheet("#sample\tfile\ngut\tx.fa\n"),
        header("sample\nx\n", "put a header"),
        header("ACGTACGTTT\nACGT\n", "put a header before the sequence"),
        header("; a comment\n>a\nACGT\n", "comment lines"),
        header("Hello there!\n>a\nACGT\n", "remove everything before"),
        kind("{\"error\": 404}\n", "JSON"),
        kind("{\\rtf1\\ansi\\deff0\n", "RTF"),
        kind("H\tVN:Z:1.0\nS\t1\tACGT\n", "gfatools gfa2fa"),
        kind("S\tutg1\tACGT\tLN:i:4\n", "gfatools gfa2fa"),
        kind("((a:0.1,b:0.2):0.3,c);\n", "Newick"),
        kind("#!/bin/sh\n", "a script"),
        kind("r1\t100\t0\t99\t+\tchr1\t900\t5\t104\t98\t99\t60\n", "PAF"),
        kind(" 5 42\nturkey AAGCTNGGGC\n", "PHYLIP"),
        kind("r1\t0\tchr1\t100\t60\t4M\t*\t0\t0\tACGT\tIIII\n", "samtools fastq"),
        kind("chr1\t100\t200\tgene\n", "a table"),
        kind("lane1.fq.gz\nlane2.fq.gz\n", "a list of files"),
        kind("# STOCKHOLM 1.0\n", "Stockholm"),
        binary(b"\x89PNG\r\n\x1a\n\0", "an image"),
        binary(b"\xff\xd8\xff\xe0\0\x10JFIF", "an image"),
        binary(b"\x89HDF\r\n\x1a\n\0", "HDF5"),
        binary(b"NCBI.sra\0\0", "fasterq-dump"),
        binary(b"\x8bPOD\r\n\x1a\n\0", "POD5"),
        binary(b"PAR1\x15\x04\x15", "Parquet"),
        binary(b"BCF\x02\x02", "BCF"),
        binary(b"ABIF\0e", "Sanger"),
        binary(b".scf\0\0", "Sanger"),
        binary(b".sff\0\0", "SFF"),
        binary(b"SQLite format 3\0", "SQLite"),
        row("XLS", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", Refuse(Fault::InputBinary, 0, "an Office document")),
        row("XLSX", xlsx(), Refuse(Fault::InputBinary, 0, "an Office document")),
        binary(b"\x43\x27\x41\x1a\0\0\0\0", "twoBitToFa"),
    ]);
}

#[test]
fn fasta_text() {
    check(vec![
        row("F01 empty file", "", Refuse(Fault::InputEmpty, 0, "no sequences")),
        row("F02 blank lines", "\n\n \t\r\n", Refuse(Fault::InputEmpty, 0, "no sequences")),
        row("F02 comments", "# nothing\n; here\n\n", Refuse(Fault::InputEmpty, 0, "no sequences")),
        row("F02 blank lines, many", "\n".repeat(1 << 20), Refuse(Fault::InputEmpty, 0, "no sequences")),
        row("F02 blank lines, then a record", "\n \r\n\n>a\nACGT\n", Accept(ONE)),
        row("F03 no header", "ACGT\n>a\nACGT\n", Refuse(Fault::InputNoHeader, 1, "0x41 'A'")),
        row("F03 comment first", "\n;x\n>a\nACGT\n", Refuse(Fault::InputNoHeader, 2, "0x3B ';'")),
        row("F03 blank before the header", "\n\n >a\nACGT\n", Refuse(Fault::InputNoHeader, 3, "0x20 ' '")),
        row("F04 empty id", ">a\nACGT\n>\nACGT\n", Refuse(Fault::InputNoId, 3, "after '>'")),
        row("F04 blank id", ">a\nACGT\n> \t \nACGT\n", Refuse(Fault::InputNoId, 3, "after '>'")),
        row("F04 blank before the id", "> a b\nACGT\n", Accept(ONE)),
        row("F05 empty record in the middle", ">a\n>b\nGGTT\n", Accept(&[("a", ""), ("b", "GGTT")])),
        row("F05 empty record of blank lines", ">a\n\n \n>b\nGGTT\n", Accept(&[("a", ""), ("b", "GGTT")])),
        row("F06 empty record at the end", ">a\nACGT\n>b\n", Accept(&[("a", "ACGT"), ("b", "")])),
        row("F06 cut in the last header", ">a\nACGT\n>b", Refuse(Fault::InputTruncated, 3, "probably truncated")),
        row("F06 one header, cut", ">a b", Refuse(Fault::InputTruncated, 1, "probably truncated")),
        row("F07 duplicate ids", ">x\nA\n>x 1\nC\n>x\nG\n", Accept(&[("x", "A"), ("x__2", "C"), ("x__3", "G")])),
        row(
            "F07 renamed before a real one",
            ">x\nA\n>x\nC\n>x__2\nG\n",
            Refuse(Fault::InputDuplicateId, 5, "line 3, was renamed to it"),
        ),
        row(
            "F07 renamed after a real one",
            ">x__2\nA\n>x\nC\n>x\nG\n",
            Accept(&[("x__2", "A"), ("x", "C"), ("x__3", "G")]),
        ),
        row("F08 an id like a window's", ">x\nA\n>x_chunk_1F1\nC\n", Accept(&[("x", "A"), ("x_chunk_1F1", "C")])),
        row("F09 CRLF", ">a b\r\nAC\r\n\r\nGT\r\n>b\r\nGGTT\r\n", Accept(TWO)),
        row("F09 CRLF and LF mixed, CR CR LF", ">a\r\nAC\nGT\r\r\n>b\nGGTT", Accept(TWO)),
        row("F10 CR alone", ">a\rACGT\r>b\rGGTT\r", Refuse(Fault::InputCarriageReturn, 1, "tr '\\r' '\\n'")),
        row("F10 CR alone in a sequence", ">a\nAC\rGT\n", Refuse(Fault::InputCarriageReturn, 2, "0x0D")),
        row(
            "F10 CR alone, a long file",
            format!(">a\r{}", "ACGT\r".repeat(50_000)),
            Refuse(Fault::InputCarriageReturn, 1, "0x0D"),
        ),
        row("F11 byte order mark", "\u{FEFF}>a\nACGT\n", Accept(ONE)),
        row("F11 two byte order marks", "\u{FEFF}\u{FEFF}>a\nACGT\n", Refuse(Fault::InputNoHeader, 1, "0xEF")),
        row("F12 UTF-16 with mark", utf16(">a\nACGT\n", true), Refuse(Fault::InputEncoding, 1, "UTF-16")),
        row("F12 UTF-16 without mark", utf16(">a\nACGT\n", false), Refuse(Fault::InputEncoding, 1, "UTF-16")),
        row(
            "F13 F14 F15 F16 letters kept as they are",
            ">a\nacgtNRYKMSWBDHVUX-nrykmswbdhvux\n",
            Accept(&[("a", "acgtNRYKMSWBDHVUX-nrykmswbdhvux")]),
        ),
        row("F16 dots", ">a\nAC\nG..T\n", Refuse(Fault::InputCharacter, 3, "0x2E '.' at column 2")),
        row("F16 star", ">a\nACGT*\n", Refuse(Fault::InputCharacter, 2, "alignment or a translation")),
        row("F17 space", ">a\nAC\nAC GT\n", Refuse(Fault::InputCharacter, 3, "0x20 ' ' at column 3")),
        row("F17 tab", ">a\nAC\tGT\n", Refuse(Fault::InputCharacter, 2, "0x09 at column 3")),
        row("F17 leading blank", ">a\n ACGT\n", Refuse(Fault::InputCharacter, 2, "0x20 ' ' at column 1")),
        row("F17 trailing blanks", ">a\nAC \t\nGT  \n>b\t \nGGTT ", Accept(TWO)),
        row("F17 digits", ">a\n1 ACGT\n", Refuse(Fault::InputCharacter, 2, "as in GenBank")),
        row(
            "F18 header on a sequence line",
            ">a\nACGT\nAC>b\nGG\n",
            Refuse(Fault::InputCharacter, 3, "0x3E '>' at column 3"),
        ),
        row("F19 NUL", ">a\nAC\0GT\n", Refuse(Fault::InputBinary, 2, "0x00")),
        row("F19 control byte", ">a\nACGT\n\x1b[31m\n", Refuse(Fault::InputBinary, 3, "0x1B")),
        row("F19 bytes of no text first", [0xC3u8, 0x28, 0, 1], Refuse(Fault::InputNoHeader, 1, "0xC3")),
        row("F19 NUL first", [0u8, 1, 2], Refuse(Fault::InputBinary, 1, "0x00")),
        row("F19 non-ASCII letter", ">a\nACG\u{2013}T\n", Refuse(Fault::InputCharacter, 2, "0xE2 at column 4")),
        row("F19 ELF", b"\x7fELF\x02\x01\x01\0", Refuse(Fault::InputBinary, 1, "ELF")),
        row("F19 PDF", "%PDF-1.7\n", Refuse(Fault::InputBinary, 1, "PDF")),
        row(
            "F22 FASTQ after FASTA",
            ">a\nACGT\n@b\nACGT\n+\nIIII\n",
            Refuse(Fault::InputCharacter, 3, "0x40 '@' at column 1"),
        ),
        row(
            "F23 proteins",
            ">p\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE\n",
            Refuse(Fault::InputProtein, 2, "0x4C 'L' at column 4"),
        ),
        row("F23 proteins, lower case, second line", ">p\nMKV\nmslfep\n", Refuse(Fault::InputProtein, 3, "proteins")),
        row(
            "F23 one wrong letter is no protein",
            format!(">a\n{}E\n", "ACGT".repeat(9)),
            Refuse(Fault::InputCharacter, 2, "0x45 'E' at column 37"),
        ),
        row("F23 X is an unknown base", ">a\nACGXACGT\n", Accept(&[("a", "ACGXACGT")])),
        row("F23 DNA masked with X", format!(">a\nACG{}\nACGL\n", "X".repeat(90)), character(3, "0x4C 'L'")),
        row("F23 inosine is no protein", ">a\nACGIIIIIII\nIII\n", character(2, "inosine")),
        row(
            "F23 one odd line is no protein",
            format!(">a\nACGTACGT\nEFILPQEFILPQ\n{}", "ACGTACGTAC\n".repeat(9)),
            character(3, "0x45 'E' at column 1"),
        ),
        row(
            "F23 one odd first line is no protein",
            format!(">a\nEFILPQEFILPQ\n{}", "ACGTACGTAC\n".repeat(9)),
            character(2, "0x45 'E' at column 1"),
        ),
        row("F23 short proteins", ">p\nMKL\n>q\nMET\n>r\nPS\n", Refuse(Fault::InputProtein, 2, "0x4C 'L' at column 3")),
        row("F24 GenBank", "LOCUS       NC_1  5 bp\n", Refuse(Fault::InputFormat, 1, "GenBank")),
        row("F24 EMBL", "ID   X; SV 1;\n", Refuse(Fault::InputFormat, 1, "EMBL")),
        row("F24 GFF", "##gff-version 3\n", Refuse(Fault::InputFormat, 1, "GFF")),
        row("F24 SAM", "@HD\tVN:1.6\n@SQ\tSN:x\tLN:5\n", Refuse(Fault::InputFormat, 1, "SAM")),
        row("F24 web page", "\n<!doctype html>\n<html>", Refuse(Fault::InputFormat, 2, "web page")),
        row(
            "F24 Git-LFS pointer",
            "version https://git-lfs.github.com/spec/v1\n",
            Refuse(Fault::InputFormat, 1, "git lfs pull"),
        ),
        row("F26 F27 description and tab", ">a\tx y\nACGT\n>b  z\nGGTT\n", Accept(TWO)),
        row(
            "F28 ids of shell and path characters",
            ">../../etc/$(x)\nA\n>-rf\nC\n>~`x`\nG\n",
            Accept(&[("../../etc/$(x)", "A"), ("-rf", "C"), ("~`x`", "G")]),
        ),
        row(
            "F29 ids of other bytes",
            b">a\xff\nA\n>b\x1b[0m\nC\n>\xe2\x80\xaec\nG\n",
            Accept(&[("a\\xFF", "A"), ("b\\u{1b}[0m", "C"), ("\\u{202e}c", "G")]),
        ),
        row(
            "F30 long id",
            format!(">{}\nACGT\n", "x".repeat((64 << 10) + 1)),
            Refuse(Fault::InputIdTooLong, 1, "65536 bytes"),
        ),
        row(
            "F30 very long header line",
            format!(">{}\nACGT\n", "x".repeat(20 << 20)),
            Refuse(Fault::InputIdTooLong, 1, "65536 bytes"),
        ),
        row("F30 long description", format!(">a {}\nACGT\n", "x ".repeat(1 << 20)), Accept(ONE)),
        row("F31 short records", ">a\nA\n>b\nAC\n", Accept(&[("a", "A"), ("b", "AC")])),
        row("F44 no line end at the end", ">a\nACGT\n>b\nGGTT", Accept(TWO)),
    ]);
}

#[test]
fn fastq_text() {
    check(vec![
        row("F21 FASTQ", "@a x\nACGT\n+\nIIII\n@b\nGGTT\n+b\n!~!~\n", Accept(TWO)),
        row("F21 CRLF, no line end at the end", "@a x\r\nACGT\r\n+\r\nIIII\r\n@b\r\nGGTT\r\n+\r\nIIII", Accept(TWO)),
        row("F21 blank lines around", "\n\n@a\nACGT\n+\n@III\n\n\n\n\n\n\n", Accept(ONE)),
        row("F21 empty sequence", "@a\n\n+\n\n@b\nGGTT\n+\nIIII\n", Accept(&[("a", ""), ("b", "GGTT")])),
        row("F21 blank lines between records", "@a\nACGT\n+\nIIII\n\n \r\n@b\nGGTT\n+\nIIII\n", Accept(TWO)),
        row(
            "F21 lines are counted with the blank ones",
            "@a\nACGT\n+\nIIII\n\n\n@b\nGGTT\n+\nIII\n",
            Refuse(Fault::InputFastq, 10, "not as long"),
        ),
        row("FASTA after FASTQ", "@a\nACGT\n+\nIIII\n>b\nGGTT\n", Refuse(Fault::InputFastq, 5, "do not mix")),
        row(
            "four lines of FASTA after FASTQ",
            "\n@a\nACGT\n+\nIIII\n>b\nGGTT\n+\nGGTT\n",
            Refuse(Fault::InputFastq, 6, "'@'"),
        ),
        row("quality too short", "@a\nACGT\n+\nIIII\n@b\nACGT\n+\nIII\n", Refuse(Fault::InputFastq, 8, "not as long")),
        row("quality too long", "@a\nACGT\n+\nIIIII\n", Refuse(Fault::InputFastq, 4, "record:")),
        row(
            "sequence over two lines",
            "@a\nACGT\nACGT\n+\nIIII\nIIII\n",
            Refuse(Fault::InputFastq, 3, "seqkit seq -w 0"),
        ),
        row("no separator", "@a\nACGT\n!III\n@b\nACGT\n+\nIIII\n", Refuse(Fault::InputFastq, 3, "four lines")),
        row(
            "blank line after the header",
            "@a\n\nACGT\n+\nIIII\n",
            Refuse(Fault::InputFastq, 2, "a blank line stands between the header and the sequence"),
        ),
        row(
            "blank line before the qualities",
            "@a\nACGT\n+\n\nIIII\n",
            Refuse(Fault::InputFastq, 4, "a blank line stands before the quality values"),
        ),
        row("no qualities", "@a\nACGT\n+\n\n@b\nACGT\n+\nIIII\n", Refuse(Fault::InputFastq, 4, "not as long")),
        row(
            "wrapped qualities",
            "@a\nACGTACGTAC\n+\nIIII\n@III\nII\n@b\nACGT\n+\nIIII\n",
            Refuse(Fault::InputFastq, 4, "stand on several lines"),
        ),
        row("wrapped qualities, last", "@a\nACGTA\n+\nIII\r\nII\n", Refuse(Fault::InputFastq, 4, "several lines")),
        row("numeric qualities", "@a\nACGT\n+\n40 40 38 2\n", Refuse(Fault::InputFastq, 4, "these are numbers")),
        row("blank line for a separator", "@a\nACGT\n\n+\nIIII\n", Refuse(Fault::InputFastq, 3, "a blank line")),
        row("cut after the header", "@a\nACGT\n+\nIIII\n@b\n", Refuse(Fault::InputTruncated, 6, "truncated")),
        row("cut in the sequence", "@a\nACGT\n+\nIIII\n@b\nAC", Refuse(Fault::InputTruncated, 7, "truncated")),
        row("cut in the quality", "@a\nACGT\n+\nII", Refuse(Fault::InputFastq, 4, "truncated")),
        row(
            "a quality line missing",
            "@a\nACGT\n+\n@b\nACGT\n+\nIIII\n@c\nAC\n+\nII\n",
            Refuse(Fault::InputFastq, 4, "not as long"),
        ),
        row(
            "wrong letter",
            "@a\nACGT\n+\nIIII\n@b\nAC!T\n+\nIIII\n",
            Refuse(Fault::InputCharacter, 6, "0x21 '!' at column 3"),
        ),
        row("a sequence line missing", "@a\n+\nIIII\n", Refuse(Fault::InputCharacter, 2, "four lines")),
        row("wrong quality", "@a\nACGT\n+\nI II\n", Refuse(Fault::InputFastq, 4, "0x20 ' ' at column 2")),
        row("no id", "@ \nACGT\n+\nIIII\n", Refuse(Fault::InputNoId, 1, "after '@'")),
        row("CR alone", "@a\rACGT\r+\rIIII\r", Refuse(Fault::InputCarriageReturn, 1, "0x0D")),
        row("duplicate ids", "@x 1:N\nA\n+\nI\n@x 2:N\nC\n+\nI\n", Accept(&[("x", "A"), ("x__2", "C")])),
    ]);
}

#[test]
fn compressed_input() {
    let text = b">a\nACGT\n>b\nGGTT\n";
    let halves = |pack: fn(&[u8]) -> Vec<u8>| [pack(b">a\nAC"), pack(b"GT\n>b\nGGTT\n")].concat();
    let bgzf = |parts: &[&[u8]]| parts.iter().flat_map(|part| bgzf_block(part)).collect::<Vec<u8>>();
    let refused = |name: &'static str| Refuse(Fault::InputCompression, 0, name);
    let corrupt = |part: &'static str| Refuse(Fault::InputCompressedCorrupt, 0, part);
    let mut flipped = gzip(text);
    let crc = flipped.len() - 8;
    flipped[crc] ^= 1;
    let skippable = [&[0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd(text)].concat();
    check(vec![
        row("F20 gzip", gzip(text), Accept(TWO)),
        row("F20 bzip2", bzip2(text), Accept(TWO)),
        row("F20 xz", xz(text), Accept(TWO)),
        row("F20 zstd", zstd(text), Accept(TWO)),
        row("F20 zstd with a skippable frame", skippable, Accept(TWO)),
        row("F20 FASTQ in gzip", gzip(b"@a\nACGT\n+\nIIII\n"), Accept(ONE)),
        row("F20 zip", b"PK\x03\x04\x14\0", refused("is a zip file")),
        row("F20 tar", tar(), refused("tar")),
        row("F20 .Z", b"\x1f\x9d\x90", refused(".Z")),
        row("F20 lz4", b"\x04\x22\x4d\x18\x64", refused("is an lz4 file")),
        row("F20 7z", b"7z\xbc\xaf\x27\x1c\0\x04", refused("7z")),
        row("F20 tar in gzip", gzip(&tar()), Refuse(Fault::InputCompression, 1, "compressed tar file")),
        row("F20 tar in zstd", zstd(&tar()), Refuse(Fault::InputCompression, 1, "compressed tar file")),
        row("F20 gzip in gzip", gzip(&gzip(text)), Refuse(Fault::InputCompression, 1, "compressed gzip file")),
        row("F20 zip in xz", xz(b"PK\x03\x04"), Refuse(Fault::InputCompression, 1, "compressed zip file")),
        row("F20 BAM", bgzf(&[b"BAM\x01\0\0\0\0", b""]), Refuse(Fault::InputFormat, 1, "BAM")),
        row("F20 web page in gzip", gzip(b"<html>"), Refuse(Fault::InputFormat, 1, "web page")),
        row("F01 empty gzip", gzip(b""), Refuse(Fault::InputEmpty, 0, "no sequences")),
        row("F01 empty xz", xz(b""), Refuse(Fault::InputEmpty, 0, "no sequences")),
        row("F39 gzip of two members", halves(gzip), Accept(TWO)),
        row("F39 bzip2 of two streams", halves(bzip2), Accept(TWO)),
        row("F39 xz of two streams", halves(xz), Accept(TWO)),
        row("F39 zstd of two frames", halves(zstd), Accept(TWO)),
        row("F40 BGZF", bgzf(&[b">a\nAC", b"GT\n>b\nGGTT\n", b""]), Accept(TWO)),
        row("F40 BGZF files joined", bgzf(&[b">a\nACGT\n", b"", b">b\nGGTT\n", b""]), Accept(TWO)),
        row("F40 BGZF without its last block", bgzf(&[b">a\nACGT\n", b">b\nGGTT\n"]), Accept(TWO)),
        row("F41 zero padding", [gzip(text), vec![0; 100_000]].concat(), Accept(TWO)),
        row("F41 data after the end", [gzip(text), b"junk".to_vec()].concat(), corrupt("other data after")),
        row("F41 data after zero padding", [gzip(text), vec![0; 70_000], vec![1]].concat(), corrupt("zero padding")),
        row("F41 data after bzip2", [bzip2(text), b"junk".to_vec()].concat(), corrupt("bzip2")),
        row("F41 data after xz", [xz(text), b"a lot of other data".to_vec()].concat(), corrupt("xz")),
        row("F41 data after zstd", [zstd(text), b"a lot of other data".to_vec()].concat(), corrupt("zstd")),
        row("F42 wrong checksum", flipped, corrupt("gzip")),
    ]);
}

/// Enough text that every decompressor holds some back, from a fixed seed.
fn random_fasta(records: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut text = Vec::new();
    for record in 0..records {
        writeln!(text, ">record_{record} of a test").unwrap();
        for i in 0..130 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text.push(b"ACGT"[(state >> 62) as usize]);
            if i % 60 == 59 {
                text.push(b'\n');
            }
        }
        text.push(b'\n');
    }
    text
}

#[test]
fn a_compressed_stream_cut_at_any_byte_is_never_a_success() {
    let text = random_fasta(12);
    let whole = read_bytes("input", &text).unwrap().0;
    let bgzf: Vec<u8> = text.chunks(700).chain([&b""[..]]).flat_map(bgzf_block).collect();
    let packed =
        [("gzip", gzip(&text)), ("bzip2", bzip2(&text)), ("xz", xz(&text)), ("zstd", zstd(&text)), ("BGZF", bgzf)];
    for (name, bytes) in packed {
        assert_eq!(read_bytes("input", &bytes).unwrap().0, whole, "{name}");
        for cut in 0..bytes.len() {
            let error = match read_bytes("input", &bytes[..cut]) {
                Err(error) => error,
                // Between two blocks, a cut file looks like one of a program that writes no end block.
                Ok((_, summary)) => {
                    assert!(name == "BGZF" && summary.notes.contains(&Note::NoBgzfEnd), "{name} cut at {cut}");
                    read_strict("input", &bytes[..cut]).unwrap_err()
                }
            };
            assert_eq!(error.fault().exit_code(), 65, "{name} cut at {cut}: {}", error.report("test"));
            if cut >= 24 {
                let expected = [Fault::InputCompressedTruncated, Fault::InputBgzfEof, Fault::InputTruncated];
                assert!(expected.contains(&error.fault()), "{name} cut at {cut}: {}", error.report("test"));
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_compressed_stream_is_never_another_result() {
    let text = random_fasta(3);
    let whole = read_bytes("input", &text).unwrap().0;
    for (name, bytes) in [("gzip", gzip(&text)), ("bzip2", bzip2(&text)), ("xz", xz(&text))] {
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok((records, _)) = read_bytes("input", &damaged) {
                assert_eq!(records, whole, "{name}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_plain_text_cut_at_any_byte_gives_the_records_before_the_cut_or_an_error() {
    let text = random_fasta(3);
    let whole = read_bytes("input", &text).unwrap().0;
    for cut in 0..text.len() {
        if let Ok((records, summary)) = read_bytes("input", &text[..cut]) {
            let complete = records.len() - 1;
            assert_eq!(records[..complete], whole[..complete]);
            assert!(whole[complete].1.starts_with(&records[complete].1));
            assert_eq!(summary.notes.contains(&Note::NoFinalNewline), text[cut - 1] != b'\n');
        }
    }
}

#[test]
fn the_records_before_a_fault_are_still_given() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("input.fa");
    fs::write(&path, ">a\nACGT\n>b\nGGTT\n>c\nAC.GT\n>d\nA\n").unwrap();
    let mut names = Names::new(Duplicates::Rename);
    let mut reader = Reader::open(&path.into(), Alphabet::Nucleotide, Limits::default()).unwrap();
    assert_eq!(reader.next(&mut names).unwrap().unwrap().line, 1);
    assert_eq!(reader.next(&mut names).unwrap().unwrap().bases(), b"GGTT");
    let error = reader.next(&mut names).unwrap().unwrap_err();
    assert!(error.report("test").contains("record:   c"), "{}", error.report("test"));
    assert!(reader.next(&mut names).is_none() && reader.summary().is_none());
}

#[test]
fn a_duplicate_is_an_error_that_names_both_lines_when_asked_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("input.fa");
    fs::write(&path, ">a\nAC\nGT\n>b\nA\n>a\nC\n").unwrap();
    let error = read(&path.as_path().into(), Duplicates::Error, Limits::default()).unwrap_err();
    let report = error.report("test");
    assert_eq!(error.fault(), Fault::InputDuplicateId);
    assert!(report.contains("input.fa, line 6") && report.contains("line 1\n"), "{report}");
}

#[test]
fn names_are_unique_over_several_inputs() {
    let folder = TempDir::new().unwrap();
    let mut names = Names::new(Duplicates::Rename);
    let mut ids = Vec::new();
    for name in ["1.fa", "2.fa"] {
        let path = folder.path().join(name);
        fs::write(&path, ">a\nAC\n>b\nGT\n").unwrap();
        let mut reader = Reader::open(&path.into(), Alphabet::Nucleotide, Limits::default()).unwrap();
        while let Some(record) = reader.next(&mut names) {
            let record = record.unwrap();
            ids.push((record.ordinal, record.id.to_owned(), record.original_id.to_owned()));
        }
    }
    let row = |ordinal, id: &str, own: &str| (ordinal, id.to_owned(), own.to_owned());
    assert_eq!(ids, [row(1, "a", "a"), row(2, "b", "b"), row(3, "a__2", "a"), row(4, "b__2", "b")]);
    assert_eq!((names.records(), names.renamed()), (4, 2));
}

#[test]
fn lines_are_counted_to_the_record_and_the_character() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("input.fa");
    let long = "ACGTACGTAC\r\n".repeat(30_000);
    fs::write(&path, format!("\n>a\n{long}\n>b\n{long}>c\nAC\nA#C\n")).unwrap();
    let mut names = Names::new(Duplicates::Rename);
    let mut reader = Reader::open(&path.into(), Alphabet::Nucleotide, Limits::default()).unwrap();
    for line in [2, 30_004] {
        let record = reader.next(&mut names).unwrap().unwrap();
        assert_eq!((record.line, record.bases().len()), (line, 300_000));
    }
    let error = reader.next(&mut names).unwrap().unwrap_err();
    assert!(error.report("test").contains("line 60007\n"), "{}", error.report("test"));
}

#[test]
fn f33_f43_a_record_beyond_the_limit_is_refused_before_it_is_held() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bomb.fa.gz");
    let bomb = [&b">a\n"[..], &vec![b'A'; 50_000_000]].concat();
    fs::write(&path, gzip(&bomb)).unwrap();
    let limits = Limits { record_bases: 1_000_000, ..Limits::default() };
    let error = read(&path.as_path().into(), Duplicates::Rename, limits).unwrap_err();
    assert_eq!(error.fault(), Fault::TooLong);
    assert_eq!(read_file(&path).unwrap().0[0].1.len(), 50_000_000);
}

#[test]
fn f45_content_decides_and_a_misleading_name_is_noted() {
    let text = b">a\nACGT\n";
    let note = |name: &str, bytes: &[u8]| read_bytes(name, bytes).unwrap().1.notes;
    assert_eq!(note("x.fa.gz", text), [Note::NameMismatch { content: Compression::Plain }]);
    assert_eq!(note("x.fa", &zstd(text)), [Note::NameMismatch { content: Compression::Zstd }]);
    assert_eq!(note("x.fa.gz", &gzip(text)), []);
    assert_eq!(note("x", &gzip(text)), []);
}

#[test]
fn f11_f25_f44_peculiarities_are_noted() {
    let notes = |text: &str| read_bytes("x.fa", text.as_bytes()).unwrap().1.notes;
    assert_eq!(notes("\u{FEFF}>a\nA\n"), [Note::ByteOrderMark]);
    assert_eq!(
        notes(">a\nA\n>b title ACGTACGTACGTACGTACGT\nA\n>c acgtacgtacgtacgtacgtn\nA\n"),
        [Note::SequenceInHeader { line: 3 }]
    );
    assert_eq!(notes(">a\nA"), [Note::NoFinalNewline]);
    assert_eq!(notes(">ACGTACGTACGTACGTACGTACGT\nA\n"), []);
    assert_eq!(notes("@a 1\nA\n+a 1\nI\n@b\nA\n+ b \nI\n@c\nA\n+\nI\n"), []);
    assert_eq!(notes("@a\nA\n+\nI\n@b\nA\n+a\nI\n@c\nA\n+a\nI\n"), [Note::SeparatorName { line: 7 }]);
}

/// A BGZF file with text and without its last block.
fn unended() -> Vec<u8> {
    [bgzf_block(b">a\nAC"), bgzf_block(b"GT\n")].concat()
}

#[test]
fn f40_a_bgzf_part_without_its_last_block_is_noted_wherever_it_is() {
    let rest = b">b\nGGTT\n";
    let notes = |bytes: &[u8]| read_bytes("input", bytes).unwrap().1.notes;
    for bytes in [
        unended(),
        [unended(), vec![0; 9]].concat(),
        [unended(), gzip(rest)].concat(),
        [unended(), gzip(rest), bgzf_block(rest)].concat(),
        [gzip(rest), unended()].concat(),
    ] {
        assert_eq!(notes(&bytes), [Note::NoBgzfEnd]);
    }
    let ended = [unended(), bgzf_block(b"")].concat();
    for bytes in [ended.clone(), [ended.clone(), gzip(rest)].concat(), [gzip(rest), ended].concat()] {
        assert_eq!(notes(&bytes), []);
    }
}

#[test]
fn a_strict_reader_refuses_every_sign_of_damage() {
    let text = b">a\nACGT\n";
    for (name, bytes, fault, line) in [
        ("input", unended(), Fault::InputBgzfEof, None),
        ("input", b">a\nACGT".to_vec(), Fault::InputTruncated, None),
        ("x.fa.gz", text.to_vec(), Fault::InputCompression, None),
        ("x.fa", gzip(text), Fault::InputCompression, None),
        ("input", b">a\nA\n>b x ACGTACGTACGTACGTACGT\nA\n".to_vec(), Fault::InputFormat, Some(3)),
        ("input", b"@r1 x\nACGT\n+r2 x\nIIII\n".to_vec(), Fault::InputFastq, Some(3)),
    ] {
        assert!(!read_bytes(name, &bytes).unwrap().1.notes.is_empty());
        let error = read_strict(name, &bytes).unwrap_err();
        let json: serde_json::Value = serde_json::from_str(&error.json()).unwrap();
        assert_eq!((error.fault(), json["line"].as_u64()), (fault, line), "{}", error.report("test"));
        assert!(error.report("test").contains("--strict-input"), "{}", error.report("test"));
    }
    // A byte order mark harms nobody.
    assert_eq!(read_strict("x.fa", "\u{FEFF}>a\nACGT\n".as_bytes()).unwrap().1.notes, [Note::ByteOrderMark]);
    assert!(read_strict("x.fa.gz", &gzip(text)).is_ok());
}

#[test]
fn u_is_read_as_t_and_kept_as_it_stands_where_that_is_asked_for() {
    let text = b">a\nAUGuuC\nacguX\n>b\nUUU\n";
    let read = |policy| {
        let (records, summary) = read_as(policy, "x.fa", text).unwrap();
        (records.into_iter().map(|(_, bases)| bases).collect::<Vec<_>>(), summary.uracil)
    };
    assert_eq!(read(InputPolicy::default()), (vec!["ATGttCacgtX".to_owned(), "TTT".to_owned()], 7));
    assert_eq!(read(InputPolicy::AS_IT_STANDS), (vec!["AUGuuCacguX".to_owned(), "UUU".to_owned()], 7));
    let fastq = read_as(InputPolicy::default(), "x.fq", b"@a\nAUG\n+\nUUU\n").unwrap();
    assert_eq!((fastq.0[0].1.as_str(), fastq.1.uracil), ("ATG", 1));
}

#[test]
fn unknown_letters_are_read_as_n_where_that_is_asked_for() {
    let policy = InputPolicy { letters: UnknownLetters::Mask, ..InputPolicy::default() };
    let mask = |text: &str| read_as(policy, "input", text.as_bytes());
    let dna = "ACGTTGCAAC".repeat(8);
    let (records, summary) = mask(&format!(">a\n{dna}\nACGE\nacgi*.\n>b\nAC?~LFQ\n")).unwrap();
    assert_eq!(records[0].1, format!("{dna}ACGNacgnNN"));
    assert_eq!((records[1].1.as_str(), summary.masked), ("ACNNNNN", Masked { letters: 9, line: 3 }));
    assert_eq!(mask(&format!(">a\n{dna}X-RN\n")).unwrap().1.masked, Masked::default());
    let (records, _) = read_as(policy, "input", b"@a\nAC.T\n+\nIIII\n").unwrap();
    assert_eq!(records[0].1, "ACNT");
    for (text, fault) in [
        (">a\nACGT1\n", Fault::InputCharacter),
        (">a\nAC GT\n", Fault::InputCharacter),
        (">a\nACGT>b\n", Fault::InputCharacter),
        (">p\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE\n", Fault::InputProtein),
        (">p\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE", Fault::InputProtein),
    ] {
        let error = mask(text).unwrap_err();
        assert_eq!(error.fault(), fault, "{text}: {}", error.report("test"));
    }
    // One odd line first is no protein, however little is seen of the rest at once.
    assert!(mask(&format!(">a\nEFILPQEFILPQ\n{dna}\n")).is_ok());
    // Evidence that comes late is evidence.
    let late = format!(">a\nMKTAYK*\n{}", ">p\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE\n".repeat(9000));
    let error = mask(&late).unwrap_err();
    assert!(
        error.fault() == Fault::InputProtein && error.report("test").contains("line 2"),
        "{}",
        error.report("test")
    );
}

#[test]
fn the_other_kind_of_sequences_is_told_by_name_and_content() {
    let folder = TempDir::new().unwrap();
    let open = |alphabet, name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let opened = Reader::open(&path.as_path().into(), alphabet, Limits::default());
        let read = opened.and_then(|reader| records(reader, Names::new(Duplicates::Rename)).map(drop));
        fs::remove_file(path).unwrap();
        read.map_err(|error| (error.fault(), error.report("test")))
    };
    let protein = |name, text: &str| open(Alphabet::Protein, name, text);
    let nucleotide = |name, text: &str| open(Alphabet::Nucleotide, name, text);
    let dna = format!(">a\n{}\n", "ACGTTNGC-A".repeat(50));
    for (name, text) in [
        ("x.fa", dna.as_str()),
        ("x.faa", &dna),
        ("X.FAA", &dna),
        ("x.faa", &format!("{dna}>p\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE\n")),
        ("x", &dna.to_lowercase().replace('t', "u")),
        ("x.fna", ">a\nACGR\n"),
        ("x.ffn", ">a\nAAA\n"),
    ] {
        let (fault, report) = protein(name, text).unwrap_err();
        assert_eq!(fault, Fault::InputFormat, "{name}");
        assert!(report.contains("embed-esm takes proteins") && report.contains("line 1"), "{report}");
    }
    let (fault, report) = protein("x.faa", &format!(">p\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE\n{dna}")).unwrap_err();
    assert!(fault == Fault::InputFormat && report.contains(", line 3\n"), "{report}");
    assert_eq!(protein("x.fq", "@a\nACGT\n+\nIIII\n").unwrap_err().0, Fault::InputFormat);
    let (poly, pair) = (format!(">a\n{}\n", "A".repeat(200)), format!(">a\n{}\n", "AG".repeat(200)));
    for (name, text) in [
        ("x.fa", poly.as_str()),
        ("x.fa", &pair),
        ("x.faa", &format!(">a\n{}\n", "ACGTTG".repeat(27))), // a tandem repeat may read so
        ("x.fa", ">a\nACGTACGT\n"),
        ("x.fna", ">a\nMKVLE\n"),
        ("x.fa", ">a\n>b\n"),
    ] {
        assert_eq!(protein(name, text), Ok(()), "{name} {text}");
    }
    for (name, text) in [("x.faa", ">a\nMKVAAG\n"), ("x.FAA", &poly), ("x.faa", &pair)] {
        let (fault, report) = nucleotide(name, text).unwrap_err();
        assert_eq!(fault, Fault::InputProtein, "{report}");
    }
    assert_eq!(nucleotide("x.faa", &dna), Ok(()));
    assert_eq!(nucleotide("x.faa", ">a\n>b\n"), Ok(()));
    assert_eq!(nucleotide("x.fna", ">a\nMKVAAG\n"), Ok(()));
}

#[test]
fn the_file_beside_is_named_where_it_holds_what_is_wanted() {
    let folder = TempDir::new().unwrap();
    let dna = format!(">a\n{}\n", "ACGTTNGC-A".repeat(50));
    let protein = ">a\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE\n";
    let report = |alphabet, name: &str, text: &str, beside: (&str, &str)| {
        fs::write(folder.path().join(name), text).unwrap();
        fs::write(folder.path().join(beside.0), beside.1).unwrap();
        let path = folder.path().join(name);
        Reader::open(&path.as_path().into(), alphabet, Limits::default()).map(drop).unwrap_err().report("test")
    };
    let meant = "beside it is probably meant";
    assert!(report(Alphabet::Protein, "x.fna", &dna, ("x.faa", protein)).contains(meant));
    assert!(!report(Alphabet::Protein, "x.fna", &dna, ("x.faa", &dna)).contains(meant));
    assert!(!report(Alphabet::Protein, "x.fna", &dna, ("x.faa", "")).contains(meant));
    assert!(report(Alphabet::Nucleotide, "x.faa", ">a\nMKVAAG\n", ("x.fna", &dna)).contains(meant));
    assert!(!report(Alphabet::Nucleotide, "x.faa", ">a\nMKVAAG\n", ("x.fna", protein)).contains(meant));
    assert!(!report(Alphabet::Nucleotide, "x.faa", ">a\nMKVAAG\n", ("x.fna", ">a\nMKVAAG\n")).contains(meant));
}

/// A file of proteins, read to its end.
fn proteins(bytes: &[u8]) -> Result<(Records, Summary), Error> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.faa");
    fs::write(&path, bytes).unwrap();
    let reader = Reader::open(&path.as_path().into(), Alphabet::Protein, Limits::default())?;
    records(reader, Names::new(Duplicates::Error))
}

#[test]
fn nucleotides_among_proteins_are_found_wherever_they_stand() {
    let random = String::from_utf8(random_fasta(3)).unwrap();
    let many: String = (0..9000).map(|i| format!(">p{i}\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE\n")).collect();
    let long = format!(">a\n{}\n", "ACGTTGCAAC".repeat(40));
    for (text, line) in [
        (format!("{many}{random}"), 18_001),
        (format!("{many}{long}>q\nMKVLE\n"), 18_001),
        (format!("{many}{}", long.replace('T', "U").to_lowercase()), 18_001),
    ] {
        let error = proteins(text.as_bytes()).unwrap_err();
        let json: serde_json::Value = serde_json::from_str(&error.json()).unwrap();
        assert_eq!((error.fault(), json["line"].as_u64()), (Fault::InputFormat, Some(line)), "{json}");
    }
    // Reads that are too short to be told one by one.
    let reads = |count| -> String {
        let sequences = random.lines().filter(|line| !line.starts_with('>'));
        let reads = sequences.flat_map(|line| line.as_bytes().chunks(10)).take(count);
        reads.enumerate().map(|(i, read)| format!(">r{i}\n{}\n", read.escape_ascii())).collect()
    };
    assert_eq!(proteins(reads(6).as_bytes()).unwrap().1.notes, [Note::Nucleotides { line: None }]);
    assert_eq!(proteins(reads(30).as_bytes()).unwrap_err().fault(), Fault::InputFormat);
    let repeat = format!(">q\n{}\n", "ACGTTG".repeat(27));
    assert_eq!(
        proteins(format!("{many}{repeat}").as_bytes()).unwrap().1.notes,
        [Note::Nucleotides { line: Some(18_001) }]
    );
    assert_eq!(proteins(repeat.as_bytes()).unwrap().1.notes, [Note::Nucleotides { line: None }]);
    assert_eq!(proteins(many.as_bytes()).unwrap().1.notes, []);
}

#[test]
fn a_shard_that_its_manifest_lists_is_believed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.faa");
    fs::write(&path, random_fasta(3)).unwrap();
    let source = path.as_path().into();
    let open = |alphabet, held| Reader::open_shard(&source, alphabet, Limits::default(), held);
    let reader = open(Alphabet::Protein, Alphabet::Protein).unwrap();
    assert_eq!(records(reader, Names::new(Duplicates::Error)).unwrap().1.notes, []);
    let error = open(Alphabet::Nucleotide, Alphabet::Protein).err().unwrap();
    assert_eq!(error.fault(), Fault::InputProtein);
    assert_eq!(open(Alphabet::Protein, Alphabet::Nucleotide).err().unwrap().fault(), Fault::InputFormat);
}

#[test]
fn letters_that_are_hardly_bases_never_pass_in_silence() {
    let notes = |text: &str| read_bytes("x.fa", text.as_bytes()).unwrap().1.notes;
    let few = |line, others, letters| [Note::FewBases { line, others, letters }];
    assert_eq!(notes(">sp|P1|X\nMKV\n>b\nMT\n"), few(None, 4, 5));
    assert_eq!(notes(">a\nMK\n"), few(None, 2, 2));
    let dna = "ACGTTGCAAC".repeat(20);
    assert_eq!(notes(&format!(">a\n{dna}\n>b\nMKVAAGTSSHKMVSRWDYHK\n")), few(Some(3), 16, 20));
    for text in [">a\nACGTRYKM\n", ">a\nNNNNXXXX--\n", ">a\n---\n", ">a\n"] {
        assert_eq!(notes(text), [], "{text}");
    }
    assert_eq!(read_strict("x.fa", b">a\nMKV\n").unwrap_err().fault(), Fault::InputProtein);
    let peptides = ">a\nMKVAAGTSSHKMVSRWDYHK\n".repeat(4);
    let error = read_bytes("x.fa", peptides.as_bytes()).unwrap_err();
    assert_eq!(error.fault(), Fault::InputProtein);
    assert!(error.report("test").contains("64 of 80 letters"), "{}", error.report("test"));
}

#[test]
fn a_protein_after_dna_is_told_as_such() {
    let mixed = format!(">d\n{}\n>p b\nMIVLEFPQKKRSIIVLGAGE\nMKVLAAGIV\n>e\nACGT\n", "ACGTTGCAAC".repeat(90));
    let mask = InputPolicy { letters: UnknownLetters::Mask, ..InputPolicy::default() };
    for policy in [InputPolicy::default(), mask] {
        let error = read_as(policy, "x.fa", mixed.as_bytes()).unwrap_err();
        let report = error.report("test");
        assert_eq!(error.fault(), Fault::InputProtein, "{report}");
        assert!(report.contains("a protein among nucleotides") && report.contains("record:   p"), "{report}");
        assert!(report.contains("line 4"), "{report}");
    }
    // Masked letters of a record of DNA stay masked.
    let odd = format!(">d\n{0}\n>e\nEFILPQ\n>f\n{0}EFLPQ\n", "ACGTTGCAAC".repeat(9));
    assert_eq!(read_as(mask, "x.fa", odd.as_bytes()).unwrap().1.masked.letters, 11);
}

#[test]
fn advice_names_an_option_only_where_there_is_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("input.fa");
    let report = |text: String| {
        fs::write(&path, text).unwrap();
        let mut reader = Reader::open(&path.as_path().into(), Alphabet::Nucleotide, Limits::default()).unwrap();
        let mut names = Names::new(Duplicates::Error);
        loop {
            if let Err(error) = reader.next(&mut names).unwrap() {
                return error.report("test");
            }
        }
    };
    for letter in [".", "*", "?", "I", "E"] {
        let report = report(format!(">a\nACGT{letter}\n"));
        assert!(!report.contains("--letters") && report.contains("to do:"), "{report}");
    }
    assert!(!report("@a\nAC.T\n+\nIIII\n".to_owned()).contains("--letters"));
    assert!(proteins(b">a\nMKVL?E\n").unwrap_err().report("test").contains("write X for an unknown residue"));
}

#[test]
fn padding_at_the_end_is_named_with_its_line() {
    check(vec![
        row("NUL", ">a\nACGT\n\0\0\0\0", Refuse(Fault::InputBinary, 3, "filled up with NUL bytes")),
        row("NUL within a line", ">a\nACGT\0\0\n", Refuse(Fault::InputBinary, 2, "filled up with NUL bytes")),
        row("NUL in FASTQ", "@a\nACGT\n+\nIIII\n\0\0", Refuse(Fault::InputBinary, 5, "filled up with NUL bytes")),
        row("NUL in a record", "@a\nACGT\n\0\0", Refuse(Fault::InputBinary, 3, "filled up with NUL bytes")),
        row("NUL in gzip", gzip(b">a\nACGT\n\0\0\0"), Refuse(Fault::InputBinary, 3, "filled up with NUL bytes")),
        row("nothing but NUL", [0; 5000], Refuse(Fault::InputBinary, 1, "filled up with NUL bytes")),
        row("Ctrl-Z", ">a\nACGT\r\n\x1A", Refuse(Fault::InputBinary, 3, "end-of-file mark of DOS")),
        row("Ctrl-Z in FASTQ", "@a\nACGT\n+\nIIII\n\x1A\0\0", Refuse(Fault::InputBinary, 5, "mark of DOS")),
        row("NUL before text", ">a\nACGT\n\0\0\n>b\nA\n", Refuse(Fault::InputBinary, 3, "a binary file")),
    ]);
}

#[test]
fn f46_a_pipe_is_read_like_a_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let writer = {
        let path = path.clone();
        std::thread::spawn(move || {
            let mut pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
            for byte in gzip(b">a\nACGT\n>b\nGGTT\n") {
                pipe.write_all(&[byte]).unwrap();
            }
        })
    };
    let (records, summary) = read_file(&path).unwrap();
    writer.join().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(summary.digest, blake3::hash(&gzip(b">a\nACGT\n>b\nGGTT\n")));
}

#[test]
fn f47_an_input_that_cannot_be_opened_is_missing() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", at("loop")).unwrap();
    fs::write(at("file"), ">a\nA\n").unwrap();
    for path in
        [at("absent"), at("dangling"), at("loop"), at("file").join("x"), at(&"x".repeat(300)), folder.path().into()]
    {
        let error = read_file(&path).unwrap_err();
        let report = error.report("test");
        assert_eq!((error.fault(), error.fault().exit_code()), (Fault::InputMissing, 66), "{report}");
        assert!(report.contains("cause:") && report.contains("to do:"), "{report}");
    }
}

#[test]
fn f48_an_input_that_changes_while_it_is_read_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("input.fa");
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("grown", |path| fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b">c\nA\n").unwrap()),
        ("replaced", |path| {
            fs::write(path.with_extension("new"), ">a\nACGT\n>b\nGGTT\n").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("removed", |path| fs::remove_file(path).unwrap()),
    ];
    for (what, change) in changes {
        fs::write(&path, ">a\nACGT\n>b\nGGTT\n").unwrap();
        let mut names = Names::new(Duplicates::Rename);
        let mut reader = Reader::open(&path.as_path().into(), Alphabet::Nucleotide, Limits::default()).unwrap();
        assert!(reader.next(&mut names).unwrap().is_ok());
        change(&path);
        let error = loop {
            match reader.next(&mut names) {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("{what}"),
            }
        };
        assert_eq!(error.fault(), Fault::InputChanged, "{what}");
    }
}

#[test]
fn protein_sequences_are_read_when_they_are_wanted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.faa");
    fs::write(&path, ">p\nMKVLE*\nxBZ-\n>q\nMK1\n").unwrap();
    let mut names = Names::new(Duplicates::Rename);
    let mut reader = Reader::open(&path.into(), Alphabet::Protein, Limits::default()).unwrap();
    assert_eq!(reader.next(&mut names).unwrap().unwrap().bases(), b"MKVLE*xBZ-");
    assert_eq!(reader.next(&mut names).unwrap().unwrap_err().fault(), Fault::InputCharacter);
}

/// Records of four lines, blank lines before each left out.
fn records_of_fastq(text: &str) -> usize {
    let (mut lines, mut records) = (text.lines(), 0);
    while lines.by_ref().any(|line| !line.trim().is_empty()) {
        records += 1;
        lines.nth(2);
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_bytes("input", &bytes);
    }

    #[test]
    fn no_text_makes_the_reader_panic_or_lose_a_base(text in "[>@]a?( b)?[\r\n>@+ACGTNacgt. \tIE1\u{0}-]{0,60}") {
        if let Ok((records, _)) = read_bytes("input", text.as_bytes()) {
            if text.starts_with('>') {
                let bases: usize = text.lines().filter(|line| !line.starts_with('>')).map(|line| line.trim_end().len()).sum();
                prop_assert_eq!(bases, records.iter().map(|(_, bases)| bases.len()).sum::<usize>());
                prop_assert_eq!(text.lines().filter(|line| line.starts_with('>')).count(), records.len());
            } else {
                prop_assert_eq!(records_of_fastq(&text), records.len());
            }
        }
    }

    #[test]
    fn line_ends_case_and_wrapping_do_not_change_the_records(
        sequences in prop::collection::vec("[ACGTN]{0,200}", 1..6), width in 1usize..80, end in "\r?\n"
    ) {
        let mut text = String::new();
        for (i, sequence) in sequences.iter().enumerate() {
            text += &format!(">r{i} title{end}");
            for line in sequence.as_bytes().chunks(width) {
                text += str::from_utf8(line).unwrap();
                text += &end;
            }
        }
        let expected: Records = sequences.iter().enumerate().map(|(i, seq)| (format!("r{i}"), seq.clone())).collect();
        prop_assert_eq!(&read_bytes("input", text.as_bytes()).unwrap().0, &expected);
        prop_assert_eq!(&read_bytes("input", &zstd(text.as_bytes())).unwrap().0, &expected);
    }
}
