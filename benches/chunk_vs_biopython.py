#!/usr/bin/env python3
"""Times `virnucpro chunk` against a plain Biopython restatement of the original program's first two steps
(cut into windows, translate six frames, keep open frames) on the same file and the same core, and checks that
both write the same frames.

    python3 -m pip install biopython
    python3 benches/chunk_vs_biopython.py [--fasta FILE] [--megabytes 32] [--rounds 3] [--binary target/release/virnucpro]

Without --fasta a seeded random file of contigs is made: real genomes have far more open frames, and so more output.
Prints seconds, MB/s of input and the ratio of each round, and the median ratio.
"""

import argparse
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WINDOW = 500
CODE = dict(
    zip(
        (a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG"),
        "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
    )
)
COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")


def window_bounds(length, size):
    """Start and end of every window: overlaps spread evenly, see docs/tour.md."""
    count = math.ceil(length / size)
    surplus = count * size - length
    each = surplus // count
    longer = surplus - each * (count - 1)
    overlaps = [each + 1] * longer + [each] * (count - 1 - longer)
    start = 0
    for k in range(count):
        yield start, min(start + size, length)
        if k < count - 1:
            start += size - overlaps[k]


def open_frames(window):
    forward = window.upper()
    for strand, bases in (("F", forward), ("R", forward.translate(COMPLEMENT)[::-1])):
        for offset in range(3):
            protein = "".join(CODE.get(bases[i : i + 3], "") for i in range(offset, len(bases) - 2, 3))
            if protein and "*" not in protein:
                yield f"{strand}{offset + 1}", bases[offset : offset + 3 * len(protein) + 1], protein


def python_chunk(fasta, folder):
    from Bio import SeqIO
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    windows = folder / "windows.fa"
    with open(windows, "w") as sink:
        for record in SeqIO.parse(fasta, "fasta"):
            for k, (start, end) in enumerate(window_bounds(len(record.seq), WINDOW), 1):
                piece = SeqRecord(Seq(str(record.seq[start:end])), id=f"{record.id}_chunk_{k}", description="")
                SeqIO.write(piece, sink, "fasta")
    with open(folder / "nucleotide.fa", "w") as nucleotides, open(folder / "protein.faa", "w") as proteins:
        for record in SeqIO.parse(windows, "fasta"):
            for frame, bases, protein in open_frames(str(record.seq)):
                nucleotides.write(f">{record.id}{frame}\n{bases}\n")
                proteins.write(f">{record.id}{frame}\n{protein}\n")


def random_fasta(path, megabytes):
    source = random.Random(20261121)
    with open(path, "w") as sink:
        for number in range(megabytes * 50):
            bases = "".join(source.choices("ACGT", k=20_000))
            sink.write(f">contig_{number}\n")
            sink.writelines(bases[i : i + 80] + "\n" for i in range(0, len(bases), 80))


def first_megabytes(source, path, megabytes):
    """Whole records of `source` up to the wanted size."""
    written = 0
    with open(source) as lines, open(path, "w") as sink:
        for line in lines:
            if line.startswith(">") and written > megabytes * 1_000_000:
                return
            sink.write(line)
            written += len(line)


def joined(folder, pattern):
    return b"".join(path.read_bytes() for path in sorted(folder.glob(pattern)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fasta", type=Path)
    parser.add_argument("--megabytes", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", type=Path, default=Path("target/release/virnucpro"))
    options = parser.parse_args()
    if not options.binary.is_file():
        sys.exit(f"{options.binary} is not there: cargo build --release, or --binary PATH")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # children inherit it
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        fasta = place / "input.fa"
        if options.fasta:
            first_megabytes(options.fasta, fasta, options.megabytes)
        else:
            random_fasta(fasta, options.megabytes)
        size = fasta.stat().st_size / 1e6
        print(f"input {size:.1f} MB, window {WINDOW}, one core")
        ratios = []
        for round_number in range(1, options.rounds + 1):
            ours, theirs = place / f"ours{round_number}", place / f"theirs{round_number}"
            theirs.mkdir()
            started = time.perf_counter()
            python_chunk(fasta, theirs)
            python_seconds = time.perf_counter() - started
            started = time.perf_counter()
            subprocess.run([options.binary, "chunk", fasta, "-o", ours, "--quiet"], check=True)
            our_seconds = time.perf_counter() - started
            for pattern, name in (("shard-*.fna", "nucleotide.fa"), ("shard-*.faa", "protein.faa")):
                if joined(ours, pattern) != (theirs / name).read_bytes():
                    sys.exit(f"{pattern} and the restatement's {name} differ")
            ratios.append(python_seconds / our_seconds)
            print(
                f"round {round_number}: Biopython {python_seconds:.2f} s ({size / python_seconds:.2f} MB/s), "
                f"virnucpro {our_seconds:.3f} s ({size / our_seconds:.0f} MB/s), ratio {ratios[-1]:.0f}"
            )
        print(f"median ratio {statistics.median(ratios):.0f}; both wrote the same frames")


if __name__ == "__main__":
    main()
