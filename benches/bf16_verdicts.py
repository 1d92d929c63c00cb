#!/usr/bin/env python3
"""How many verdicts `--dtype bf16` changes, with heads fitted on the f32 vectors of real fragments.

    python3 benches/bf16_verdicts.py [--model mini] [--fit 600] [--test 200] [--against OLD]

Needs torch, numpy and pyarrow (benches/compare/setup.sh installs them), a processor with AVX512-BF16 or AMX, and genomes
that the repository does not carry: a folder with `train` and `valid`, each with `viral.fna.gz` and other groups as
`*.fna.gz`. One piece of `--windows` times 500 bases is cut from each of so many viral and as many other genomes, by a fixed
seed; heads are fitted on pieces of `train` and verdicts compared on pieces of `valid`. A head has the original's
shape (Linear, BatchNorm, ReLU, dropout, Linear) and sees vectors as they are. Several are fitted, since one more or one
less verdict near 0.5 is chance. `--against` adds the bf16 of another build, compared with the same f32 vectors.
"""

import argparse
import gzip
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
SEED = 20261126
WINDOW = 500
HIDDEN = 512
PATIENCE = 5
VIRUS = 1
BOUND = 0.005


def records(path):
    """Accession and sequence of each record: several records may be parts of one genome."""
    with gzip.open(path, "rt") as source:
        for entry in source.read().split(">")[1:]:
            header, _, sequence = entry.partition("\n")
            yield header.split()[0].split(":")[0], sequence.replace("\n", "").upper()


def pieces(folder, count, length):
    """Of `count` viral and `count` other genomes: a name, which begins with the label, and the bases."""
    source = random.Random(SEED)
    for label in (0, VIRUS):
        files = sorted(path for path in folder.glob("*.fna.gz") if path.name.startswith("viral") == bool(label))
        genomes = {name: bases for path in files for name, bases in records(path) if len(bases) >= length}
        for number, name in enumerate(source.sample(sorted(genomes), min(count, len(genomes)))):
            start = source.randint(0, len(genomes[name]) - length)
            yield f"{label}-{number}", genomes[name][start : start + length]


