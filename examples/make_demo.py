#!/usr/bin/env python3
"""Writes demo.fa: 13 artificial sequences, written as real genomes write their genes.

A gene is a start codon, codons drawn one by one with the frequencies of a real genome (codon_usage.tsv) and a stop codon;
genes lie on either strand with random bases between them. So a sequence has what a composition model looks at, and
no stretch of a living thing. codon_usage.tsv has codons per thousand, counted in the stop-free runs of 300 bases and more
of a record, the longest first and hardly any overlap; its columns are accessions:

    NC_001330  Enterobacteria phage alpha3       NC_007779  Escherichia coli K-12 W3110
    NC_001539  Canine parvovirus                 CP000387   Streptococcus sanguinis SK36
    NC_003549  Cowpea mosaic virus               CP001742   Acidilobus saccharovorans, an archaeon

The generator is seeded, so the same bytes come out:

    python3 examples/make_demo.py > examples/demo.fa
"""

import csv
import random
import sys
from bisect import bisect
from itertools import accumulate
from pathlib import Path

STOPS = ("TAA", "TAG", "TGA")
LINE = 70


class Genome:
    """Writes sequences with the codon usage of one genome; `random()` is what Python guarantees for a seed."""

    def __init__(self, accession, chance):
        with (Path(__file__).parent / "codon_usage.tsv").open(newline="") as table:
            usage = [(row["codon"], float(row[accession])) for row in csv.DictReader(table, delimiter="\t")]
        self._codons = [codon for codon, _ in usage]
        self._cumulative = list(accumulate(share for _, share in usage))
        self._chance = chance

    def sequence(self, length, gene_codons=300):
        """Genes of about so many codons on both strands, cut to a length."""
        bases = ""
        while len(bases) < length:
            gene = self.gene(max(60, int(gene_codons * (0.5 + self._chance.random()))))
            bases += (gene if self._chance.random() < 0.5 else reverse_complement(gene)) + self._spacer()
        return bases[:length]

    def gene(self, codons):
        stop = STOPS[int(3 * self._chance.random())]
        return "ATG" + "".join(self._codon() for _ in range(codons - 2)) + stop

    def open_frame(self, length):
        """A piece of a gene, without its ends."""
        return "".join(self._codon() for _ in range(length // 3 + 1))[:length]

    def _codon(self):
        at = bisect(self._cumulative, self._chance.random() * self._cumulative[-1])
        return self._codons[min(at, len(self._codons) - 1)]

    def _spacer(self):
        return "".join("ACGT"[int(4 * self._chance.random())] for _ in range(40))


def reverse_complement(bases):
    return bases[::-1].translate(str.maketrans("ACGT", "TGCA"))


def records(chance):
    alpha3, parvovirus, comovirus, coli, streptococcus, archaeon = (
        Genome(accession, chance)
        for accession in ("NC_001330", "NC_001539", "NC_003549", "NC_007779", "CP000387", "CP001742")
    )
    yield "microvirus", "genes as in phage alpha3", alpha3.sequence(4500, gene_codons=200)
    yield (
        "parvovirus",
        "two long genes as in canine parvovirus, reverse strand",
        reverse_complement(parvovirus.gene(660) + parvovirus.gene(540)),
    )
    yield "comovirus", "one polyprotein as in cowpea mosaic virus", comovirus.gene(1860)
    yield "enterobacterium", "genes as in Escherichia coli", coli.sequence(6000)
    yield "streptococcus", "genes as in Streptococcus sanguinis", streptococcus.sequence(4500)
    yield "archaeon", "genes as in Acidilobus saccharovorans", archaeon.sequence(4000)
    yield (
        "provirus",
        "genes as in phage alpha3 between genes as in Escherichia coli, from base 5001 to 11000",
        coli.sequence(5000) + alpha3.sequence(6000, gene_codons=200) + coli.sequence(5000),
    )
    yield (
        "with_n",
        "a run of 1300 N: some windows cannot be read",
        comovirus.open_frame(1200) + "N" * 1300 + comovirus.open_frame(600),
    )
    yield "lower_case", "soft-masked: read as upper case", comovirus.open_frame(800).lower()
    yield "one_window", "exactly 500 bases", comovirus.open_frame(500)
    yield "two_windows", "501 bases: two windows that overlap", archaeon.open_frame(501)
    yield "short", "a read of 120 bases: one short window", coli.open_frame(120)
    yield "too_short", "two bases: no codon", "AC"


def main():
    for name, description, sequence in records(random.Random(1)):
        sys.stdout.write(f">{name} {description}\n")
        for start in range(0, len(sequence), LINE):
            sys.stdout.write(sequence[start : start + LINE] + "\n")


if __name__ == "__main__":
    main()
