#!/usr/bin/env python3
"""Puts libtorch 2.11.0 into vendor/libtorch, where the build and the executable look for it.

An installed torch 2.11.0 of any Python on this machine is linked to (VIRNUCPRO_TORCH may name its
folder); otherwise three published Python wheels are downloaded (544 MB), checked against the digests
below and unpacked without their CUDA parts. Nothing is imported or executed from them. Where LIBTORCH
names a folder already, that one is only looked at. Safe to repeat; works offline once done.

    libtorch.py           do it
    libtorch.py --plan    say what would be done

The folder holds links or files for the libraries that libtorch_cpu.so needs, the C++ headers, a
`build-version` file and a linker script `libtorch.so`. It must not hold libtorch_cuda.so: torch-sys
would link it. With a GPU the executable opens that library itself, from the installed torch.
"""

import glob
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

VERSION = "2.11.0"
ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "vendor" / "libtorch"

WHEELS = {
    "torch-2.11.0-cp312-cp312-manylinux_2_28_x86_64.whl": (
        "torch==2.11.0",
        "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
    ),
    "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl": (
        "nvidia-cuda-runtime==13.0.96",
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    ),
    "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl": (
        "nvidia-cuda-cupti==13.0.85",
        "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    ),
}
LIBRARIES = ["libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"]
# What libtorch_cpu.so of an installed torch may need; names differ between builds.
PATTERNS = ["libtorch_cpu.so", "libc10.so", "libgomp*.so*", "libcudart*.so*", "libcupti*.so*"]


def say(text):
    print(f"libtorch: {text}", flush=True)


def fail(text):
    sys.exit(f"libtorch: {text}")


def complete():
    return (
        version_of(TARGET) == VERSION
        and all((TARGET / "lib" / name).exists() for name in LIBRARIES[:2])
        and (TARGET / "include" / "torch" / "csrc").is_dir()
    )


def version_of(folder):
    """Version of a libtorch folder, without the build's suffix; None where it says none."""
    version = folder / "build-version"
    return version.read_text().split("+")[0].strip() if version.is_file() else None


def named_by_environment():
    """The folder that LIBTORCH names, if that is another one than ours."""
    named = os.environ.get("LIBTORCH")
    if not named or Path(named).resolve() == TARGET.resolve():
        return None
    folder = Path(named)
    if version_of(folder) != VERSION:
        fail(
            f"LIBTORCH names {folder}, which holds {version_of(folder) or 'no libtorch with a build-version file'}; "
            f"{VERSION} is needed. Unset LIBTORCH and run this again, or name another folder"
        )
    return folder


def pythons():
    """Interpreters worth asking, the environment's own first."""
    names = ["python3", "python"] + [f"python3.{minor}" for minor in range(9, 16)]
    places = [os.path.join(os.environ[v], "bin") for v in ("VIRTUAL_ENV", "CONDA_PREFIX") if v in os.environ]
    places += os.environ.get("PATH", "").split(os.pathsep)
    places += glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin"))
    places += glob.glob(os.path.expanduser("~/*conda*/envs/*/bin"))
    seen = set()
    for place in places:
        for name in names:
            path = os.path.join(place, name)
            if os.access(path, os.X_OK) and os.path.realpath(path) + place not in seen:
                seen.add(os.path.realpath(path) + place)
                yield path


ASK = """
import importlib.util, json
spec = importlib.util.find_spec("torch")
found = list(spec.submodule_search_locations) if spec and spec.submodule_search_locations else []
print(json.dumps(found))
"""


def installed_torch():
    """Folder of an installed torch of the right version, or None. torch is located, not imported."""
    candidates = [Path(os.environ["VIRNUCPRO_TORCH"])] if os.environ.get("VIRNUCPRO_TORCH") else []
    for python in pythons():
        try:
            answer = subprocess.run(
                [python, "-I", "-c", ASK], capture_output=True, text=True, timeout=30, check=True
            ).stdout
            candidates += [Path(place) for place in json.loads(answer)]
        except (subprocess.SubprocessError, OSError, ValueError):
            continue
    for torch in candidates:
        version = torch / "version.py"
        if not version.is_file() or not (torch / "lib" / "libtorch_cpu.so").is_file():
            continue
        if f"__version__ = '{VERSION}" in version.read_text():
            return torch
    return None


def libraries_of(torch):
    """Libraries of an installed torch: in its own lib folder, or in the nvidia packages beside it."""
    found = {}
    for place in [torch / "lib", *sorted(torch.parent.glob("nvidia/*/lib"))]:
        for pattern in PATTERNS:
            for library in place.glob(pattern):
                found.setdefault(library.name, library)
    return found


def fresh_folder():
    staging = TARGET.with_name("libtorch.partial")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "lib").mkdir(parents=True)
    return staging


