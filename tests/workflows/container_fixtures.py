"""Apptainer and the image, for all tests that run something in a container."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# Kept from one run to the next, by what they are made of.
CACHE = TARGET / "workflow-images"
SUITE = "bookworm"


def run(*command, **options):
    """A command that must end with 0; its output is told where it does not."""
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert ran.returncode == 0, f"{command} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="session")
def apptainer():
    """Path of Apptainer."""
    path = shutil.which("apptainer")
    if path is None:
        pytest.skip("Apptainer is not installed: sh scripts/engines/apptainer.sh")
    return path


@pytest.fixture(scope="session")
def archive(virnucpro):
    """The release archive of this build, packed quickly."""
    environment = os.environ | {"DIST_LEVEL": "3"}
    run("python3", ROOT / "scripts" / "dist", cwd=ROOT, env=environment)
    (path,) = (TARGET / "dist").glob("virnucpro-*-linux-x86_64.tar.zst")
    return path


@pytest.fixture(scope="session")
def debian(request):
    """A bare Debian in a folder, owned by root: what `debootstrap` makes of the mirror that this machine uses."""
    base = CACHE / SUITE
    if (base / "etc" / "debian_version").is_file():
        return base
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        pytest.skip("a bare Debian takes debootstrap and root: sh scripts/engines/apptainer.sh")
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = CACHE / f"{SUITE}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    ran = subprocess.run(["debootstrap", "--variant=minbase", SUITE, partial, mirror()], capture_output=True, text=True)
    if ran.returncode != 0:
        pytest.skip(f"debootstrap does not work here: {ran.stdout[-300:]}")
    # Images are built without the right to make devices.
    for device in (partial / "dev").iterdir():
        if device.is_char_device() or device.is_block_device():
            device.unlink()
    partial.rename(base)
    return base


def mirror():
    """Debian's mirror in apt's sources."""
    for name in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        for line in Path(name).read_text().splitlines() if Path(name).is_file() else []:
            words = [word for word in line.split() if not word.startswith("[")]
            if words[:1] in (["URIs:"], ["deb"]):
                return words[1]
    return "http://deb.debian.org/debian"


@pytest.fixture(scope="session")
def image(apptainer, archive, debian):
    """The image that Singularity.def describes, for CPUs, on a bare Debian in place of the registry's."""
    parts = [archive, ROOT / "Singularity.def", ROOT / "scripts" / "image" / "install.sh"]
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]
    path = CACHE / f"virnucpro-{digest}.sif"
    if not path.is_file():
        for old in CACHE.glob("virnucpro-*.sif"):
            old.unlink()
        arguments = {"BOOTSTRAP": "localimage", "FROM": debian, "DIST": archive, "GPU": "no"}
        options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        # A quick compression; the recipe's own build takes the default.
        options += ["--mksquashfs-args", "-comp zstd -Xcompression-level 1"]
        run(
            apptainer, "build", "--fakeroot", *options, path.with_suffix(".partial"), ROOT / "Singularity.def", cwd=ROOT
        )
        path.with_suffix(".partial").rename(path)
    return path
