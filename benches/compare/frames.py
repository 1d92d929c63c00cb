"""Seeded random frames: of one length, or of the lengths that windows of real input give."""

import random

SEED = 20261126
WINDOW = 500
RESIDUES = 166
TOKENS = 100
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def mixed_frames(source):
    """Residues and bases of frames without end: three quarters of full windows, the rest of reads shorter than one."""
    while True:
        window = WINDOW if source.random() < 0.75 else source.randint(150, WINDOW - 1)
        readable = window - source.randrange(3)
        yield readable // 3, min(readable, readable // 3 * 3 + 1)


def letters(source, alphabet, length):
    return "".join(source.choices(alphabet, k=length))


def proteins(count, lengths):
    source = random.Random(SEED)
    mixed = mixed_frames(source)
    sizes = [RESIDUES if lengths == "fixed" else next(mixed)[0] for _ in range(count)]
    return [letters(source, AMINO_ACIDS, size) for size in sizes]


def nucleotides(count, lengths, tokenizer):
    source = random.Random(SEED)
    if lengths == "fixed":
        return [of_exact_tokens(source, tokenizer) for _ in range(count)]
    mixed = mixed_frames(source)
    sizes = [next(mixed)[1] for _ in range(count)]
    return [letters(source, "ACGT", size) for size in sizes]


def of_exact_tokens(source, tokenizer):
    """A sequence of TOKENS tokens, [CLS] and [SEP] included. A cut sequence may be told apart otherwise: try on."""
    while True:
        whole = tokenizer.encode(letters(source, "ACGT", 2 * WINDOW)).tokens
        cut = "".join(whole[1 : TOKENS - 1])
        if len(tokenizer.encode(cut)) == TOKENS:
            return cut