def link_installed(torch):
    """A folder of links to an installed torch, or None if it does not work from there."""
    say(f"using the torch {VERSION} installed in {torch}")
    staging = fresh_folder()
    for name, library in libraries_of(torch).items():
        (staging / "lib" / name).symlink_to(library)
    (staging / "include").symlink_to(torch / "include")
    link_licences(torch.parent, staging)
    missing = unresolved(staging / "lib")
    if missing:
        say(f"that torch cannot be linked to: its libraries need {', '.join(missing)}")
        return None
    return staging


def link_licences(packages, staging):
    (staging / "licenses").mkdir()
    for name in ("torch", "nvidia_cuda_runtime", "nvidia_cuda_cupti"):
        for text in packages.glob(f"{name}-*.dist-info/licenses/*"):
            (staging / "licenses" / licence_name(text.relative_to(packages).parts)).symlink_to(text)


def unresolved(folder):
    """Names of libraries that libtorch_cpu.so needs and the loader does not find."""
    # By its own RUNPATH, as when the executable loads it.
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    command = ["ldd", str(folder / "libtorch_cpu.so")]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    return [line.split()[0] for line in answer.stdout.splitlines() if "not found" in line]


def licence_name(parts):
    """torch's own names; for the others, whose files share a name, that of the package."""
    package = parts[0].split("-")[0]
    return parts[-1] if package == "torch" else f"{package}.txt"


def unpack(wheel, staging):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            parts = member.filename.split("/")
            if parts[-1] in LIBRARIES and "lib" in parts:
                destination = staging / "lib" / parts[-1]
            elif member.filename.startswith("torch/include/"):
                destination = staging.joinpath(*parts[1:])
            elif "licenses" in parts:
                destination = staging / "licenses" / licence_name(parts)
            else:
                continue
            if ".." in parts or member.is_dir():
                continue
            destination.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(destination, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def download():
    check_download()
    free = shutil.disk_usage(ROOT).free
    if free < 2 << 30:
        fail(f"{free >> 20} MB free on the disk of {ROOT}; 2048 MB are needed while unpacking")
    say(f"downloading torch {VERSION}: 3 wheels, 544 MB")
    vendor = TARGET.parent
    wheels, environment = vendor / "wheels", vendor / "pip"
    wheels.mkdir(parents=True, exist_ok=True)
    venv.create(environment, with_pip=True, clear=True)
    requirements = wheels / "requirements.txt"
    requirements.write_text("".join(f"{req} --hash=sha256:{digest}\n" for req, digest in WHEELS.values()))
    pip = subprocess.run(
        [
            *[environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "download"],
            *["--no-deps", "--require-hashes", "--only-binary=:all:", "-r", requirements, "-d", wheels],
            *["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312", "--abi", "none"],
            *["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_25_x86_64"],
            *["--platform", "manylinux_2_17_x86_64", "--platform", "manylinux2014_x86_64"],
        ]
    )
    if pip.returncode != 0:
        fail(
            "pip could not download the wheels; its message is above. Check the network (a proxy, a mirror: pip's own "
            f"configuration is used) and run this again, or install torch {VERSION} with any Python: it will be found"
        )
    staging = fresh_folder()
    for name in WHEELS:
        say(f"unpacking {name}")
        unpack(wheels / name, staging)
    shutil.rmtree(wheels)
    shutil.rmtree(environment)
    return staging


def check_download():
    """Says what stands in the way of a download before it is begun."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        fail(
            f"no wheel is pinned for {sys.platform} {os.uname().machine}; install torch {VERSION} with pip and run "
            "this again: it will be found"
        )
    if importlib.util.find_spec("ensurepip") is None:
        fail(
            "Python's venv module is not complete: on Debian and Ubuntu 'apt install python3-venv', then run this again"
        )


def plan():
    folder = named_by_environment()
    if folder:
        say(f"{VERSION} in {folder} will be used, as LIBTORCH says")
    elif complete():
        say(f"{VERSION} is in place ({TARGET.relative_to(ROOT)})")
    elif torch := installed_torch():
        say(f"no download: torch {VERSION} is installed in {torch}")
    else:
        check_download()
        say(f"to be downloaded: torch {VERSION} as 3 wheels from the Python package index, 544 MB,")
        say("of which 480 MB are unpacked into vendor/libtorch; pip keeps the wheels in its own cache")


def main():
    if sys.argv[1:] == ["--plan"]:
        plan()
        return
    if named_by_environment() or complete():
        return
    TARGET.parent.mkdir(exist_ok=True)
    torch = installed_torch()
    staging = (link_installed(torch) if torch else None) or download()
    # torch-sys asks for -ltorch; the one library that it stands for on a CPU is torch_cpu.
    (staging / "lib" / "libtorch.so").write_text("INPUT(-ltorch_cpu)\n")
    (staging / "build-version").write_text(f"{VERSION}\n")
    if TARGET.is_symlink():
        TARGET.unlink()
    shutil.rmtree(TARGET, ignore_errors=True)
    staging.rename(TARGET)
    if not complete():
        fail(f"{TARGET} is not complete; remove it and run this again")
    say(f"{VERSION} is ready in {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        fail("interrupted; run the same command again")
    except OSError as error:
        fail(f"{error}; nothing is in place yet: put that right and run the same command again")
