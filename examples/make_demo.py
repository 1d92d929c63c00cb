#!/usr/bin/env python3
"""Writes demo.fa: artificial sequences, one per situation that a run has to account for.

The bases come from a seeded random generator; nothing in the file is of a living thing. Run it again and the
same bytes come out:

    python3 examples/make_demo.py > examples/demo.fa
"""

import random
import sys

# Holds a stop codon in each of the six frames.
STOPS_EVERYWHERE = "TTAATTAATTAA"
STOPS = {"TAA", "TAG", "TGA"}
LINE = 70


class Bases:
    """Random bases; `random()` is the one method whose sequence Python guarantees for a seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def some(self, length, gc=0.5):
        return "".join(self._one(gc) for _ in range(length))

    def open_frame(self, length, gc=0.5):
        """Codons without a stop, one after the other."""
        bases = ""
        while len(bases) < length:
            codon = self.some(3, gc)
            if codon not in STOPS:
                bases += codon
        return bases[:length]

    def closed(self, length, every=150, gc=0.5):
        """No window of 300 or 500 bases has an open frame."""
        bases = self.some(length, gc)
        for at in range(every // 2, length - len(STOPS_EVERYWHERE), every):
            bases = bases[:at] + STOPS_EVERYWHERE + bases[at + len(STOPS_EVERYWHERE) :]
        return bases

    def _one(self, gc):
        x = self._random.random()
        return ("G" if x < gc / 2 else "C") if x < gc else ("A" if x < (1 + gc) / 2 else "T")


def reverse_complement(bases):
    return bases[::-1].translate(str.maketrans("ACGT", "TGCA"))


def records(bases):
    yield "forward", "one long open frame on the forward strand", bases.open_frame(4500, gc=0.45)
    yield "reverse", "one long open frame on the reverse strand", reverse_complement(bases.open_frame(3600, gc=0.55))
    yield "chance", "random bases: open frames by chance only", bases.some(4000)
    yield "gc_rich", "few stops by composition: many frames stay open", bases.some(2500, gc=0.82)
    yield "at_rich", "many stops by composition: few frames stay open", bases.some(2500, gc=0.35)
    yield "no_open_frame", "stop codons in all six frames of every window", bases.closed(1500)
    yield (
        "mosaic",
        "an open stretch between closed ones, as an inserted gene",
        bases.closed(3000) + bases.open_frame(3000, gc=0.40) + bases.closed(3000),
    )
    yield (
        "with_n",
        "a run of 1300 N: some windows cannot be read",
        bases.open_frame(1200) + "N" * 1300 + bases.open_frame(600),
    )
    yield "lower_case", "soft-masked: read as upper case", bases.open_frame(800).lower()
    yield "one_window", "exactly 500 bases", bases.open_frame(500)
    yield "two_windows", "501 bases: two windows that overlap", bases.open_frame(501)
    yield "short", "a read of 120 bases: one short window", bases.open_frame(120)
    yield "too_short", "two bases: no codon", "AC"


def main():
    for name, description, sequence in records(Bases(1)):
        sys.stdout.write(f">{name} {description}\n")
        for start in range(0, len(sequence), LINE):
            sys.stdout.write(sequence[start : start + LINE] + "\n")


if __name__ == "__main__":
    main()
