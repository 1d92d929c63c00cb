"""The Nextflow engine, and runs of the workflow with it."""

import csv
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class Ran:
    """A finished run: its exit code, what it said, and the tasks of it."""

    def __init__(self, code, told, folder):
        self.code, self.told, self.folder = code, told, folder

    def ok(self):
        assert self.code == 0, self.told
        return self

    def fails(self):
        assert self.code != 0, self.told
        return self

    def says(self, *parts):
        for part in parts:
            assert part in self.told, f"{part!r} is not in:\n{self.told}"
        return self

    def tasks(self, **wanted):
        """Rows of the trace, as dictionaries, in the order of the tasks; with `process="MERGE"` and the like those alone."""
        with (self.folder / "trace.txt").open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        for row in rows:
            row["process"] = row["process"].rpartition(":")[2]
        rows.sort(key=lambda row: int(row["task_id"]))
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    def tables(self, sample):
        """The published tables of a sample by name."""
        return tables(self.folder / "results" / sample / "predictions")


class Nextflow:
    """An engine. Both parsers are those of 25.04; 24.10 has the first only."""

    def __init__(self, launcher, executables):
        self.launcher, self.executables = launcher, executables

    def command(self, *arguments, cwd, parser="v1", environment=None, timeout=300):
        told = subprocess.run(
            [str(word) for word in [self.launcher, *arguments]],
            cwd=cwd,
            env={
                **(environment or os.environ),
                "PATH": f"{self.executables}:{(environment or os.environ)['PATH']}",
                "NXF_SYNTAX_PARSER": parser,
                "NXF_ANSI_LOG": "false",
                "NO_COLOR": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        return Ran(told.returncode, told.stdout, Path(cwd))

    def run(self, folder, *arguments, profile="test", **options):
        """Runs the workflow from a folder of its own: results/ and trace.txt come there."""
        folder.mkdir(exist_ok=True)
        given = ["-profile", profile, "--outdir", "results", "-with-trace", "trace.txt", *arguments]
        return self.command("run", ROOT, *given, cwd=folder, **options)

    def instead(self, folder, script):
        """This engine with a script in place of the executable, which it finds as `$VIRNUCPRO`."""
        folder.mkdir()
        program = folder / "virnucpro"
        real = shlex.quote(str(self.executables / "virnucpro"))
        program.write_text(f"#!/bin/bash\nset -eu\nVIRNUCPRO={real}\n{script}")
        program.chmod(0o755)
        return Nextflow(self.launcher, folder)


def tables(folder):
    """What must be the same by every road, by name: the manifest says where it was made, and differs."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


def installed(version):
    launcher = TARGET / "engines" / f"nextflow-{version}" / "nextflow"
    if not shutil.which("java") or not launcher.is_file():
        pytest.skip(f"Nextflow {version} is not here: sh scripts/engines/nextflow.sh")
    return launcher


@pytest.fixture(scope="session")
def nextflow(virnucpro):
    """The engine on PATH, or else 25.04 from the target folder."""
    return Nextflow(shutil.which("nextflow") or installed("25.04"), virnucpro.parent)


@pytest.fixture(scope="session")
def old_nextflow(virnucpro):
    """Nextflow 24.10."""
    return Nextflow(installed("24.10"), virnucpro.parent)
