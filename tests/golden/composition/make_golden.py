#!/usr/bin/env python3
"""Features of windows as the definition says, letter by letter, for comparison with src/composition.

Writes windows.txt, a window per line, and features.f32: 1,210 little-endian f32 for each. Needs nothing but Python. It
shares no code with the program and is made for reading, not for speed.
"""

import itertools
import math
import random
import struct
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAIR = {"A": "T", "C": "G", "G": "C", "T": "A"}
STOPS = ("TAA", "TAG", "TGA")
# NCBI table 1, bases in the order T, C, A, G.
TABLE = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
AMINO_ACID = dict(zip(map("".join, itertools.product("TCAG", repeat=3)), TABLE))
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def other_strand(text):
    return "".join(PAIR.get(letter, letter) for letter in reversed(text))


def words(window, length):
    """All words of A, C, G and T, overlapping."""
    for start in range(len(window) - length + 1):
        word = window[start : start + length]
        if all(letter in PAIR for letter in word):
            yield word


def word_frequencies(window, length):
    counts = Counter(min(word, other_strand(word)) for word in words(window, length))
    alphabet = map("".join, itertools.product("ACGT", repeat=length))
    canonical = [word for word in alphabet if word <= other_strand(word)]
    total = sum(counts.values())
    return [counts[word] / total if total else 0.0 for word in canonical]


def codons_of(strand, offset):
    return [strand[start : start + 3] for start in range(offset, len(strand) - 2, 3)]


def is_readable(codon):
    return all(letter in PAIR for letter in codon)


def longest_run(codons):
    """The longest run without a stop, the first of equal ones: where it begins, where it ends, its codons that can be read."""
    best, start = (0, 0, 0), 0
    for place, codon in enumerate([*codons, "TAA"]):
        if codon in STOPS:
            length = sum(map(is_readable, codons[start:place]))
            if length > best[2]:
                best = (start, place, length)
            start = place + 1
    return best


def share(part, whole):
    return part / whole if whole else 0.0


def features(window):
    size = max(len(window), 1)
    frames = [codons_of(strand, offset) for strand in (window, other_strand(window)) for offset in range(3)]
    runs = [longest_run(codons) for codons in frames]
    stops = [sum(codon in STOPS for codon in codons) for codons in frames]
    chosen = max(range(6), key=lambda frame: (runs[frame][2], -frame))
    first, end, number = runs[chosen]
    run = frames[chosen][first:end]
    readable = [codon for codon in run if is_readable(codon)]
    count = Counter(letter for letter in window if letter in PAIR)
    a, c, g, t = (count[letter] for letter in "ACGT")

    result = []
    for length in (3, 4, 5):
        result += word_frequencies(window, length)

    result += sorted((3 * codons / size for _, _, codons in runs), reverse=True)
    result += sorted(300 * number / size for number in stops)
    result.append(sum(number == 0 for number in stops))
    result += [share(g + c, a + c + g + t), share(abs(g - c), g + c), share(abs(t - a), a + t)]
    positions = [Counter(codon[place] for codon in readable) for place in range(3)]
    n = len(readable)
    result += [share(position["G"] + position["C"], n) for position in positions]
    result += [share(position["G"] - position["C"], n) for position in positions]
    result += [share(position["A"] - position["T"], n) for position in positions]
    result += [float(number > 0 and first == 0), float(number > 0 and end == len(frames[chosen]))]
    result.append(3 * number / size)
    stretches = [len(list(group)) for letter, group in itertools.groupby(window) if letter in PAIR]
    result.append(max(stretches, default=0))
    result.append(-sum(f * math.log(f) for f in word_frequencies(window, 3) if f) + 0.0)

    uses = Counter(readable)
    residues = Counter(AMINO_ACID[codon] for codon in readable)
    for codon in map("".join, itertools.product("ACGT", repeat=3)):
        result.append(share(uses[codon], residues[AMINO_ACID[codon]]))
    result += [share(residues[residue], n) for residue in RESIDUES]
    neighbours = Counter(
        AMINO_ACID[left] + AMINO_ACID[right]
        for left, right in itertools.pairwise(run)
        if left in AMINO_ACID and right in AMINO_ACID
    )
    total = sum(neighbours.values())
    result += [share(neighbours[one + other], total) for one in RESIDUES for other in RESIDUES]

    gc = share(g + c, a + c + g + t)
    expected = {"G": gc / 2, "C": gc / 2, "A": (1 - gc) / 2, "T": (1 - gc) / 2}
    both = Counter(words(window, 2)) + Counter(words(other_strand(window), 2))
    total = sum(both.values())
    for one, other in itertools.product("ACGT", repeat=2):
        result.append(share(share(both[one + other], total), expected[one] * expected[other]))

    assert len(result) == 1210
    return result


def examples():
    """Windows of every kind: chance, genes on either strand, other letters, short ones."""
    draw = random.Random(20)
    open_codons = [codon for codon in AMINO_ACID if codon not in STOPS]

    def chance(length, letters="ACGT", weights=None):
        return "".join(draw.choices(letters, weights, k=length))

    def gene(codons):
        return "".join(draw.choices(open_codons, [1 + (place % 7) for place in range(len(open_codons))], k=codons))

    yield from (
        chance(500),
        chance(500, weights=[1, 3, 3, 1]),
        chance(500, weights=[4, 1, 1, 4]),
        chance(300),
        chance(150),
    )
    yield from (gene(160) + chance(20), other_strand(gene(120) + "TAA" + chance(137)), "G" + gene(99) + "TT", gene(50))
    yield from (
        chance(400, "ACGTNRY", [20, 20, 20, 20, 1, 1, 1]),
        gene(60) + "NNNN" + gene(80),
        "N" * 200 + chance(200),
        "N" * 300 + gene(30) + "TAA" + chance(107),
    )
    yield from (
        "ACGACG",
        "TAATAATAA",
        "AT",
        "A",
        "ACG",
        "AAAAAAAAAAAAAAAA",
        "NNNNNNNN",
        chance(17),
        "CGCGCGCGCGCGCGCGCG",
    )


def main():
    windows = list(examples())
    (HERE / "windows.txt").write_text("".join(f"{window}\n" for window in windows))
    with (HERE / "features.f32").open("wb") as out:
        for window in windows:
            out.write(struct.pack("<1210f", *features(window)))


if __name__ == "__main__":
    main()
