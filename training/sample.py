#!/usr/bin/env python3
"""Draws labelled windows of genomes: FASTA, and a table of labels as `virnucpro train` and `evaluate` read it.

    sample.py windows GENOMES --number 1000000 --fasta windows.fa.gz --labels windows.tsv
    sample.py windows GENOMES --contigs 1000-50000 --number 4000 --fasta contigs.fa.gz --labels contigs.tsv
    sample.py fragments FRAGMENTS.fa.gz --genomes GENOMES --length 300 --fasta valid.fa.gz --labels valid.tsv

GENOMES holds a folder per split with FASTA files, `train/*.fna.gz` and `valid/*.fna.gz`, and `sources.tsv.gz`, which names
the genus key (column `genus_key`, the `group` of a label) and the licence tier of every record. Headers name the group and
category: `source|accession organism [group=viral] [cat=phage]`.

One half of the windows is viral. Within a class, categories have the weights of WEIGHTS; within a category, a genus is drawn
in proportion to the square root of its bases; within a genus, a record in proportion to its length to the power of 0.7. Only
the standard library is needed, and a seed gives the same windows on any machine.
"""

import argparse
import bisect
import collections
import contextlib
import csv
import gzip
import io
import itertools
import os
import random
import re
import sys

WEIGHTS = {
    "virus": {"phage": 40, "RNA": 28, "large_dsDNA_euk": 12, "ssDNA": 8, "archaeal_virus": 6.5, "RT": 5.5},
    "others": {"bacteria": 49, "other_euk": 17.5, "plasmid": 13, "archaea": 11, "fungi": 9.5},
}
CLASSES = {category: label for label, categories in WEIGHTS.items() for category in categories}
GENUS_EXPONENT = 0.5
LENGTH_EXPONENT = 0.7
# The share of other letters from which a window is drawn again.
OTHER_LETTERS = 0.02
LENGTHS = "500:0.4,300:0.2,150:0.1,300-500:0.2,150-300:0.1"
# Eukaryota of these genera are fungi. Their headers do not say so.
FUNGI = {
    "Actinomucor",
    "Aspergillus",
    "Candida",
    "Cryptococcus",
    "Fusarium",
    "Mucor",
    "Neurospora",
    "Pilobolus",
    "Rhizopus",
    "Saccharomyces",
    "Schizosaccharomyces",
    "Zygorhynchus",
}
COMPLEMENT = str.maketrans("ACGTRYKMBVDH", "TGCAYRMKVBHD")
# Attempts in a row that may give no window: more mean that the records hold none.
ATTEMPTS = 100_000

Record = collections.namedtuple("Record", "id category genus bases clean")
Window = collections.namedtuple("Window", "record start end reverse")


class Refusal(Exception):
    """What is wrong with the input, for the user."""


def open_text(path, mode="r"):
    """A text file, compressed where its name ends in .gz."""
    if not path.endswith(".gz"):
        return open(path, mode, encoding="utf-8", newline="\n" if mode == "w" else None)
    return gzip.open(path, "rt", encoding="utf-8") if mode == "r" else _packed(path)


