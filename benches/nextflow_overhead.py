"""What the Nextflow engine itself costs per task: the workflow with an executable that does next to nothing.

python3 benches/nextflow_overhead.py [--samples 100] [--shards 50] [--shards-per-task 1] [--nextflow PATH]
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Every stage's files, empty but for a line: what is left is the engine.
IDLE = """#!/bin/bash
set -eu
case $1 in
--version) echo "virnucpro 0.0.0"; exit ;;
esac
all=("$@")
while [ "$1" != --output ] && [ $# -gt 1 ]; do shift; done
out=$2
mkdir -p "$out"
echo '{}' > "$out/manifest.json"
case ${all[0]} in
chunk) for n in $(seq -f %05g SHARDS); do echo > "$out/shard-$n.fna"; echo > "$out/shard-$n.faa"; done ;;
embed-*) shift 2; for shard; do name=${shard##*/}; echo > "$out/${name%.*}.parquet"; done ;;
merge) for vectors in dnabert/*; do echo > "$out/${vectors##*/}"; done ;;
predict) for table in sequences.tsv windows.tsv frames.tsv summary.json; do echo > "$out/$table"; done ;;
esac
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--shards", type=int, default=50)
    parser.add_argument("--shards-per-task", type=int, default=1)
    parser.add_argument("--nextflow", default="nextflow")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "bin").mkdir()
        program = folder / "bin" / "virnucpro"
        program.write_text(IDLE.replace("SHARDS", str(given.shards)))
        program.chmod(0o755)
        (folder / "x.fa").write_text(">x\nACGT\n")
        rows = [f"s{n},x.fa" for n in range(given.samples)]
        (folder / "sheet.csv").write_text("\n".join(["sample,fasta", *rows, ""]))
        command = [given.nextflow, "run", ROOT, "-profile", "test", "--input", "sheet.csv", "-with-trace", "trace.txt"]
        command += ["--shards_per_task", str(given.shards_per_task)]
        environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "NXF_ANSI_LOG": "false"}
        for name, more in [("first run", []), ("-resume", ["-resume"])]:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.monotonic()
            subprocess.run([*command, *more], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
            wall = time.monotonic() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            tasks = len((folder / "trace.txt").read_text().splitlines()) - 1
            print(
                f"{name}: {tasks} tasks, {wall:.0f} s, {1000 * wall / tasks:.0f} ms of time and "
                f"{1000 * cpu / tasks:.0f} ms of processor per task; largest process {after.ru_maxrss >> 10} MB"
            )


main()
