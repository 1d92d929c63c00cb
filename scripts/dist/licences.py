"""Licences of all that a release contains and this project did not write."""

import json
import re
import shutil
import subprocess
from pathlib import Path

NAMES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
CODE = {".rs", ".py", ".c", ".h", ".toml", ".json", ".html"}
TARGET = "x86_64-unknown-linux-gnu"


def crates(root):
    """Packages whose code ends up in the executable, by name: no build scripts, tests or macros."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout
    metadata = json.loads(answer)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = metadata["resolve"]["root"]
    reached, waiting = set(), [own]
    while waiting:
        node = waiting.pop()
        if node in reached or is_macro(packages[node]):
            continue
        reached.add(node)
        for dependency in nodes[node]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return sorted(
        (packages[node] for node in reached - {own}), key=lambda package: (package["name"], package["version"])
    )


def is_macro(package):
    return any("proc-macro" in target["kind"] for target in package["targets"])


def texts(folder):
    """Files of a crate that hold licences, those of bundled C sources too."""
    found = [path for pattern in ("*", "*/*", "LICENSES/*") for path in folder.glob(pattern)]
    named = {path for path in found if NAMES.match(path.name) or path.parent.name == "LICENSES"}
    return sorted(path for path in named if path.is_file() and path.suffix not in CODE)


def allowed(root):
    """Licences that deny.toml allows."""
    table = re.search(
        r"^\[licenses\]$.*?^allow = \[(.*?)^\]", (root / "deny.toml").read_text(), re.MULTILINE | re.DOTALL
    )
    return set(re.findall(r'"(.+?)"', table[1]))


def permits(expression, allowed):
    """Whether an SPDX expression can be met by allowed licences alone."""
    words = re.findall(r"\(|\)|[^\s()/]+(?: WITH [^\s()/]+)?|/", expression)
    operators = {"OR": "or", "/": "or", "AND": "and", "(": "(", ")": ")"}
    return eval(" ".join(operators.get(word, str(word in allowed)) for word in words), {})


def write_crates(root, destination):
    """One file for all crates: name, licence, origin, and every text once."""
    allow = allowed(root)
    lines = ["Rust crates that are part of the executable, and their licences.", ""]
    numbers = {}
    for package in crates(root):
        title = f"{package['name']} {package['version']}"
        if not permits(package["license"] or "none", allow):
            raise ValueError(f"{title}: licence '{package['license']}' is not among those that deny.toml allows")
        found = texts(Path(package["manifest_path"]).parent)
        own = [numbers.setdefault(path.read_text(errors="replace").strip(), len(numbers) + 1) for path in found]
        where = (
            ", ".join(f"[{number}]" for number in sorted(set(own)))
            or f"{package['license']}, without a text of its own"
        )
        lines += [
            f"{title}: {package['license']}: {where}",
            f"    {package['repository'] or package['homepage'] or ''}",
        ]
    for text, number in numbers.items():
        lines += ["", "=" * 100, f"[{number}]", "", text]
    destination.write_text("\n".join(lines) + "\n")


def copy_texts(destination):
    """Texts of licences that are told by name: of Rust's standard library, GCC's libraries, and crates without a text."""
    command = ["rustc", "--print", "sysroot"]
    documents = Path(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), "share/doc/rust"
    )
    copy(documents / "COPYRIGHT-library.html", destination / "rust", "install Rust by rustup")
    for name in ("Apache-2.0", "MIT", "GPL-3.0-or-later", "GCC-exception-3.1"):
        copy(documents / "licenses" / f"{name}.txt", destination, "install Rust by rustup")


def copy_libtorch(libtorch, destination):
    """Licences of libtorch and of the two libraries of NVIDIA that it needs on every machine."""
    for name in ("LICENSE", "NOTICE", "nvidia_cuda_runtime.txt", "nvidia_cuda_cupti.txt"):
        copy(libtorch / "licenses" / name, destination / "libtorch", "rm -rf vendor/libtorch && make setup")


def copy(path, destination, advice):
    if not path.is_file():
        raise ValueError(f"{path} is missing: {advice}")
    destination.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, destination / path.name)
