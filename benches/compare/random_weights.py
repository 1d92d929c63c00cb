#!/usr/bin/env python3
"""Checkpoints of random weights, as Hugging Face publishes them, and bundles of them.

    random_weights.py --shape esm2-650m --layers 6 [--folder target/compare] [--binary target/release/virnucpro]
    random_weights.py --shape esm2-8m --beside dnabert-s --beside-layers 4

A checkpoint is model.safetensors (f32), config.json and, for DNABERT-S, tokenizer.json. Same shape, same numbers.
Weights are scaled by the width of their inputs, so that hidden states keep their size through any number of layers.
"""

import argparse
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

REPOSITORY = Path(__file__).resolve().parents[2]
MINI = REPOSITORY / "bundles/untrained"
CACHE = REPOSITORY / "target/compare"
BINARY = REPOSITORY / "target/release/virnucpro"
SEED = 20261126
HIDDEN = 16


@dataclass(frozen=True)
class Shape:
    name: str
    family: str
    layers: int
    width: int
    heads: int
    vocabulary: int

    @property
    def inner(self):
        return 4 * self.width

    def cut(self, layers):
        return replace(self, name=f"{self.name}-{layers}-layers", layers=layers) if layers else self


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("esm2-8m", "esm", 6, 320, 20, 33),
        Shape("esm2-35m", "esm", 12, 480, 20, 33),
        Shape("esm2-150m", "esm", 30, 640, 20, 33),
        Shape("esm2-650m", "esm", 33, 1280, 20, 33),
        Shape("esm2-3b", "esm", 36, 2560, 40, 33),
        Shape("dnabert-s", "dnabert", 12, 768, 12, 4096),
    )
}


class Maker:
    """Random tensors by name."""

    def __init__(self):
        self.random = np.random.default_rng(SEED)
        self.tensors = {}

    def normal(self, name, shape, scale):
        self.tensors[name] = self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    def linear(self, name, outputs, inputs, bias=True):
        self.normal(f"{name}.weight", (outputs, inputs), inputs**-0.5)
        if bias:
            self.normal(f"{name}.bias", outputs, 0.1)

    def norm(self, name, width):
        self.normal(f"{name}.weight", width, 0.1)
        self.tensors[f"{name}.weight"] += 1
        self.normal(f"{name}.bias", width, 0.1)


def esm_tensors(shape):
    make, width = Maker(), shape.width
    make.normal("esm.embeddings.word_embeddings.weight", (shape.vocabulary, width), 1)
    pairs = width // shape.heads // 2
    frequencies = (10000.0 ** (-np.arange(pairs) / pairs)).astype(np.float16).astype(np.float32)
    for layer in range(shape.layers):
        prefix = f"esm.encoder.layer.{layer}"
        # A copy each: tensors that share memory cannot be saved.
        make.tensors[f"{prefix}.attention.self.rotary_embeddings.inv_freq"] = frequencies.copy()
        make.norm(f"{prefix}.attention.LayerNorm", width)
        for linear in ("self.query", "self.key", "self.value", "output.dense"):
            make.linear(f"{prefix}.attention.{linear}", width, width)
        make.norm(f"{prefix}.LayerNorm", width)
        make.linear(f"{prefix}.intermediate.dense", shape.inner, width)
        make.linear(f"{prefix}.output.dense", width, shape.inner)
    make.norm("esm.encoder.emb_layer_norm_after", width)
    # The head for letters: not used here, but fair-esm and esm-cpp want it.
    make.linear("lm_head.dense", width, width)
    make.norm("lm_head.layer_norm", width)
    make.normal("lm_head.bias", shape.vocabulary, 0.1)
    return make.tensors


def dnabert_tensors(shape):
    make, width = Maker(), shape.width
    make.normal("bert.embeddings.word_embeddings.weight", (shape.vocabulary, width), 1)
    make.normal("bert.embeddings.token_type_embeddings.weight", (2, width), 0.1)
    make.norm("bert.embeddings.LayerNorm", width)
    for layer in range(shape.layers):
        prefix = f"bert.encoder.layer.{layer}"
        make.linear(f"{prefix}.attention.self.Wqkv", 3 * width, width)
        make.linear(f"{prefix}.attention.output.dense", width, width)
        make.norm(f"{prefix}.attention.output.LayerNorm", width)
        make.linear(f"{prefix}.mlp.gated_layers", 2 * shape.inner, width, bias=False)
        make.linear(f"{prefix}.mlp.wo", width, shape.inner)
        make.norm(f"{prefix}.mlp.layernorm", width)
    return make.tensors


def config(shape):
    """That of the embedded bundle, in which only sizes differ."""
    return json.loads((MINI / shape.family / "config.json").read_text()) | {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
    }


def head(width, path):
    make = Maker()
    make.linear("hidden_layer", HIDDEN, width)
    make.norm("bn1", HIDDEN)
    make.normal("bn1.running_mean", HIDDEN, 0.1)
    make.tensors["bn1.running_var"] = np.ones(HIDDEN, np.float32)
    make.linear("output_layer", 2, HIDDEN)
    save_file(make.tensors, path)


def checkpoint(shape, folder):
    """Folder of a checkpoint; written unless it is there."""
    place = folder / shape.name
    if place.is_dir():
        return place
    partial = folder / f"{shape.name}.partial-{os.getpid()}"
    partial.mkdir(parents=True)
    tensors = {"esm": esm_tensors, "dnabert": dnabert_tensors}[shape.family](shape)
    save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
    (partial / "config.json").write_text(json.dumps(config(shape), indent=2))
    if shape.family == "dnabert":
        shutil.copy(MINI / "dnabert/tokenizer.json", partial)
    return partial.rename(place)


def bundle(shape, folder, binary, *beside):
    """Folder of a bundle with a checkpoint as one encoder, and as the other the one `beside` it or the small one of `mini`."""
    name = "-".join(each.name for each in (shape, *beside))
    place = folder / f"{name}.bundle"
    if place.is_dir():
        return place
    parts = {"esm": MINI / "esm", "dnabert": MINI / "dnabert"}
    parts |= {each.family: checkpoint(each, folder) for each in (shape, *beside)}
    width = sum(json.loads((part / "config.json").read_text())["hidden_size"] for part in parts.values())
    head_file = folder / f"{name}.head.safetensors"
    head(width, head_file)
    command = [binary, "models", "import", "--name", name, "--untrained", "--window", "500", "-o", place]
    command += ["--licence", "MIT", "--source", "random weights", "--head", head_file]
    command += ["--esm", parts["esm"], "--dnabert", parts["dnabert"]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return place


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--layers", type=int, help="as many as this instead of all")
    parser.add_argument("--beside", choices=SHAPES, help="the bundle's other encoder; if not given, that of mini")
    parser.add_argument("--beside-layers", type=int)
    parser.add_argument("--folder", type=Path, default=CACHE)
    parser.add_argument("--binary", type=Path, default=BINARY)
    options = parser.parse_args()
    shape = SHAPES[options.shape].cut(options.layers)
    beside = [SHAPES[options.beside].cut(options.beside_layers)] if options.beside else []
    print(checkpoint(shape, options.folder))
    print(bundle(shape, options.folder, options.binary, *beside))


if __name__ == "__main__":
    main()
