//! Peak memory of the reader; in a process of its own, because the peak is that of the whole process.

use std::fs;
use std::io::Write;

use crate::support::{alone, peak_memory};
use virnucpro::seq::{Alphabet, Limits, Names, Reader};
use virnucpro::units::Duplicates;

#[test]
fn f33_f34_memory_is_that_of_the_longest_record_and_of_the_names() {
    alone("reader_memory::f33_f34_memory_is_that_of_the_longest_record_and_of_the_names", measure);
}

fn measure() {
    const BASES: usize = 100_000_000;
    const READS: usize = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.fa.gz");
    let mut file = flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
    file.write_all(b">chromosome\n").unwrap();
    // The shortest lines cost the most where an index of lines is kept.
    for _ in 0..BASES / 10_000 {
        file.write_all(&b"ACGTACGTAC\n".repeat(1_000)).unwrap();
    }
    for read in 0..READS {
        write!(file, ">read_{read}\n{}\n", "ACGT".repeat(25)).unwrap();
    }
    file.finish().unwrap();

    let before = peak_memory();
    let mut names = Names::new(Duplicates::Rename);
    let mut reader = Reader::open(&path.into(), Alphabet::Nucleotide, Limits::default()).unwrap();
    assert_eq!(reader.next(&mut names).unwrap().unwrap().bases().len(), BASES);
    let record = peak_memory() - before;
    assert!(record < BASES / 2 * 3, "{record} bytes for a record of {BASES} bases");
    while let Some(result) = reader.next(&mut names) {
        result.unwrap();
    }
    assert_eq!(names.records() as usize, READS + 1);
    let reads = peak_memory() - before - record;
    assert!(reads < 100 * READS, "{reads} bytes for {READS} reads");
    println!("{record} bytes for {BASES} bases, {reads} more for {READS} reads");
}