@contextlib.contextmanager
def _packed(path):
    """A gzip file without a time, so that the same text gives the same bytes; written in large pieces, which is faster."""
    with (
        open(path, "wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
        io.BufferedWriter(packed, 1 << 20) as buffer,
        io.TextIOWrapper(buffer, "utf-8", newline="\n") as text,
    ):
        yield text


def fasta(path):
    """Headers without `>`, and sequences in upper case."""
    header, lines = None, []
    with open_text(path) as file:
        for number, line in enumerate(map(str.strip, file), 1):
            if line.startswith(">"):
                if header is not None:
                    yield header, "".join(lines).upper()
                header, lines = line[1:], []
            elif header is not None:
                lines.append(line)
            elif line:
                raise Refusal(f"{path}, line {number}: expected a FASTA header, found '{line[:40]}'")
    if header is not None:
        yield header, "".join(lines).upper()


def read_sources(genomes):
    """Genus key and licence tier of each record by its id."""
    path = os.path.join(genomes, "sources.tsv.gz")
    with open_text(path) as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing = {"record_id", "genus_key", "licence_tier"} - set(rows.fieldnames or [])
        if missing:
            raise Refusal(f"{path}: column '{min(missing)}' is missing")
        return {row["record_id"]: (row["genus_key"], row["licence_tier"][:1]) for row in rows}


def read_records(genomes, splits, tiers):
    """The records of some splits whose licence tier is one of `tiers`."""
    sources = read_sources(genomes)
    for split in splits:
        folder = os.path.join(genomes, split)
        names = [name for name in sorted(os.listdir(folder)) if re.search(r"\.(fna|fa|fasta)(\.gz)?$", name)]
        if not names:
            raise Refusal(f"{folder}: no FASTA files")
        for path in (os.path.join(folder, name) for name in names):
            for header, bases in fasta(path):
                record_id = header.split()[0]
                if record_id not in sources:
                    raise Refusal(f"{path}: record '{record_id}' is not in sources.tsv.gz")
                genus, tier = sources[record_id]
                if tier in tiers:
                    clean = not re.search("[^ACGT]", bases)
                    yield Record(record_id, category_of(header, genus), genus, bases, clean)


def category_of(header, genus):
    """The category that a header names; eukaryota are fungi or others."""
    found = re.search(r"\[cat=([^\]]+)\]", header)
    category = found.group(1) if found else "missing"
    if category == "eukaryota":
        category = "fungi" if genus in FUNGI else "other_euk"
    if category not in CLASSES:
        raise Refusal(f"record '{header.split()[0]}': category '{category}' is not one of {', '.join(CLASSES)}")
    return category


class Lengths:
    """Lengths with their shares, from text as `500:0.5,300-500:0.5`."""

    def __init__(self, text):
        self._terms, shares = [], []
        for term in text.split(","):
            found = re.fullmatch(r"(\d+)(?:-(\d+))?(?::([0-9.]+))?", term.strip())
            if not found:
                raise Refusal(f"'{term}' is not a length; write 500, 500:0.4 or 300-500:0.2")
            low, high = int(found[1]), int(found[2] or found[1])
            if not 1 <= low <= high:
                raise Refusal(f"'{term}' is not a length: the first number must be at least 1 and at most the second")
            self._terms.append((low, high))
            shares.append(float(found[3] or 1))
        self._choice = Choice(self._terms, shares)
        self.shortest = min(low for low, _ in self._terms)

    def draw(self, chance):
        low, high = self._choice.draw(chance)
        return low + int(chance() * (high - low + 1))


class Contigs:
    """Lengths spread evenly over orders of magnitude; a shorter record is taken whole."""

    def __init__(self, text):
        found = re.fullmatch(r"(\d+)-(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise Refusal(f"'{text}' is not a range of lengths; write 1000-50000")
        self.shortest, self._longest = int(found[1]), int(found[2])

    def draw(self, chance):
        return round(self.shortest * (self._longest / self.shortest) ** chance())


class Choice:
    """One of several, by weights. Weights are whole numbers, so that sums are the same on any machine."""

    def __init__(self, options, weights):
        self._options = options
        scale = 1e12 / (max(weights, default=0) or 1)
        self._sums = list(itertools.accumulate(round(weight * scale) for weight in weights))
        if not self._sums or not self._sums[-1]:
            raise Refusal("nothing to choose from: weights or shares are all zero")

    def draw(self, chance):
        return self._options[bisect.bisect_right(self._sums, int(chance() * self._sums[-1]))]


class Genomes:
    """Records to draw from: class, category, genus, record."""

    def __init__(self, records, without):
        by_category = collections.defaultdict(lambda: collections.defaultdict(list))
        for record in records:
            if record.category not in without:
                by_category[record.category][record.genus].append(record)
        self._classes = []
        for label, weights in WEIGHTS.items():
            present = [category for category in weights if by_category[category]]
            if not present:
                raise Refusal(f"no records of class '{label}' are left to draw from")
            genera = [_genera(by_category[category]) for category in present]
            self._classes.append(Choice(genera, [weights[category] for category in present]))

    def draw(self, chance):
        """A record of each class with probability one half."""
        return self._classes[int(chance() * 2)].draw(chance).draw(chance).draw(chance)


def _genera(by_genus):
    """The choice of a genus of one category; each is the choice of a record."""
    genera = sorted(by_genus)
    records = [Choice(by_genus[genus], [len(r.bases) ** LENGTH_EXPONENT for r in by_genus[genus]]) for genus in genera]
    sizes = [sum(len(record.bases) for record in by_genus[genus]) for genus in genera]
    return Choice(records, [size**GENUS_EXPONENT for size in sizes])


def draw_windows(genomes, lengths, number, seed, shorten=False):
    """Windows at uniform places on either strand; where `shorten`, a record shorter than its window is taken whole."""
    # random() is the one method whose sequence Python promises to keep for a seed.
    chance = random.Random(seed).random
    drawn = attempts = 0
    while drawn < number:
        attempts += 1
        if attempts > ATTEMPTS:
            raise Refusal("the records left to draw from hold no window of these lengths")
        record, length = genomes.draw(chance), lengths.draw(chance)
        if shorten:
            length = min(length, len(record.bases))
        if length > len(record.bases) or length < lengths.shortest:
            continue
        start = int(chance() * (len(record.bases) - length + 1))
        window = Window(record, start, start + length, chance() < 0.5)
        if not record.clean and _other_letters(record.bases[start : start + length]) >= OTHER_LETTERS:
            continue
        drawn, attempts = drawn + 1, 0
        yield window


def _other_letters(bases):
    return 1 - sum(map(bases.count, "ACGT")) / len(bases)


def reverse_complement(bases):
    return bases[::-1].translate(COMPLEMENT)


class Output:
    """A FASTA file and its labels."""

    def __init__(self, arguments, stack):
        self._fasta = stack.enter_context(open_text(arguments.fasta, "w"))
        self._labels = stack.enter_context(open_text(arguments.labels, "w"))
        self._labels.write("sequence\tlabel\tgroup\tcategory\n")
        self.counts = collections.Counter()

    def write(self, name, bases, category, group):
        sequence = name.split(" ", 1)[0]
        self._fasta.write(f">{name}\n{bases}\n")
        self._labels.write(f"{sequence}\t{CLASSES[category]}\t{group}\t{category}\n")
        self.counts[category] += 1


def windows(arguments, output):
    """The command `windows`."""
    lengths = Contigs(arguments.contigs) if arguments.contigs else Lengths(arguments.lengths)
    tiers = set("ABCD") - set(arguments.without_tier)
    genomes = Genomes(read_records(arguments.genomes, arguments.split, tiers), set(arguments.without))
    drawn = draw_windows(genomes, lengths, arguments.number, arguments.seed, shorten=bool(arguments.contigs))
    digits = max(7, len(str(arguments.number)))
    for number, (record, start, end, reverse) in enumerate(drawn):
        bases = record.bases[start:end]
        strand = "-" if reverse else "+"
        name = f"{arguments.prefix}{number:0{digits}} {record.id}:{start + 1}-{end}{strand}"
        output.write(name, reverse_complement(bases) if reverse else bases, record.category, record.genus)


def fragments(arguments, output):
    """The command `fragments`: the middle of given ones, whose ids name their category."""
    given = [(header.split()[0], bases) for header, bases in fasta(arguments.fragments)]
    groups = find_groups(given, read_records(arguments.genomes, arguments.split, "ABCD")) if arguments.genomes else {}
    for fragment_id, bases in given:
        sequence, _, category, *_ = [*fragment_id.split("|"), "", ""]
        if category not in CLASSES:
            raise Refusal(f"fragment '{fragment_id}': expected an id like 't00001|viral|phage|source'")
        length = min(arguments.length or len(bases), len(bases))
        start = (len(bases) - length) // 2
        output.write(sequence, bases[start : start + length], category, groups.get(fragment_id, ""))


def find_groups(given, records):
    """The genus of the record that holds a fragment, on either strand."""
    by_source = collections.defaultdict(list)
    for record in records:
        by_source[record.id.split("|")[0], record.category].append(record)
    groups = {}
    for fragment_id, bases in given:
        category, source = [*fragment_id.split("|"), "", ""][2:4]
        either = (bases, reverse_complement(bases))
        for record in by_source[source, category]:
            if any(strand in record.bases for strand in either):
                groups[fragment_id] = record.genus
                break
    return groups


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    drawn = commands.add_parser("windows", help="draw windows of genomes")
    drawn.add_argument("genomes", help="folder of the genomes")
    drawn.add_argument("--number", type=int, required=True, help="windows to draw")
    drawn.add_argument("--split", nargs="+", default=["train"], help="folders to draw from (default: train)")
    drawn.add_argument("--lengths", default=LENGTHS, help="lengths or ranges with shares (default: %(default)s)")
    drawn.add_argument(
        "--contigs", metavar="FROM-TO", help="contigs of these lengths, short records whole, instead of windows"
    )
    drawn.add_argument(
        "--without", nargs="+", default=[], choices=CLASSES, metavar="CATEGORY", help="categories left out"
    )
    drawn.add_argument("--without-tier", nargs="+", default=[], choices="ABCD", help="licence tiers left out")
    drawn.add_argument("--seed", type=int, default=1, help="seed (default: %(default)s)")
    drawn.add_argument("--prefix", default="w", help="what ids begin with (default: %(default)s)")
    drawn.set_defaults(run=windows)
    fixed = commands.add_parser("fragments", help="label fragments whose ids name their category")
    fixed.add_argument("fragments", help="FASTA with ids like 't00001|viral|phage|source'")
    fixed.add_argument("--genomes", help="folder of the genomes that they were cut from, to name their groups")
    fixed.add_argument("--split", nargs="+", default=["valid"], help="folders to look in (default: valid)")
    fixed.add_argument("--length", type=int, help="take the central bases of each fragment")
    fixed.set_defaults(run=fragments)
    for command in (drawn, fixed):
        command.add_argument("--fasta", required=True, help="FASTA to write, compressed if its name ends in .gz")
        command.add_argument("--labels", required=True, help="labels to write, as a TSV file")
    return parser.parse_args(words)


def main(words=None):
    arguments = parse(words)
    try:
        with contextlib.ExitStack() as stack:
            output = Output(arguments, stack)
            arguments.run(arguments, output)
    except (Refusal, OSError) as error:
        print(f"sample.py: {error}", file=sys.stderr)
        return 1
    for category, count in sorted(output.counts.items()):
        print(f"{CLASSES[category]}\t{category}\t{count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
