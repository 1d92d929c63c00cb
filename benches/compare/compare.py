#!/usr/bin/env python3
"""Times this program and others that do the same, on the same random weights and frames, in turn in one run.

    benches/compare/setup.sh
    target/compare/venv/bin/python benches/compare/compare.py --shape esm2-650m --layers 6 --sequences 12
    target/compare/venv/bin/python benches/compare/compare.py --shape dnabert-s --sequences 40 [--lengths mixed]

Before anything is timed the vectors of all programs are compared with ours. Prints a table; --json FILE writes all
figures. See README.md beside this file.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import esm_cpp
import frames
import programs
import random_weights
import torch
from tokenizers import Tokenizer

# Least cosine between a vector of a number format and ours in f32.
COSINES = {"f32": 0.99999, "bf16": 0.999, "int8": 0.99}
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
MEASURES = {"clock": programs.CLOCK, "processor": programs.PROCESSOR}
PACKAGES = ("torch", "fair-esm", "esm-cpp", "tokenizers", "numpy")


def processor():
    info = Path("/proc/cpuinfo").read_text().splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info)}
    return fields.get("model name", platform.machine()), [f for f in FLAGS if f in fields.get("flags", "").split()]


def contestants(options, shape, bf16):
    """Program and number format of each row; ours in f32 first, with whose vectors all others are compared."""
    formats = ["f32", "bf16"] if bf16 else ["f32"]
    kinds = [(programs.Virnucpro, formats)]
    if shape.family == "esm":
        kinds += [(programs.FairEsm, formats), (programs.EsmCpp, ["f32", "int8"])]
    else:
        kinds += [(programs.PlainDnabert, formats)]
    return [(kind, dtype) for kind, dtypes in kinds for dtype in dtypes]


def checked(kind, dtype, setting, ours):
    """The program with its least cosine, batch size chosen."""
    options, shape, sequences = setting
    program = kind(options, shape, dtype)
    vectors = program.vectors(sequences)
    ours = vectors if ours is None else ours
    # What all vectors share would hide that two of them are swapped.
    centre = ours.mean(0)
    program.cosine = float(programs.cosines(ours, vectors).min())
    program.centred = float(programs.cosines(ours - centre, vectors - centre).min())
    if not (program.cosine >= COSINES[dtype]):
        sys.exit(
            f"{program.name}: a cosine of {program.cosine:.6f} with virnucpro f32, at least {COSINES[dtype]} expected"
        )
    if not program.ours:
        program.choose_batch(sequences)
    return program, ours


def tokens_of(sequences, shape, tokenizer):
    if shape.family == "esm":
        return sum(len(sequence) + 2 for sequence in sequences)
    return sum(len(tokens) for tokens in tokenizer.encode_batch(sequences))


def table(rows):
    yield f"{'':20} {'':>6} {'':>9} {'':>9} {'tokens/s':>18} {'tokens/processor s':>18}"
    yield f"{'program':20} {'batch':>6} {'cosine':>9} {'centred':>9}" + f" {'best':>9} {'median':>8}" * 2
    for row in rows:
        rates = (f" {row[f'{by}_best']:9.0f} {row[f'{by}_median']:8.0f}" for by in MEASURES)
        batch = row["batch_tokens"] or "own"
        yield f"{row['program']:20} {batch:>6} {row['cosine']:9.6f} {row['centred_cosine']:9.6f}" + "".join(rates)


def ratios(rows):
    """Of each of our rows to each other row, round by round."""
    for own in (row for row in rows if row["ours"]):
        for other in (row for row in rows if not row["ours"]):
            ratio = {"of": own["program"], "to": other["program"]}
            for by in MEASURES:
                each = [theirs / ours for ours, theirs in zip(own[f"{by}_seconds"], other[f"{by}_seconds"])]
                ratio[by] = {"median": statistics.median(each), "least": min(each), "most": max(each)}
            yield ratio


def line_of(ratio):
    clock, processor = (
        f"{each['median']:5.2f} ({each['least']:.2f} to {each['most']:.2f})" for each in (ratio[by] for by in MEASURES)
    )
    return f"{ratio['of']:>15} : {ratio['to']:19} {clock:24} {processor}"


def row_of(program, costs, tokens):
    row = {
        "program": program.name,
        "ours": program.ours,
        "batch_tokens": program.batch_tokens,
        "cosine": program.cosine,
        "centred_cosine": program.centred,
    }
    for by, index in MEASURES.items():
        seconds = [float(cost[index]) for cost in costs]
        row |= {
            f"{by}_seconds": seconds,
            f"{by}_best": tokens / min(seconds),
            f"{by}_median": tokens / statistics.median(seconds),
        }
    return row


def timed(contest, sequences, rounds):
    costs = {program.name: [] for program in contest}
    for number in range(1, rounds + 1):
        for program in contest:
            costs[program.name].append(program.cost(sequences))
        print(f"round {number} of {rounds} done", file=sys.stderr)
    return costs


def environment(options):
    version = subprocess.run([options.binary, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    model, flags = processor()
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "processor": model,
        "flags": flags,
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "threads": options.threads,
        "esm_cpp_kernels": esm_cpp.current_isa(),
        "versions": {"virnucpro": version.removeprefix("virnucpro "), "python": platform.python_version()} | packages,
    }


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=random_weights.SHAPES, required=True)
    parser.add_argument("--layers", type=int, help="as many as this instead of all, for a shorter run")
    parser.add_argument("--sequences", type=int, default=12)
    parser.add_argument("--lengths", choices=("fixed", "mixed"), default="fixed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", type=Path, default=random_weights.BINARY)
    parser.add_argument("--folder", type=Path, default=random_weights.CACHE, help="where weights are kept")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.binary.is_file():
        sys.exit(f"{options.binary} is not there: cargo build --release, or --binary PATH")
    return options


def main():
    options = parsed()
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < options.threads:
        sys.exit(f"{options.threads} threads asked for, but this job may use {len(allowed)} processors")
    os.sched_setaffinity(0, allowed[: options.threads])  # children inherit it
    torch.set_num_threads(options.threads)
    shape = random_weights.SHAPES[options.shape].cut(options.layers)
    tokenizer = Tokenizer.from_file(str(random_weights.MINI / "dnabert/tokenizer.json"))
    if shape.family == "esm":
        sequences = frames.proteins(options.sequences, options.lengths)
    else:
        sequences = frames.nucleotides(options.sequences, options.lengths, tokenizer)
    options.calibration = sequences[:8]
    tokens = tokens_of(sequences, shape, tokenizer)
    about = environment(options)
    about |= {"shape": vars(shape), "lengths": options.lengths, "sequences": len(sequences), "tokens": tokens}
    print(
        f"{shape.name}: {shape.layers} layers of width {shape.width}; {len(sequences)} sequences, {tokens} tokens, "
        f"{options.lengths} lengths; {options.threads} thread(s)\n{about['processor']}: {' '.join(about['flags'])}\n"
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        flush=True,
    )
    contest, ours = [], None
    for kind, dtype in contestants(options, shape, {"avx512_bf16", "amx_bf16"} & set(about["flags"])):
        program, ours = checked(kind, dtype, (options, shape, sequences), ours)
        contest.append(program)
    costs = timed(contest, sequences, options.rounds)
    rows = [row_of(program, costs[program.name], tokens) for program in contest]
    print("", *table(rows), "", sep="\n")
    compared = list(ratios(rows))
    print(f"{'rate of ours : of another, median of rounds':38} {'by the clock':24} by processor time")
    print(*map(line_of, compared), sep="\n")
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": rows, "ratios": compared}, indent=2) + "\n")


if __name__ == "__main__":
    main()
