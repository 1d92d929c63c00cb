"""Bundles to check with: the one of tiny encoders with vectors of the original program, and a wider one with random weights."""

import json
import shutil
from pathlib import Path

import tensors

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "e2e-own"
UNTRAINED = ROOT / "bundles" / "untrained"
# What `models verify` reads of one file.
MOST = 64


def golden(folder, residues):
    """Copies of that bundle whose stored vectors are those of the original program, for frames of so many residues
    or more: paths, and frames in all."""
    made, total = [], 0
    digest = json.loads((UNTRAINED / "vectors.json").read_text())["bundle"]
    for window in ("500", "300"):
        rows = [row for row in _rows(GOLDEN / f"orig_{window}") if len(row["protein"]) >= residues]
        total += len(rows)
        for start in range(0, len(rows), MOST):
            bundle = folder / f"golden-{residues}-{window}-{start}"
            shutil.copytree(UNTRAINED, bundle)
            stored = {"bundle": digest, "made_by": "the original program", "sequences": rows[start : start + MOST]}
            (bundle / "vectors.json").write_text(json.dumps(stored))
            made.append(bundle)
    return made, total


def _rows(folder):
    """Sequences with their vectors and scores, as `vectors.json` has them."""
    nucleotides = _fasta(folder / "input_identified_nucleotide.fa")
    proteins = dict(_fasta(folder / "input_identified_protein.faa"))
    scores = {}
    for line in (folder / "prediction_results.txt").read_text().splitlines()[1:]:
        name, _, others, virus = line.split("\t")
        scores[name] = [float(others), float(virus)]
    ((shape, values),) = tensors.read(folder / "merged.safetensors").values()
    if shape[0] != len(nucleotides):
        raise ValueError(f"{folder}: {shape[0]} vectors of {len(nucleotides)} sequences")
    width, split = shape[1], 48
    rows = []
    for number, (name, letters) in enumerate(nucleotides):
        if not letters.isalpha():
            continue  # a gap, which stored sequences cannot hold
        vector = values[number * width : (number + 1) * width]
        rows.append(
            {
                "nucleotides": letters,
                "protein": proteins[name],
                "dnabert": list(vector[:split]),
                "esm": list(vector[split:]),
                "scores": scores[name],
            }
        )
    return rows


def _fasta(path):
    records = []
    for line in path.read_text().splitlines():
        if line.startswith(">"):
            records.append([line[1:].split()[0], ""])
        else:
            records[-1][1] += line.strip().upper()
    return [tuple(record) for record in records]


# Sizes of its models and those of the wider ones, whose heads are 64 wide as in all published models.
DNABERT = {48: 256, 144: 768, 96: 512, 192: 1024}
ESM = {64: 256, 256: 1024, 8: 32}
HEAD = {112: 512}


def wide(folder, program):
    """A bundle with random weights and heads of 64, imported by the program, which stores its vectors in f32 on the CPU."""
    parts = folder / "wide-parts"
    for part, sizes, seed in (("dnabert", DNABERT, 1), ("esm", ESM, 2)):
        (parts / part).mkdir(parents=True)
        config = json.loads((UNTRAINED / part / "config.json").read_text())
        config.update(hidden_size=256, num_attention_heads=4)
        config["intermediate_size"] = sizes[config["intermediate_size"]]
        (parts / part / "config.json").write_text(json.dumps(config))
        model = tensors.read(UNTRAINED / part / "model.safetensors")
        tensors.write(parts / part / "model.safetensors", tensors.widened(model, sizes, seed))
    shutil.copy(UNTRAINED / "dnabert" / "tokenizer.json", parts / "dnabert")
    head = tensors.read(UNTRAINED / "head.safetensors")
    tensors.write(parts / "head.safetensors", tensors.widened(head, HEAD, 3))
    bundle = folder / "wide"
    program.must(
        *("models", "import", "-q", "--untrained", "--name", "wide", "--dnabert", parts / "dnabert"),
        *("--esm", parts / "esm", "--head", parts / "head.safetensors", "--window", "500", "-o", bundle),
    )
    return bundle
