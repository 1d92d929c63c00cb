"""Numbers first: vectors and scores against those of the original program, and one device against the other."""

import re

import bundles

# Largest difference as a share of the largest number of a vector. Scores of random heads are steeper than those of
# trained ones: they are judged in f32 only.
VECTORS = {"f32": 1e-4, "bf16": 3e-2, "f16": 1e-2}
SCORES = {"f32": 1e-3}
# In short frames too few roundings cancel: 16-bit formats are judged from so many residues on.
RESIDUES = 30
FOUND = re.compile(r"DNABERT-S (\S+), ESM-2 (\S+), scores ([0-9.e+-]+|NaN|inf)")
FORMATS = {"cpu": ("f32", "bf16"), "cuda": ("f32", "f16", "bf16")}
KERNELS = ("auto", "efficient", "math")


def check(program, folder, report):
    """All checks of numbers; fails are told to `report`."""
    formats = FORMATS[program.device.split(":")[0]]
    report.section("numbers: frames of the original program, embedded bundle, against its vectors and scores")
    for form in formats:
        golden, total = bundles.golden(folder / form, 0 if form == "f32" else RESIDUES)
        report.judge(f"{form}, {total} frames", *_verified(program, golden, form, "auto"))
    wide = bundles.wide(folder, program)
    report.section("numbers: random weights, heads of 64, against f32 on the CPU")
    on_gpu = program.device != "cpu"
    for form in formats:
        for kernel in KERNELS if on_gpu else ("auto",):
            report.judge(f"{form}, attention {kernel}", *_verified(program, [wide], form, kernel))
    _pipeline(program, folder, wide, formats, report)
    return wide


def _verified(program, made, form, kernel):
    """The largest differences over all bundles: whether they are small enough, and in words."""
    worst = [0.0, 0.0, 0.0]
    for bundle in made:
        options = ["--device", program.device, "--dtype", form]
        options += [] if kernel == "auto" else ["--attention", kernel]
        ran = program.run("models", "verify", bundle, *options)
        found = FOUND.search(ran.stdout) or FOUND.search(ran.stderr)
        if not found:
            return False, f"{bundle.name}: exit {ran.returncode}: {ran.stderr.strip() or ran.stdout.strip()}"
        numbers = [float(number) for number in found.groups()]
        worst = [max(before, one) for one, before in zip(map(_finite, numbers), worst)]
    dnabert, esm, scores = worst
    good = max(dnabert, esm) <= VECTORS[form] and scores <= SCORES.get(form, float("inf"))
    bound = f"at most {VECTORS[form]:.0e} in vectors" + (f", {SCORES[form]:.0e} in scores" if form in SCORES else "")
    return good, f"DNABERT-S {dnabert:.1e}, ESM-2 {esm:.1e}, scores {scores:.1e} apart ({bound})"


def _finite(number):
    """NaN is the largest difference of all."""
    return number if number == number else float("inf")


def _pipeline(program, folder, bundle, formats, report):
    """The demonstration file in batches of many lengths, with every option that changes how a GPU is used."""
    report.section("numbers: the demonstration file, all frames, against f32 on the CPU")
    expected = _scores(program, folder, bundle, "expected", "--device", "cpu", "--dtype", "f32")
    on = ("--device", program.device, "--dtype")
    runs = [(form, *on, form) for form in formats]
    first = formats[0]
    for more in (("--no-cuda-streams",), ("--pin-memory", "off"), ("--expandable-segments",), ("--batch-tokens", "1k")):
        runs.append((" ".join((first, *more)), *on, first, *more))
    for name, *options in runs:
        found = _scores(program, folder, bundle, name, *options)
        if found.keys() != expected.keys():
            report.judge(name, False, f"{len(found)} frames instead of {len(expected)}")
            continue
        apart = max(abs(found[frame] - expected[frame]) for frame in expected)
        changed = sum((found[frame] > 0.5) != (expected[frame] > 0.5) for frame in expected)
        good = "f32" not in name or apart <= SCORES["f32"]
        scores = sorted(expected.values())
        report.judge(
            name,
            good,
            f"scores from {scores[0]:.3f} to {scores[-1]:.3f} at most {apart:.1e} apart, "
            f"{changed} of {len(expected)} verdicts changed",
        )


def _scores(program, folder, bundle, name, *options):
    output = folder / ("run " + name)
    program.must("run", "-q", bundles.ROOT / "examples" / "demo.fa", "--model", bundle, "-o", output, *options)
    lines = (output / "predictions" / "frames.tsv").read_text().splitlines()
    frame, virus = (lines[0].split("\t").index(column) for column in ("frame_id", "score_virus"))
    return {cells[frame]: float(cells[virus]) for cells in (line.split("\t") for line in lines[1:])}
