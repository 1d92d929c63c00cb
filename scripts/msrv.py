#!/usr/bin/env python3
"""Checks that no dependency wants a newer Rust than Cargo.toml promises.

    python3 scripts/msrv.py

Clippy checks the use of the standard library against the same version; CI builds everything with it.
"""

import json
import subprocess
import sys


def version(text):
    return tuple(int(part) for part in text.split("."))[:2]


def main():
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["packages"]
    promised = next(package["rust_version"] for package in packages if package["name"] == "virnucpro")
    newer = [
        f"{package['name']} {package['version']} wants Rust {package['rust_version']}"
        for package in packages
        if package.get("rust_version") and version(package["rust_version"]) > version(promised)
    ]
    if newer:
        print(f"Cargo.toml promises Rust {promised}, but:", *newer, sep="\n  ", file=sys.stderr)
        return 1
    print(f"every dependency builds with Rust {promised}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
