//! Against files that the original program made with the published weights: FASTA byte for byte, and vectors joined
//! by id bit for bit. Skipped, saying so, where those files are absent.

mod pt;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::{Sandbox, mock, shared};
use virnucpro::store::{VectorBlock, VectorReader, VectorWriter};

const DNABERT_DIM: usize = 768;
const ESM_DIM: usize = 2560;

#[test]
fn windows_and_open_frames_are_those_of_the_original() {
    let Some(upstream) = shared("upstream") else { return };
    for case in ["test_fixed_500bp", "test_with_orfs", "test_sequences_small"] {
        let sandbox = Sandbox::new();
        let input = upstream.join(format!("{case}.fa")).display().to_string();
        sandbox.run(&["chunk", &input, "-q", "--legacy", "--window", "500", "-o", "windows"]).ok();
        for (ours, theirs) in [
            ("chunked500.fa", "chunked500.fa"),
            ("identified_nucleotide.fa", "identified_nucleotide.fa"),
            ("identified_protein.faa", "identified_protein.faa"),
        ] {
            let expected = fs::read(upstream.join(format!("{case}_{theirs}"))).unwrap();
            assert!(fs::read(sandbox.path("windows").join(ours)).unwrap() == expected, "{case}: {ours}");
        }
    }
}

#[test]
fn sequences_without_any_open_frame_end_in_a_table_where_the_original_crashed() {
    let Some(upstream) = shared("upstream") else { return };
    for case in ["test_sequences", "test_sequences_small"] {
        let sandbox = Sandbox::new();
        let input = upstream.join(format!("{case}.fa"));
        let records = fs::read_to_string(&input).unwrap().matches('>').count();
        sandbox.run(&["run", &input.display().to_string(), "-q", "--model", &mock(), "-o", "out"]).ok();
        let sequences = sandbox.table("out/predictions/sequences.tsv");
        assert_eq!(sequences.column("verdict"), vec!["no-call"; records], "{case}");
    }
}

/// Writes vectors as an embed stage does, without saying which bundle made them.
fn write(path: &Path, dim: usize, ids: &[String], values: &[f32]) {
    assert_eq!(values.len(), ids.len() * dim, "{}", path.display());
    let mut writer = VectorWriter::create(path, dim).unwrap();
    writer.push(VectorBlock { ids: ids.to_vec(), values: values.to_vec(), proteins: vec![] }).unwrap();
    writer.commit(&BTreeMap::new()).unwrap();
}

#[test]
fn merged_vectors_are_those_of_the_original_bit_for_bit() {
    let Some(upstream) = shared("upstream") else { return };
    let mut reordered = 0;
    for case in ["test_fixed_500bp", "test_with_orfs"] {
        let read = |folder: &str, file: &str| pt::read(&upstream.join(format!("{case}_{folder}/{file}.pt")));
        let dnabert = read("nucleotide", "output_1_DNABERT_S");
        let esm = read("protein", "output_1_ESM");
        let merged = read("merged", "output_1_merged");
        reordered += usize::from(dnabert.ids != esm.ids);
        let sandbox = Sandbox::new();
        write(&sandbox.path("dnabert.parquet"), DNABERT_DIM, &dnabert.ids, &dnabert.values);
        write(&sandbox.path("esm.parquet"), ESM_DIM, &esm.ids, &esm.values);
        sandbox.run(&["merge", "-q", "--dnabert", "dnabert.parquet", "--esm", "esm.parquet", "-o", "merged"]).ok();
        let reader = VectorReader::open(&sandbox.path("merged/dnabert.parquet")).unwrap();
        assert_eq!(reader.dim(), DNABERT_DIM + ESM_DIM);
        let blocks: Vec<VectorBlock> = reader.into_blocks(1000).map(Result::unwrap).collect();
        let [block] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
        assert_eq!((&block.ids, &block.ids), (&merged.ids, &dnabert.ids), "{case}");
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert!(bits(&block.values) == bits(&merged.values), "{case}: values differ");
    }
    assert!(reordered > 0, "no case has its proteins in another order");
}
