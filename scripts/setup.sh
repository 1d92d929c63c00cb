#!/bin/sh
# Checks that the tools are there, says what has to be downloaded, and gets it: libtorch and the Rust crates.
# Safe to repeat; needs no network once done.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
rust_wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
missing=0

lacks() {
    echo "set-up: $1" >&2
    missing=1
}

# Prints the first of two versions if it is at least the second.
at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    lacks "Rust is not installed (no cargo or no rustc on PATH): install it from https://rustup.rs, then open a new shell."
else
    rust_found=$(rustc --version | cut -d ' ' -f 2)
    if [ -z "$rust_found" ]; then
        lacks "rustc is there but does not run (its message is above): with rustup, run 'rustup default stable'."
    elif ! at_least "${rust_found%%-*}" "$rust_wanted"; then
        lacks "Rust $rust_found is too old, $rust_wanted or newer is needed: run 'rustup update stable'."
    fi
fi
for compiler in "${CC:-cc}" "${CXX:-c++}"; do
    # Flags may stand after the name.
    command -v "${compiler%% *}" >/dev/null ||
        lacks "there is no compiler '$compiler': install a C and C++ compiler, on Debian and Ubuntu 'apt install g++'."
done
command -v "$python" >/dev/null ||
    lacks "there is no $python: install Python 3.9 or newer, on Debian and Ubuntu 'apt install python3 python3-venv'."
if [ "$missing" -ne 0 ]; then
    echo "set-up: nothing was downloaded or built; install what is named above and run the same command again." >&2
    exit 1
fi

host=$(rustc -vV | sed -n 's/^host: //p')
crates() {
    cargo fetch --locked --target "$host" "$@"
}

"$python" scripts/libtorch.py --plan
if crates --offline --quiet 2>/dev/null; then
    echo "crates: all are in cargo's cache"
else
    echo "crates: to be downloaded into cargo's cache (${CARGO_HOME:-$HOME/.cargo}), about 250 of them, 30 MB"
fi
"$python" scripts/libtorch.py
if ! crates --quiet --offline 2>/dev/null && ! crates; then
    echo "crates: cargo could not download them; its message is above. Check the network (cargo's own configuration" >&2
    echo "crates: names proxies and mirrors) and run the same command again: what is there is kept." >&2
    exit 1
fi
