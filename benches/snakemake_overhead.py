"""What the Snakemake engine itself costs per job: the workflow with an executable that does next to nothing.

python3 benches/snakemake_overhead.py [--samples 100] [--shards 50] [--shards-per-task 1] [--snakemake PATH]
"""

import os
import tempfile
from pathlib import Path

from idle_executable import ROOT, UNTRAINED, cost_of, idle_executable, idle_samples, options

WORKFLOW = ROOT / "workflows" / "snakemake"


def main():
    given = options(__doc__, "snakemake")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = f"{idle_executable(folder, given.shards)}:{os.environ['PATH']}"
        command = [given.engine, "--snakefile", WORKFLOW / "workflow" / "Snakefile"]
        command += ["--workflow-profile", WORKFLOW / "profiles" / "local", "--config"]
        command += [f"input={idle_samples(folder, given.samples)}", f"model={UNTRAINED}"]
        command += [f"shards_per_task={given.shards_per_task}"]
        for name in ["first run", "the same again"]:
            cost = cost_of(command, folder, {**os.environ, "PATH": path})
            # Every job leaves its time and memory; the second run finds nothing to do.
            jobs = sum(1 for _ in (folder / "benchmarks").glob("*/*.tsv"))
            print(f"{name}: {cost.of(jobs, 'job')}")


main()
