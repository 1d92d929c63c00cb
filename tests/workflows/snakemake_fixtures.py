"""Runs of the Snakemake workflow, and an executable between it and the real one that tells on its calls."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "workflows" / "snakemake"
TABLES = ["frames.tsv", "windows.tsv", "sequences.tsv", "viral_regions.bed", "summary.json"]


class Folder:
    """A working folder in which Snakemake runs, with an executable of its own first on PATH."""

    def __init__(self, path, virnucpro):
        self.path = path
        self.virnucpro = virnucpro
        self.environment = dict(os.environ)
        self.before_each_command("")

    def before_each_command(self, script):
        """Has bash do something before the executable: `$*` are its arguments, `$attempt` counts the tries."""
        bin = self.path / "bin"
        bin.mkdir(exist_ok=True)
        program = bin / "virnucpro"
        program.write_text(
            "#!/bin/bash\n"
            f"echo $* >> {self.path}/calls\n"
            "attempt=1; [[ $* =~ --attempt\\ ([0-9]+) ]] && attempt=${BASH_REMATCH[1]}\n"
            f"real={self.virnucpro}\n"
            f'{script}\nexec $real "$@"\n'
        )
        program.chmod(0o755)
        self.use(os.environ)

    def use(self, environment):
        """Takes its environment from elsewhere, such as that of a SLURM."""
        self.environment = {**environment, "PATH": f"{self.path}/bin:{environment['PATH']}"}

    def calls(self, command):
        """Arguments of every call of a command."""
        log = self.path / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.split()[0] == command]

    def commands(self):
        """The command of every call, in their order."""
        return [line.split()[0] for line in (self.path / "calls").read_text().splitlines()]

    def sheet(self, **samples):
        """Writes a sample sheet of FASTA files."""
        rows = [f"{sample},{file}\n" for sample, file in samples.items()]
        (self.path / "samples.csv").write_text("sample,fasta\n" + "".join(rows))

    def snakemake(self, *arguments, profile="local", settings=()):
        """Runs the workflow on samples.csv."""
        command = self.command(*arguments, profile=profile, settings=settings)
        return Ran(subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True))

    def started(self, *arguments, settings=()):
        """The same, in a process group of its own that goes on beside the test."""
        return subprocess.Popen(
            self.command(*arguments, settings=settings),
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @staticmethod
    def command(*arguments, profile="local", settings=()):
        command = ["snakemake", "--snakefile", WORKFLOW / "workflow" / "Snakefile"]
        command += ["--workflow-profile", WORKFLOW / "profiles" / profile]
        return [*command, *arguments, "--config", "input=samples.csv", *settings]

    def predictions(self, sample):
        return self.path / "results" / sample / "predictions"

    def log(self, sample, name, failed_try=None):
        """Log of a job; that of a try that failed has its number."""
        suffix = f".log.try{failed_try}" if failed_try else ".log"
        return (self.path / "logs" / sample / f"{name}{suffix}").read_text()


class Ran:
    """How a run ended, and what it said."""

    def __init__(self, run):
        self.code = run.returncode
        self.said = run.stdout + run.stderr

    def ok(self):
        assert self.code == 0, self.said
        return self

    def fails(self):
        assert self.code == 1, self.said
        return self


def without_model():
    """The environment of somebody without a variable for the model."""
    return {name: value for name, value in os.environ.items() if name != "VIRNUCPRO_MODEL"}


def same_tables(found, expected):
    for table in TABLES:
        assert (found / table).read_bytes() == (expected / table).read_bytes(), f"{table} of {found}"


@pytest.fixture(scope="session")
def snakemake():
    """Skips where Snakemake is not installed."""
    if not shutil.which("snakemake"):
        pytest.skip("Snakemake is not installed: make test-workflows")


@pytest.fixture
def folder(snakemake, virnucpro, tmp_path):
    """A working folder for one test."""
    return Folder(tmp_path, virnucpro)


@pytest.fixture(scope="module")
def shared_folder(snakemake, virnucpro, tmp_path_factory):
    """Working folders for runs that several tests look at."""
    return lambda name: Folder(tmp_path_factory.mktemp(name), virnucpro)
