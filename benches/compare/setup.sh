#!/bin/sh
# Makes the virtual environment of benches/compare: setup.sh [FOLDER], target/compare/venv where none is named.
# PYTHON names the interpreter, 3.12. About 2 GB are downloaded, nearly all of it CUDA, which torch cannot be imported without.
set -eu
here=$(dirname "$0")
venv=${1:-$here/../../target/compare/venv}
"${PYTHON:-python3.12}" -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --requirement "$here/requirements.txt"
"$venv/bin/python" -c 'import esm, esm_cpp, pyarrow, safetensors, tokenizers, torch; print("ready, torch", torch.__version__)'
