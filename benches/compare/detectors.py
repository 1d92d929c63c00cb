"""Whole commands on one FASTA, in turn: `virnucpro run` with mini, DeepMicroClass, geNomad's network.

detectors.py FASTA --deepmicroclass PATH --genomad PATH [--virnucpro PATH] [--rounds 5] [--threads 2]

Each of the two others is best installed from PyPI into an environment of its own; both carry their weights. One run
of each before the first round is not counted: it leaves files in the page cache and compiled Python behind.
"""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


def commands(given, fasta, out):
    threads = str(given.threads)
    yield "virnucpro run", [given.virnucpro, "run", fasta, "--output", out / "v", "--model", "mini", "--quiet"]
    deep = ["--mode", "hybrid", "--encoding", "onehot", "--device", "cpu", "--cpu_thread", threads]
    yield "DeepMicroClass", [given.deepmicroclass, "predict", "--input", fasta, "--output_dir", out / "d", *deep]
    yield "geNomad network", [given.genomad, "nn-classification", "--threads", threads, fasta, out / "g"]


def measure(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fasta", type=Path)
    parser.add_argument("--virnucpro", type=Path, default=Path("target/release/virnucpro"))
    parser.add_argument("--deepmicroclass", type=Path, required=True)
    parser.add_argument("--genomad", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    figures = {}
    for turn in range(given.rounds + 1):
        with tempfile.TemporaryDirectory() as out:
            for name, command in commands(given, given.fasta.resolve(), Path(out)):
                taken = measure(command)
                if turn:
                    figures.setdefault(name, []).append(taken)
    ours = [wall for wall, _ in figures["virnucpro run"]]
    for name, taken in figures.items():
        ratios = sorted(wall / own for (wall, _), own in zip(taken, ours, strict=True))
        print(
            f"{name:16} wall {statistics.median(w for w, _ in taken):7.3f} s, processor "
            f"{statistics.median(c for _, c in taken):7.3f} s; wall over ours {statistics.median(ratios):6.1f} "
            f"({ratios[0]:.1f} to {ratios[-1]:.1f})"
        )


main()
