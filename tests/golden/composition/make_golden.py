#!/usr/bin/env python3
"""Features of windows as the definition says, letter by letter, for comparison with src/composition.

Writes windows.txt, a window per line, and features.f32: 494 little-endian f32 for each. Needs nothing but Python. It
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
CLASSES = ("ACILMV", "FWY", "ST", "HNQ", "DE", "KR", "G", "P")
CODONS = ["".join(bases) for bases in itertools.product("ACGT", repeat=3)]


def other_strand(text):
    return "".join(PAIR.get(letter, letter) for letter in reversed(text))


def words(window, length):
    """All words of A, C, G and T, overlapping."""
    for start in range(len(window) - length + 1):
        word = window[start : start + length]
        if all(letter in PAIR for letter in word):
            yield word


def both_strands(window, length):
    return Counter([*words(window, length), *words(other_strand(window), length)])


def entropy(counts):
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts if count) + 0.0


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


def unlikeness(bases):
    """Chi-squared per base of the bases at three positions in turn."""
    table = [Counter(base for base in bases[position::3] if base in PAIR) for position in range(3)]
    total = sum(sum(column.values()) for column in table)
    found = 0.0
    for column in table:
        for base in "ACGT":
            expected = share(sum(column.values()) * sum(other[base] for other in table), total)
            found += share((column[base] - expected) ** 2, expected)
    return share(found, total)


def autocorrelation(window, positive, negative, distance):
    signs = [(letter in positive) - (letter in negative) for letter in window]
    mean = sum(signs) / max(len(signs), 1)
    variance = sum((sign - mean) ** 2 for sign in signs)
    if len(set(signs)) < 2:
        return 0.0
    return sum((a - mean) * (b - mean) for a, b in zip(signs, signs[distance:])) / variance


def variety(window):
    result = []
    for length in (4, 6, 8, 10):
        seen = list(words(window, length))
        result.append(share(len(set(seen)), len(seen)))
        result.append(share(sum(other_strand(word) in seen for word in seen), len(seen)))
        if length < 8:
            result.append(2**length * share(sum(other_strand(word) == word for word in seen), len(seen)))
        if length == 4:
            result.append(entropy(both_strands(window, 4).values()))
    scores = []
    for start in range(max(len(window) - 64, 0) + 1):
        counts = Counter(words(window[start : start + 64], 3))
        scores.append(sum(count * (count - 1) / 2 for count in counts.values()) / 61)
    return [*result, max(scores), sum(scores) / len(scores)]


def place(size, frames, runs, chosen, first, end):
    """Runs of the other frames by where their codons begin on the strand of the chosen one, and what lies about that."""
    strand, offset = divmod(chosen, 3)
    start = offset + 3 * first
    others = {}
    for frame, (_, _, number) in enumerate(runs):
        other_strand_of, other_offset = divmod(frame, 3)
        begins = other_offset if other_strand_of == strand else size - other_offset
        others[other_strand_of != strand, (begins - start) % 3] = 3 * number / size
    order = [(False, 1), (False, 2), (True, 0), (True, 1), (True, 2)]
    return [others[key] for key in order] + [start / size, (size - offset - 3 * end) / size]


def bias(readable):
    if not readable:
        return [0.0] * 6
    n = len(readable)
    uses, residues = Counter(readable), Counter(AMINO_ACID[codon] for codon in readable)
    thirds = {base: 1 + sum(codon[2] == base for codon in readable) for base in "ACGT"}
    distance = choice = 0.0
    for codon, count in uses.items():
        synonyms = [other for other in CODONS if AMINO_ACID[other] == AMINO_ACID[codon]]
        expected = thirds[codon[2]] / sum(thirds[other[2]] for other in synonyms)
        found = count / residues[AMINO_ACID[codon]]
        distance += count * math.log(found / expected)
        choice -= count * math.log(found)
    return [distance / n, distance, choice / n, *(entropy(c.values()) for c in (residues, thirds, uses))]


def features(window):
    size = max(len(window), 1)
    strands = (window, other_strand(window))
    frames = [codons_of(strand, offset) for strand in strands for offset in range(3)]
    runs = [longest_run(codons) for codons in frames]
    stops = [sum(codon in STOPS for codon in codons) for codons in frames]
    chosen = max(range(6), key=lambda frame: (runs[frame][2], -frame))
    first, end, number = runs[chosen]
    run = frames[chosen][first:end]
    bases = "".join(run)
    readable = [codon for codon in run if is_readable(codon)]
    count = Counter(letter for letter in window if letter in PAIR)
    a, c, g, t = (count[letter] for letter in "ACGT")

    result = sorted((3 * codons / size for _, _, codons in runs), reverse=True)
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
    triplets = both_strands(window, 3)
    result.append(entropy([triplets[word] for word in triplets if word < other_strand(word)]))

    result += place(size, frames, runs, chosen, first, end) if number else [0.0] * 7
    result += [unlikeness(bases), unlikeness(window)]
    result += [autocorrelation(window, "GC", "AT", distance) for distance in range(1, 13)]
    result += [autocorrelation(window, "AG", "CT", distance) for distance in (1, 2, 3, 6)]

    gc = share(g + c, a + c + g + t)
    expected = {"G": gc / 2, "C": gc / 2, "A": (1 - gc) / 2, "T": (1 - gc) / 2}
    both = both_strands(window, 2)
    total = sum(both.values())
    for one, other in itertools.product("ACGT", repeat=2):
        result.append(share(share(both[one + other], total), expected[one] * expected[other]))

    result += variety(window)

    uses = Counter(readable)
    residues = Counter(AMINO_ACID[codon] for codon in readable)
    result += [share(uses[codon], residues[AMINO_ACID[codon]]) for codon in CODONS]
    result += [share(residues[residue], n) for residue in RESIDUES]
    result += bias(readable)
    for phase in (1, 2):
        across = Counter(word for word in codons_of(bases, phase) if is_readable(word))
        result += [share(across[codon], sum(across.values())) for codon in CODONS]
    classes = [next((i for i, c in enumerate(CLASSES) if AMINO_ACID.get(codon, "?") in c), None) for codon in run]
    for gap in (2, 3, 4):
        pairs = Counter(pair for pair in zip(classes, classes[gap:]) if None not in pair)
        result += [share(pairs[pair], sum(pairs.values())) for pair in itertools.product(range(8), repeat=2)]

    assert len(result) == 494, len(result)
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
            out.write(struct.pack("<494f", *features(window)))


if __name__ == "__main__":
    main()
