"""An executable that makes every stage's files, each of one line, and does nothing else: what is left is the engine.

Shared by the benches of both workflow engines.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
# A bundle of language models: with one like mini, each sample would be one task.
UNTRAINED = ROOT / "bundles" / "untrained"

IDLE = """#!/bin/bash
set -eu
command=$1
[ "$command" != --version ] || { echo "virnucpro 0.0.0"; exit; }
vectors=()
while [ $# -gt 0 ]; do
    case $1 in
    --output) out=$2 ;;
    *.fna | *.faa) name=${1##*/}; vectors+=("${name%.*}.parquet") ;;
    esac
    shift
done
case $command in
chunk) files=(shard-{00001..LAST}.{fna,faa}) ;;
embed-*) files=("${vectors[@]}") ;;
merge) files=(shard-{00001..LAST}.parquet) ;;
*) files=(sequences.tsv windows.tsv frames.tsv viral_regions.bed summary.json) ;;
esac
mkdir -p "$out"
for file in "${files[@]}" manifest.json; do echo '{}' > "$out/$file"; done
"""


def options(description, engine):
    """What the benches of both engines take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--shards", type=int, default=50)
    parser.add_argument("--shards-per-task", type=int, default=1)
    parser.add_argument(f"--{engine}", dest="engine", metavar="PATH", default=engine)
    return parser.parse_args()


def idle_executable(folder, shards):
    """Writes it as `bin/virnucpro` of a folder, for samples of so many shards; the folder to put on PATH."""
    program = folder / "bin" / "virnucpro"
    program.parent.mkdir()
    program.write_text(IDLE.replace("LAST", f"{shards:05}"))
    program.chmod(0o755)
    return program.parent


def idle_samples(folder, samples):
    """Writes a sample sheet; its path."""
    (folder / "x.fa").write_text(">x\nACGT\n")
    sheet = folder / "sheet.csv"
    sheet.write_text("".join(["sample,fasta\n", *(f"s{n},x.fa\n" for n in range(samples))]))
    return sheet


class Cost(NamedTuple):
    """What a command and all that it started took."""

    wall: float
    processor: float
    largest_process_mb: int

    def of(self, number, what):
        """The same for each of so many tasks."""
        return (
            f"{number} {what}s, {self.wall:.0f} s, {1000 * self.wall / number:.0f} ms of time and "
            f"{1000 * self.processor / number:.0f} ms of processor per {what}; "
            f"largest process {self.largest_process_mb} MB"
        )


def cost_of(command, folder, environment):
    """Runs a command that must succeed; its output goes to a file, and is told where it does not."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with (folder / "output.txt").open("w") as output:
        ended = subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    wall = time.monotonic() - start
    if ended.returncode != 0:
        sys.exit((folder / "output.txt").read_text()[-5000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, processor, after.ru_maxrss >> 10)
