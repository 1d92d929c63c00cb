"""What the tests of the workflows share: the executable, inputs, and the engines that this machine has."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Encoders for both sides, tiny and untrained: every stage has something to do. Other variables are none of the tests' business.
os.environ["VIRNUCPRO_MODEL"] = str(ROOT / "bundles" / "untrained")
pytest_plugins = sorted(path.stem for path in Path(__file__).parent.glob("*_fixtures.py"))
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


@pytest.fixture(scope="session")
def virnucpro():
    """The executable of the release build."""
    path = TARGET / "release" / "virnucpro"
    assert path.is_file(), f"{path} is missing: make build"
    return path


@pytest.fixture(scope="session")
def demo():
    """The 13 artificial sequences of the demonstration."""
    return ROOT / "examples" / "demo.fa"


@pytest.fixture(scope="session")
def by_mini(virnucpro, demo, tmp_path_factory):
    """The same with the model in the executable."""
    output = tmp_path_factory.mktemp("by-mini") / "out"
    command = [virnucpro, "run", demo, "--sample", "demo", "--model", "mini", "-o", output]
    subprocess.run(command, check=True, capture_output=True)
    return output / "predictions"


@pytest.fixture(scope="session")
def by_hand(virnucpro, demo, tmp_path_factory):
    """Tables of `virnucpro run` for the demonstration: what every other road must give, byte for byte."""
    output = tmp_path_factory.mktemp("by-hand") / "out"
    subprocess.run([virnucpro, "run", demo, "--sample", "demo", "-o", output], check=True, capture_output=True)
    return output / "predictions"
