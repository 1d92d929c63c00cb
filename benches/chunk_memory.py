#!/usr/bin/env python3
"""Peak memory and rate of `virnucpro chunk` on a large file: it must not grow with the input.

    python3 benches/chunk_memory.py [--binary target/release/virnucpro] [--folder /tmp] [--gigabytes 2]

Two files are made, measured and removed: half reads of 150 bp, half contigs of 1 to 100 kbp, 2 GB in all; and one
record of 300 Mbp in lines of 60. Bounds: 200 MB for the first, twice its length for the second.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BASES = bytes(b"ACGT"[i % 4] for i in range(256))
LINE = 60


def bases(count):
    return os.urandom(count).translate(BASES)


def wrapped(sequence):
    return b"\n".join(sequence[i : i + LINE] for i in range(0, len(sequence), LINE)) + b"\n"


def reads_and_contigs(path, size):
    source = random.Random(7)
    pool = bases(50_000_000)
    pieces, pending, written, number = [], 0, 0, 0
    with open(path, "wb") as sink:
        while written < size:
            number += 1
            length = 150 if written < size // 2 else int(10 ** source.uniform(3, 5))
            start = source.randrange(len(pool) - length)
            body = pool[start : start + length] + b"\n" if length == 150 else wrapped(pool[start : start + length])
            piece = b">record_%d lane=1\n%s" % (number, body)
            pieces.append(piece)
            pending += len(piece)
            if pending > 1 << 20:
                sink.write(b"".join(pieces))
                written, pieces, pending = written + pending, [], 0
    return number


def one_record(path, length):
    with open(path, "wb") as sink:
        sink.write(b">chromosome\n")
        for _ in range(length // 3_000_000):
            sink.write(wrapped(bases(3_000_000)))


def measure(binary, fasta, folder, bound, what):
    size = fasta.stat().st_size / 1e6
    started = time.perf_counter()
    child = subprocess.Popen([binary, "chunk", fasta, "-o", folder / "windows", "--quiet"])
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    peak = usage.ru_maxrss / 1e3
    verdict = "within" if peak <= bound else "ABOVE"
    print(
        f"{what}: {size:.0f} MB in {seconds:.1f} s ({size / seconds:.0f} MB/s), peak {peak:.0f} MB, {verdict} {bound:.0f} MB"
    )
    return os.waitstatus_to_exitcode(status) == 0 and peak <= bound


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=Path("target/release/virnucpro"))
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    options = parser.parse_args()
    if not options.binary.is_file():
        sys.exit(f"{options.binary} is not there: cargo build --release, or --binary PATH")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    good = True
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        fasta = Path(place) / "many.fa"
        count = reads_and_contigs(fasta, int(options.gigabytes * 1e9))
        good &= measure(options.binary, fasta, Path(place), 200, f"{count} records")
        fasta.unlink()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        fasta = Path(place) / "one.fa"
        one_record(fasta, 300_000_000)
        good &= measure(options.binary, fasta, Path(place), 600, "one record of 300 Mbp")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
