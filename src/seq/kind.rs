//! Nucleotides where proteins are wanted, and the reverse: told by content, and by the name where the content fits both.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::letters::Alphabet;
use super::residues::{Likeness, Residues};
use super::sniff::HEAD;
use super::source::Source;
use super::summary::Format;
use super::tally::Evidence;
use crate::error::{Error, Fault, Result};

/// Refuses a file of the other kind by its first bytes.
pub(super) fn check(head: &[u8], format: Format, alphabet: Alphabet, source: &Source) -> Result<()> {
    let evidence = match format {
        Format::Fasta => Evidence::of_fasta(head),
        Format::Fastq if alphabet == Alphabet::Protein => return Err(nucleotides(source, "reads in FASTQ")),
        Format::Fastq => return Ok(()),
    };
    if evidence.is_empty() {
        return Ok(());
    }
    match (alphabet, promised(source)) {
        (Alphabet::Protein, Some(Alphabet::Nucleotide)) if evidence.is_codes() => {
            Err(nucleotides(source, "the name of a nucleotide file, and nucleotide codes only"))
        }
        (Alphabet::Protein, _) => {
            let residues = Residues::of_fasta(head);
            match residues.likeness() {
                Likeness::Nucleotides => Err(nucleotides(source, &residues.words())),
                Likeness::Unclear | Likeness::Protein => Ok(()),
            }
        }
        (Alphabet::Nucleotide, Some(Alphabet::Protein)) if !evidence.is_mostly_dna() => {
            let found = "the name of a protein file, and letters that are not plainly DNA";
            Err(proteins(source).found(found))
        }
        _ => Ok(()),
    }
}

/// Refuses a shard that its manifest lists as one of the other kind.
pub(super) fn check_shard(held: Alphabet, wanted: Alphabet, source: &Source) -> Result<()> {
    match (held, wanted) {
        (Alphabet::Protein, Alphabet::Nucleotide) => Err(proteins(source).found("a shard of proteins")),
        (Alphabet::Nucleotide, Alphabet::Protein) => Err(nucleotides(source, "a shard of nucleotides")),
        _ => Ok(()),
    }
}

/// An error for proteins where nucleotides are wanted.
pub(super) fn proteins(source: &Source) -> Error {
    let beside = beside(source, "fna").map(|name| format!("; {name} beside it is probably meant"));
    source
        .fault(Fault::InputProtein, format!("{source} holds proteins"))
        .expected("nucleotide sequences")
        .advice(format!("give nucleotides, not their translation{}", beside.unwrap_or_default()))
}

/// An error for a protein among nucleotides.
pub(super) fn protein_record(source: &Source) -> Error {
    source
        .fault(Fault::InputProtein, format!("{source} holds a protein among nucleotides"))
        .expected("nucleotide sequences in every record")
        .advice("take the proteins out of the file")
}

/// An error for an input with hardly any bases, all of its letters nucleotide codes or masked.
pub(super) fn few_bases(source: &Source, others: u64, letters: u64) -> Error {
    proteins(source)
        .found(format!("{others} of {letters} letters that are not A, C, G, T, U, N or X"))
        .advice("give nucleotides, not their translation; if these are nucleotides, write N for codes of several bases")
}

/// An error for nucleotides where proteins are wanted.
pub(super) fn nucleotides(source: &Source, found: &str) -> Error {
    let takes = "embed-esm takes proteins, as in the .faa files that chunk writes; embed-dnabert takes nucleotides";
    let advice = match (beside(source, "faa"), promised(source)) {
        (Some(name), _) => format!("embed-esm takes proteins: {name} beside it is probably meant"),
        (None, Some(Alphabet::Protein)) => {
            format!("{takes}. If chunk wrote this file, keep its manifest.json beside it: then it is believed")
        }
        (None, _) => takes.to_owned(),
    };
    source
        .fault(Fault::InputFormat, format!("{source} holds nucleotides"))
        .expected("protein sequences")
        .found(found)
        .advice(advice)
}

/// What a name promises, compressed or not.
fn promised(source: &Source) -> Option<Alphabet> {
    let Source::Path(path) = source else { return None };
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let packed = ["gz", "bgz", "bgzf", "bz2", "xz", "zst", "zstd"];
    let name = match name.rsplit_once('.') {
        Some((stem, ending)) if packed.contains(&ending) => stem,
        _ => &name,
    };
    match Path::new(name).extension()?.to_str()? {
        "fna" | "ffn" | "frn" => Some(Alphabet::Nucleotide),
        "faa" => Some(Alphabet::Protein),
        _ => None,
    }
}

/// The name of the file of the same stem with another extension, if there is one and it holds what that promises.
fn beside(source: &Source, extension: &str) -> Option<String> {
    let Source::Path(path) = source else { return None };
    let twin = path.with_extension(extension);
    if twin == *path || !twin.is_file() {
        return None;
    }
    let mut head = Vec::new();
    File::open(&twin).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
    let fits = match extension {
        "faa" => Residues::of_fasta(&head).likeness() != Likeness::Nucleotides,
        _ => Evidence::of_fasta(&head).is_like_dna(),
    };
    (fits && head.starts_with(b">")).then(|| twin.display().to_string())
}
