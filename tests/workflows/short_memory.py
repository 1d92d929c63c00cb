"""Real lack of memory: sequences, and a limit with which the ESM-2 stage runs out of it in the middle of its work."""

import random
import shutil
import subprocess

import pytest

CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in ("TAA", "TAG", "TGA")]
WINDOW = 3000


def long_after_short(path):
    """Writes sequences with an open frame: short ones, which are computed before memory is short, and then long ones."""
    draw = random.Random(12)
    with path.open("w") as fasta:
        for number, codons in enumerate([60] * 650 + [1000] * 10, 1):
            fasta.write(f">open{number}\n{''.join(draw.choices(CODONS, k=codons))}\n")
    return path


def limit_that_is_too_small(virnucpro, fasta, folder):
    """Megabytes of address space with which some vectors are kept before memory is short; it depends on the build."""
    folder.mkdir()
    chunk = [virnucpro, "chunk", fasta, "--window", str(WINDOW), "--output", "windows"]
    subprocess.run(chunk, check=True, capture_output=True, cwd=folder)
    embed = f"{virnucpro} embed-esm windows/shard-00001.faa --device cpu --threads 2 --output esm"
    found = []
    for limit in range(460, 900, 3):
        command = ["bash", "-c", f"ulimit -v $(({limit} * 1024)) && exec {embed}"]
        code = subprocess.run(command, capture_output=True, cwd=folder).returncode
        if code == 4 and any((folder / "esm").glob(".checkpoints/*/*")):
            found.append(limit)
        shutil.rmtree(folder / "esm", ignore_errors=True)
        if code == 0:
            break
    if not found:
        pytest.fail("no limit on memory makes the command run out of it in the middle of its work")
    return found[len(found) // 2]
