#!/usr/bin/env python3
"""What `merge` and `predict` read from their inputs, and how long they take.

    python3 benches/merge_predict.py [--binary target/release/virnucpro] [--against OLD] [--folder /tmp] [--frames 200000]

Frames of width 768 + 2560 = 3328 are made by `chunk` and both embed stages with a mock bundle of these widths, which
needs no weights. Then each binary merges and predicts in turn, three times. Bytes read are those that the system counts
for the process (`rchar` of /proc/self/io, which the page cache does not hide); the bound is 1.1 times the inputs of
each stage.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
BOUND = 1.1
BUNDLE = """\
format: 1
name: wide-mock
version: '1'
trained: false
licence: MIT
source: no weights, for benchmarks
window: 500
dnabert: {family: mock, dim: 768, layer: 1, pooling: all-tokens}
esm: {family: mock, dim: 2560, layer: 1, pooling: first-1024-residues}
head: {family: mock, dim: 3328}
files: {}
"""


def read_so_far():
    """Bytes read by this process and by the children that it has waited for."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    sys.exit("/proc/self/io has no rchar")


def size(*folders):
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.name != "manifest.json")


def run(*command):
    before, started = read_so_far(), time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return read_so_far() - before, time.perf_counter() - started


def write_input(path, frames):
    """Windows of 500 bases without T: no stop codon in any of their six frames."""
    source = random.Random(5)
    records = -(-frames // 6)
    with open(path, "w") as sink:
        for number in range(records):
            sink.write(f">r{number}\n{''.join(source.choices('ACG', k=500))}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/virnucpro", type=Path)
    parser.add_argument("--against", type=Path, help="another build, run in turn with the first")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--frames", default=200_000, type=int)
    options = parser.parse_args()
    builds = {"this": options.binary.resolve()}
    if options.against:
        builds["other"] = options.against.resolve()
    failed = False
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        place = Path(place)
        bundle = place / "bundle"
        bundle.mkdir()
        (bundle / "bundle.yaml").write_text(BUNDLE)
        write_input(place / "in.fa", options.frames)
        binary, quiet = builds["this"], ["-q", "--model", bundle]
        run(binary, "chunk", place / "in.fa", "-q", "-o", place / "windows")
        run(binary, "embed-dnabert", place / "windows", *quiet, "-o", place / "dnabert")
        run(binary, "embed-esm", place / "windows", *quiet, "-o", place / "esm")
        inputs = {
            "merge": size(place / "dnabert", place / "esm"),
            "predict": size(place / "dnabert", place / "esm")
            + sum((place / "windows" / table).stat().st_size for table in ("windows.tsv", "inputs.tsv")),
        }
        print(f"inputs of merge {inputs['merge'] / 1e9:.2f} GB, on {os.cpu_count()} processors")
        figures = {}
        for _ in range(ROUNDS):
            for name, binary in builds.items():
                merged, predictions = place / f"merged-{name}", place / f"predictions-{name}"
                stages = {
                    "merge": ["merge", "-q", "--dnabert", place / "dnabert", "--esm", place / "esm", "-o", merged],
                    "predict": ["predict", merged, "--windows", place / "windows", *quiet, "-o", predictions],
                }
                for stage, command in stages.items():
                    figures.setdefault((stage, name), []).append(run(binary, *command))
                shutil.rmtree(merged)
                shutil.rmtree(predictions)
        for (stage, name), runs in sorted(figures.items()):
            share = max(read for read, _ in runs) / inputs[stage]
            seconds = [taken for _, taken in runs]
            print(
                f"{stage:8} {name:6} reads {share:.3f} times its inputs, "
                f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"
            )
            failed |= name == "this" and share > BOUND
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
