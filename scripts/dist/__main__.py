#!/usr/bin/env python3
"""Packs the release build with all that it needs: target/dist/virnucpro-VERSION-linux-x86_64.tar.zst.

    make dist                    build, pack, and write the checksum beside it
    DIST_LEVEL=3 make dist       larger and quicker (zstd's levels; 19 without it)

The archive runs from any folder, on any x86_64 Linux with the C and C++ library that it names: docs/packages.md. The
same sources, libtorch and compilers give the same bytes.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import elf
import licences

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# Laid out as pip does, so that the libraries for a GPU, which come from there, find theirs.
LIBTORCH = Path("lib/virnucpro/torch/lib")
SHARE = Path("share/virnucpro")
DOCUMENTS = Path("share/doc/virnucpro")
PAGES = {
    "bash": "share/bash-completion/completions/virnucpro",
    "zsh": "share/zsh/site-functions/_virnucpro",
    "fish": "share/fish/vendor_completions.d/virnucpro.fish",
}


def version():
    return re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]


def libtorch():
    return Path(os.environ.get("LIBTORCH", ROOT / "vendor" / "libtorch"))


def copy_programs(tree):
    """The executable and its libraries, stripped; returns their paths."""
    built = TARGET / "release" / "virnucpro"
    executable = tree / "bin" / "virnucpro"
    libraries = {tree / LIBTORCH / name: path for name, path in elf.closure(built).items()}
    for destination, source in {executable: built, **libraries}.items():
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, destination)
        elf.strip(destination)
    elf.keep_relative_runpath(executable)
    return [executable, *libraries]


def write_pages(tree):
    """Completions and manual pages, as the executable itself writes them."""
    executable = tree / "bin" / "virnucpro"
    for shell, place in PAGES.items():
        (tree / place).parent.mkdir(parents=True)
        (tree / place).write_bytes(subprocess.run([executable, "completions", shell], check=True, stdout=-1).stdout)
    (tree / "share/man/man1").mkdir(parents=True)
    subprocess.run([executable, "man", tree / "share/man/man1"], check=True, stderr=subprocess.DEVNULL)


def copy_sources(tree):
    """Workflows, the demonstration and documents: files that git knows, no others."""
    places = dict.fromkeys(("nextflow.config", "nextflow_schema.json", "workflows", "examples"), SHARE)
    places.update({name: DOCUMENTS for name in ("README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "docs")})
    command = ["git", "ls-files", "-z", "--", *places]
    for name in subprocess.run(command, check=True, stdout=-1, text=True, cwd=ROOT).stdout.split("\0")[:-1]:
        destination = tree / places[name.split("/")[0]] / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, destination)
    for name in ("gpu-libraries.sh", "gpu-libraries.txt"):
        shutil.copy(ROOT / "scripts" / "dist" / name, tree / SHARE)
    # Where the executable looks for bundles.
    (tree / SHARE / "models").mkdir()


def copy_licences(tree):
    folder = tree / DOCUMENTS / "licences"
    folder.mkdir()
    licences.write_crates(ROOT, folder / "crates.txt")
    licences.copy_texts(folder)
    licences.copy_libtorch(libtorch(), folder)
    shutil.copy(ROOT / "scripts" / "dist" / "licences.md", folder / "README.md")


def need(floors):
    return f"glibc {floors['GLIBC']} and a libstdc++ with GLIBCXX_{floors['GLIBCXX']}, or newer"


def write_build(tree, floors):
    compilers = [
        subprocess.run([name, "--version"], check=True, stdout=-1, text=True).stdout for name in ("rustc", "c++")
    ]
    lines = [f"virnucpro {version()}", "libtorch " + (libtorch() / "build-version").read_text().strip()]
    lines += [f"needs {need(floors)}"]
    lines += ["built with " + compiler.splitlines()[0] for compiler in compilers]
    (tree / DOCUMENTS / "BUILD").write_text("\n".join(lines) + "\n")


def pack(tree, archive):
    """A tar file that depends on names and contents only."""
    command = ["git", "log", "-1", "--format=%ct"]
    seconds = os.environ.get("SOURCE_DATE_EPOCH") or subprocess.run(command, stdout=-1, text=True, cwd=ROOT).stdout

    def same_everywhere(member):
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = int(seconds or 0)
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    level = os.environ.get("DIST_LEVEL", "19")
    with open(archive, "wb") as sink:
        zstd = subprocess.Popen(["zstd", "--quiet", "-T0", f"-{level}"], stdin=subprocess.PIPE, stdout=sink)
        with tarfile.open(fileobj=zstd.stdin, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for path in [tree, *sorted(tree.rglob("*"))]:
                name = Path(tree.name, path.relative_to(tree))
                tar.add(path, str(name), recursive=False, filter=same_everywhere)
        zstd.stdin.close()
        if zstd.wait() != 0:
            raise ValueError(f"zstd ended with {zstd.returncode}")


def checksum(archive):
    digest = hashlib.sha256()
    with open(archive, "rb") as content:
        for block in iter(lambda: content.read(1 << 20), b""):
            digest.update(block)
    archive.with_name(archive.name + ".sha256").write_text(f"{digest.hexdigest()}  {archive.name}\n")


def report(tree, archive, floors):
    sizes = {path.relative_to(tree): path.stat().st_size for path in tree.rglob("*") if path.is_file()}
    large = {path: size for path, size in sizes.items() if size > 1 << 20}
    for path, size in sorted(large.items(), key=lambda entry: -entry[1]):
        print(f"{size / 1e6:8.1f} MB  {path}")
    print(f"{(sum(sizes.values()) - sum(large.values())) / 1e6:8.1f} MB  all {len(sizes) - len(large)} others")
    print(f"{sum(sizes.values()) / 1e6:8.1f} MB  unpacked; needs {need(floors)}")
    print(f"{archive.stat().st_size / 1e6:8.1f} MB  {archive.relative_to(TARGET.parent)}")


def main():
    for tool in ("zstd", "strip", "git"):
        if not shutil.which(tool):
            sys.exit(f"dist: {tool} is not installed; on Debian and Ubuntu 'apt install zstd binutils git'")
    name = f"virnucpro-{version()}-linux-x86_64"
    tree = TARGET / "dist" / name
    shutil.rmtree(tree, ignore_errors=True)
    floors = elf.floors(copy_programs(tree))
    copy_sources(tree)
    write_pages(tree)
    copy_licences(tree)
    write_build(tree, floors)
    archive = tree.with_name(f"{name}.tar.zst")
    pack(tree, archive)
    checksum(archive)
    report(tree, archive, floors)


if __name__ == "__main__":
    try:
        main()
    except ValueError as problem:
        sys.exit(f"dist: {problem}")
