#!/bin/bash
# Builds from source into $PREFIX, against conda-forge's libtorch where the host environment has it, and against the
# published wheel otherwise: its libraries then come along, where the executable looks first.
set -euo pipefail

if [ -f "$PREFIX/lib/libtorch_cpu.so" ]; then
    export LIBTORCH=$PREFIX
else
    # rattler-build hides the home folder and the Python package index.
    export HOME=${MACHINE_HOME:-$HOME}
    unset PIP_NO_INDEX PIP_NO_DEPENDENCIES
    [ -n "${LIBTORCH:-}" ] || unset LIBTORCH
    python3 scripts/libtorch.py
    export LIBTORCH=${LIBTORCH:-$PWD/vendor/libtorch}
    mkdir -p "$PREFIX/lib/virnucpro/torch/lib"
    cp -L "$LIBTORCH"/lib/lib*.so* "$PREFIX/lib/virnucpro/torch/lib/"
    rm "$PREFIX/lib/virnucpro/torch/lib/libtorch.so" # for the linker only
fi

# Licences of the crates, by the tool that packagers use; releases have the same in another form (scripts/dist).
if command -v cargo-bundle-licenses >/dev/null; then
    cargo-bundle-licenses --format yaml --output THIRDPARTY.yml
fi
cargo install --locked --no-track --path . --root "$PREFIX"

virnucpro=$PREFIX/bin/virnucpro
if [ "$LIBTORCH" != "$PREFIX" ]; then
    # Nothing of the machine that builds stays in the package.
    PYTHONPATH=scripts/dist python3 -c \
        'import elf, pathlib, sys; elf.keep_relative_runpath(pathlib.Path(sys.argv[1]))' "$virnucpro"
fi
mkdir -p "$PREFIX/share/virnucpro/models" "$PREFIX/share/man/man1" "$PREFIX/share/bash-completion/completions" \
    "$PREFIX/share/zsh/site-functions" "$PREFIX/share/fish/vendor_completions.d"
cp -R workflows nextflow.config examples "$PREFIX/share/virnucpro/"
"$virnucpro" man "$PREFIX/share/man/man1"
"$virnucpro" completions bash >"$PREFIX/share/bash-completion/completions/virnucpro"
"$virnucpro" completions zsh >"$PREFIX/share/zsh/site-functions/_virnucpro"
"$virnucpro" completions fish >"$PREFIX/share/fish/vendor_completions.d/virnucpro.fish"
