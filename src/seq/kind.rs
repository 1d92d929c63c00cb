//! Nucleotides where proteins are wanted, and the reverse: told by name and content together, or by content alone.

use std::path::Path;

use super::letters::Alphabet;
use super::source::Source;
use super::summary::Format;
use super::tally::Evidence;
use crate::error::{Error, Fault, Result};

/// Refuses a file of the other kind by its name and its first bytes.
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
        // Peptides of few residues are common enough in shards: their name is believed.
        (Alphabet::Protein, None) if evidence.is_dna() => Err(nucleotides(source, "nothing but A, C, G, T, U and N")),
        (Alphabet::Nucleotide, Some(Alphabet::Protein)) if !evidence.is_mostly_dna() => {
            let found = "the name of a protein file, and a content that is not plainly DNA";
            Err(proteins(source).found(found))
        }
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

fn nucleotides(source: &Source, found: &str) -> Error {
    let advice = match beside(source, "faa") {
        Some(name) => format!("embed-esm takes proteins: {name} beside it is probably meant"),
        None => {
            "embed-esm takes proteins, as in the .faa files that chunk writes; embed-dnabert takes nucleotides".into()
        }
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

/// The name of the file of the same stem with another extension, if there is one.
fn beside(source: &Source, extension: &str) -> Option<String> {
    let Source::Path(path) = source else { return None };
    let twin = path.with_extension(extension);
    (twin != *path && twin.is_file()).then(|| twin.display().to_string())
}
