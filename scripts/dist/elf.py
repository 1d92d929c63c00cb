"""What the files of a release need of the machine that they run on, read with binutils."""

import os
import re
import subprocess
from pathlib import Path

# The C and C++ libraries of the machine, which are on every Linux with glibc. A copy of the C++ library of the machine that
# builds would only raise the C library that is needed.
OF_THE_SYSTEM = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|util|pthread|stdc\+\+|gcc_s))\.so\.\d+")


def closure(executable):
    """Paths of all libraries that an executable loads, by name, without those of the system."""
    # By its RUNPATH alone, as on another machine.
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    answer = subprocess.run(["ldd", executable], check=True, capture_output=True, text=True, env=environment).stdout
    found = dict(re.findall(r"^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", answer, re.MULTILINE))
    missing = [name for name, path in found.items() if path == "not found"]
    if missing:
        raise ValueError(f"{executable} needs {', '.join(missing)}, which is not found: make build")
    return {name: Path(path) for name, path in found.items() if not OF_THE_SYSTEM.fullmatch(name)}


def floors(paths):
    """Newest version of the C and C++ library that any of these files asks for: {"GLIBC": "2.34", ...}."""
    symbols = "".join(read("objdump", "-T", path) for path in paths)
    newest = {}
    for library in ("GLIBC", "GLIBCXX"):
        versions = set(re.findall(rf"\({library}_([\d.]+)\)", symbols))
        newest[library] = max(versions, key=lambda version: [int(part) for part in version.split(".")])
    return newest


def strip(path):
    """Removes symbols that only debuggers read."""
    subprocess.run(["strip", "--strip-unneeded", path], check=True)


def runpath(path):
    """Where an executable looks for its libraries; empty where it says nothing."""
    found = re.search(r"\(RUNPATH\).*\[(.*)\]", read("readelf", "-dW", path))
    return found[1] if found else ""


def keep_relative_runpath(path):
    """Cuts the folders of the build machine off the end of an executable's RUNPATH."""
    linked = runpath(path)
    kept = ":".join(place for place in linked.split(":") if place.startswith("$ORIGIN"))
    if not kept or not linked.startswith(kept):
        raise ValueError(f"{path}: the RUNPATH is '{linked}'; folders relative to $ORIGIN must come first: make build")
    old = linked.encode() + b"\0"
    content = path.read_bytes()
    if content.count(old) != 1:
        raise ValueError(f"{path}: the RUNPATH does not stand exactly once in the file")
    path.write_bytes(content.replace(old, kept.encode().ljust(len(old), b"\0")))


def read(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