class Part:
    """Frames of one part of the genomes, and their vectors."""

    def __init__(self, folder, name, count, options):
        self.folder, self.model, self.threads = folder / name, options.model, options.threads
        self.folder.mkdir()
        cut = list(pieces(options.genomes / name, count, WINDOW * options.windows))
        (self.folder / "in.fa").write_text("".join(f">{name}\n{bases}\n" for name, bases in cut))
        self.windows = self.folder / "windows"
        call(options.binary, "chunk", self.folder / "in.fa", "--window", WINDOW, "-o", self.windows)

    def vectors(self, binary, dtype):
        """Ids of frames, merged vectors [N, D], and the width of their DNABERT-S half."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        sides = {side: place / side for side in ("dnabert", "esm")}
        settings = ["--model", self.model, "--dtype", dtype, "--device", "cpu", "--threads", self.threads]
        for side, output in sides.items():
            call(binary, f"embed-{side}", self.windows, *settings, "-o", output)
        call(binary, "merge", "--dnabert", sides["dnabert"], "--esm", sides["esm"], "-o", place / "merged")
        (ids, merged), (_, dnabert) = table(place / "merged"), table(sides["dnabert"])
        return ids, merged, dnabert.shape[1]


def call(*command):
    subprocess.run([*map(str, command), "--quiet"], check=True, stdout=subprocess.DEVNULL)


def table(folder):
    rows = pyarrow.parquet.read_table(sorted(folder.glob("*.parquet")))
    vectors = rows["embedding"].combine_chunks()
    return rows["id"].to_pylist(), vectors.flatten().to_numpy().reshape(len(rows), -1)


def fitted(vectors, labels, seed):
    """A head, in evaluation mode, as it was after the pass with the least loss on a tenth of the genomes left out."""
    torch.manual_seed(seed)
    head = torch.nn.Sequential(
        torch.nn.Linear(vectors.shape[1], HIDDEN),
        torch.nn.BatchNorm1d(HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(HIDDEN, 2),
    )
    x, y = torch.tensor(vectors), torch.tensor(labels)
    # Frames of one genome stand together: blocks of them keep most genomes whole.
    blocks = torch.arange(len(x)) * 100 // len(x)
    held = torch.isin(blocks, torch.randperm(100)[:10])
    rows = torch.nonzero(~held).flatten()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.01)
    loss = torch.nn.CrossEntropyLoss()
    best, kept, waited = float("inf"), None, 0
    while waited < PATIENCE:
        head.train()
        for batch in rows[torch.randperm(len(rows))].split(64):
            if len(batch) > 1:
                optimizer.zero_grad()
                loss(head(x[batch]), y[batch]).backward()
                optimizer.step()
        head.eval()
        with torch.no_grad():
            now = loss(head(x[held]), y[held]).item()
        waited += 1
        if now < best:
            best, kept, waited = now, {name: value.clone() for name, value in head.state_dict().items()}, 0
    head.load_state_dict(kept)
    return head


def scores(head, vectors):
    with torch.no_grad():
        return torch.softmax(head(torch.tensor(vectors)), 1).numpy()


def verdicts(ids, scored):
    """Of frames, windows and records, by the rules of `predict`."""
    frames = [bool(virus > others) for others, virus in scored]
    best, shares = {}, {}
    for frame, row in zip(ids, scored):
        window = frame[:-2]
        best[window] = np.maximum(best.get(window, row), row)
    windows = {window: bool(virus >= others) for window, (others, virus) in best.items()}
    for window, viral in windows.items():
        shares.setdefault(window.rpartition("_chunk_")[0], []).append(viral)
    shares = {record: round(sum(viral) / len(viral), 4) for record, viral in shares.items()}
    records = ["viral" if share >= 0.5 else "mixed" if share >= 0.1 else "non-viral" for share in shares.values()]
    return {"frames": frames, "windows": list(windows.values()), "records": records}


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def spread(values):
    return f"{np.median(values):.1e} (median), {np.quantile(values, 0.95):.1e} (95 %), {values.max():.1e} (most)"


def compare(name, part, other, heads):
    """Prints what changes from one set of vectors to another; the share of frame verdicts that do, over all heads."""
    ids, exact, dnabert = part
    for side, columns in (("DNABERT-S", slice(None, dnabert)), ("ESM-2", slice(dnabert, None))):
        a, b = exact[:, columns].astype(float), other[:, columns].astype(float)
        centre = a.mean(0)
        least, centred = cosines(a, b).min(), cosines(a - centre, b - centre)
        print(
            f"{name}: {side} cosine {least:.6f} (least), centred {centred.min():.5f}, {np.median(centred):.5f} (median)"
        )
    pairs = [(scores(head, exact), scores(head, other)) for head in heads]
    moved = np.concatenate([np.abs(a - b)[:, VIRUS] for a, b in pairs])
    print(f"{name}: scores move by {spread(moved)}")
    crossed = [np.abs(a - 0.5)[(a > 0.5) != (b > 0.5)] for a, b in ((a[:, VIRUS], b[:, VIRUS]) for a, b in pairs)]
    print(f"{name}: frames that change score within {np.concatenate(crossed).max(initial=0):.3f} of 0.5 in f32")
    both = [(verdicts(ids, a), verdicts(ids, b)) for a, b in pairs]
    for kind in both[0][0]:
        changed = [sum(x != y for x, y in zip(a[kind], b[kind])) for a, b in both]
        total = len(both[0][0][kind])
        share = sum(changed) / total / len(heads)
        print(f"{name}: {kind:7} {share:7.3%} of {total} changed; by head {' '.join(map(str, changed))}")
        if kind == "frames":
            frames = share
    return frames


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=REPOSITORY / "target/release/virnucpro", type=Path)
    parser.add_argument("--against", type=Path, help="another build")
    parser.add_argument("--model", default="mini", help="bundle")
    parser.add_argument("--genomes", default=REPOSITORY.parent / "shared/genomes", type=Path, help="their folder")
    parser.add_argument("--fit", default=600, type=int, help="genomes of each label for the fit")
    parser.add_argument("--test", default=200, type=int, help="genomes of each label for the test")
    parser.add_argument("--windows", default=6, type=int, help="of each genome")
    parser.add_argument("--heads", default=5, type=int)
    parser.add_argument("--threads", default=2, type=int)
    options = parser.parse_args()
    # Threads of so small a product would only wait for each other.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fit = Part(Path(folder), "train", options.fit, options)
        test = Part(Path(folder), "valid", options.test, options)
        ids, vectors, _ = fit.vectors(options.binary, "f32")
        heads = [fitted(vectors, np.array([int(name[0]) for name in ids]), SEED + n) for n in range(options.heads)]
        part = test.vectors(options.binary, "f32")
        right = [np.mean(scores(head, part[1]).argmax(1) == [int(name[0]) for name in part[0]]) for head in heads]
        print(f"model {options.model}: {len(ids)} frames for the fit, {len(part[0])} for the test")
        print(f"f32: {np.mean(right):.1%} of the frames are told rightly ({min(right):.1%} to {max(right):.1%})")
        share = compare("bf16", part, test.vectors(options.binary, "bf16")[1], heads)
        if options.against:
            compare("other bf16", part, test.vectors(options.against, "bf16")[1], heads)
    return int(share > BOUND)


if __name__ == "__main__":
    sys.exit(main())
