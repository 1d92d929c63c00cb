"""What the Nextflow engine itself costs per task: the workflow with an executable that does next to nothing.

python3 benches/nextflow_overhead.py [--samples 100] [--shards 50] [--shards-per-task 1] [--nextflow PATH]
"""

import os
import tempfile
from pathlib import Path

from idle_executable import ROOT, UNTRAINED, cost_of, idle_executable, idle_samples, options


def main():
    given = options(__doc__, "nextflow")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = f"{idle_executable(folder, given.shards)}:{os.environ['PATH']}"
        command = [given.engine, "run", ROOT, "-profile", "test", "--input", idle_samples(folder, given.samples)]
        command += ["--model", UNTRAINED, "--shards_per_task", str(given.shards_per_task), "-with-trace", "trace.txt"]
        environment = {**os.environ, "PATH": path, "NXF_ANSI_LOG": "false"}
        for name, more in [("first run", []), ("-resume", ["-resume"])]:
            cost = cost_of([*command, *more], folder, environment)
            tasks = len((folder / "trace.txt").read_text().splitlines()) - 1
            print(f"{name}: {cost.of(tasks, 'task')}")


main()
