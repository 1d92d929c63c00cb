#!/bin/sh
# What the method of mini.sh makes of genera that it has not seen: sh training/validate.sh GENOMES OUT
#
# Trains on GENOMES/train alone, as mini.sh does, and measures the bundle on GENOMES/fragments_valid_500.fa.gz and the
# central 300 and 150 bases of each fragment. Figures go to OUT/valid-LENGTH/evaluation. VIRNUCPRO, WINDOWS and others as for mini.sh.
set -eu
genomes=$1
out=$2
here=$(dirname "$0")
virnucpro=${VIRNUCPRO:-virnucpro}
python=${PYTHON:-python3}

SPLITS=train sh "$here/mini.sh" "$genomes" "$out"
for length in 500 300 150; do
    folder=$out/valid-$length
    mkdir -p "$folder"
    "$python" "$here/sample.py" fragments "$genomes/fragments_valid_500.fa.gz" --genomes "$genomes" --length "$length" \
        --fasta "$folder/fragments.fa" --labels "$folder/labels.tsv"
    "$virnucpro" run "$folder/fragments.fa" --model "$out/mini" -o "$folder/run" --quiet >/dev/null
    "$virnucpro" evaluate "$folder/run/predictions" --labels "$folder/labels.tsv" -o "$folder/evaluation"
done
