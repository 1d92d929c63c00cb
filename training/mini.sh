#!/bin/sh
# From genomes to the bundle `mini`: sh training/mini.sh GENOMES OUT
#
# GENOMES is laid out as sample.py says; OUT gets the samples, their vectors and OUT/mini. Every step has its seed: the same
# genomes give the same bundle on the same machine. Set in the environment, with what `mini` was made with as defaults:
#   WINDOWS   windows to train on            CONTIGS   contigs, for the calibration of sequences
#   SPLITS    folders of GENOMES             SAMPLING  more arguments for sample.py, as --without-tier D
#   VIRNUCPRO the executable
set -eu
genomes=$1
out=$2
here=$(dirname "$0")
virnucpro=${VIRNUCPRO:-virnucpro}
python=${PYTHON:-python3}
: "${WINDOWS=1000000}" "${CONTIGS=8000}" "${SPLITS=train valid}" "${SAMPLING=}"
mkdir -p "$out"

# shellcheck disable=SC2086 # several words are meant
sample() { "$python" "$here/sample.py" windows "$genomes" --split $SPLITS $SAMPLING "$@"; }
sample --number "$WINDOWS" --seed 1 --fasta "$out/windows.fa" --labels "$out/windows.tsv"
sample --number "$CONTIGS" --contigs 1000-20000 --prefix c --seed 2 --fasta "$out/contigs.fa" --labels "$out/contigs.tsv"
cat "$out/windows.tsv" >"$out/labels.tsv"
tail -n +2 "$out/contigs.tsv" >>"$out/labels.tsv"

model=$here/composition
"$virnucpro" chunk "$out/windows.fa" "$out/contigs.fa" --model "$model" -o "$out/windows"
"$virnucpro" embed-dnabert "$out/windows" --model "$model" -o "$out/dnabert"
"$virnucpro" merge --dnabert "$out/dnabert" -o "$out/merged"
rm -r "$out/dnabert"
"$virnucpro" train "$out/merged" --labels "$out/labels.tsv" --model "$model" --recipe "$here/mini.yaml" \
    --dtype f16 --name mini --licence "MIT (weights); docs/mini.md names the sequences" -o "$out/mini"
rm -r "$out/merged"
