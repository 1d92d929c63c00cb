#!/usr/bin/env python3
"""Plants known mistakes, one at a time, and checks that a test catches each.

The working tree is copied; the original is never touched. A mistake is a set of replacements in one file;
the tests named with it must then fail, by a failed test and not by a failed build. Without mistakes they
must pass. Prints a table and exits with 1 if a mistake went unnoticed or could not be planted.

    python3 scripts/planted_mistakes.py            all of them
    python3 scripts/planted_mistakes.py rotary     those whose name holds a word

The copy and what is built of it lie in a folder `planted-mistakes` of the target folder. Dependencies are
copied from there, not built again. The copy needs a target folder of its own: Cargo takes two copies of a
package for the same one, and would take a mistake's build for the original's.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "planted-mistakes"

ESM = ["--test", "numerics", "models::esm2::"]
DNABERT = ["--test", "numerics", "models::dnabert::"]
HEAD = ["--test", "numerics", "models::head::"]
TOKENISER = ["--lib", "tokenize::bpe"]
TOKENISER_FILE = "src/tokenize/bpe.rs"


@dataclass
class Mistake:
    name: str
    file: str
    replacements: list[tuple[str, str]]
    tests: list[str]


RECOMPUTED = """let own = parameters.in_f32().get("inv_freq")?;
        let count = own.numel();
        let values: Vec<f32> = (0..count).map(|i| 10000f32.powf(-(i as f32) / count as f32)).collect();
        Ok(Self { inv_freq: Tensor::f_from_slice(&values)?.f_to_device(own.device())?.into() })"""

MISTAKES = [
    Mistake("tanh GELU in ESM-2", "src/model/nn.rs", [('f_gelu("none")', 'f_gelu("tanh")')], ESM),
    Mistake("tanh GELU in DNABERT-S", "src/model/nn.rs", [('f_gelu("none")', 'f_gelu("tanh")')], DNABERT),
    Mistake("LayerNorm eps 1e-12 in ESM-2", "src/model/esm2.rs", [("config.layer_norm_eps", "1e-12")], ESM),
    Mistake("LayerNorm eps 1e-5 in DNABERT-S", "src/model/dnabert.rs", [("config.layer_norm_eps", "1e-5")], DNABERT),
    Mistake(
        "rotary frequencies recomputed",
        "src/model/esm2.rs",
        [('Ok(Self { inv_freq: parameters.in_f32().get("inv_freq")? })', RECOMPUTED)],
        ESM,
    ),
    Mistake(
        "rotary turn interleaved",
        "src/model/esm2.rs",
        [
            ("Tensor::f_cat(&[&angles, &angles], -1)?", "angles.f_repeat_interleave_self_int(2, -1, None)?"),
            ("x.f_chunk(2, -1)?", "[x.f_slice(-1, 0, None, 2)?, x.f_slice(-1, 1, None, 2)?]"),
            (
                "Tensor::f_cat(&[&second.f_neg()?, first], -1)?",
                "Tensor::f_stack(&[&second.f_neg()?, first], -1)?.f_flatten(-2, -1)?",
            ),
        ],
        ESM,
    ),
    Mistake("queries not scaled", "src/model/esm2.rs", [(".f_mul_scalar(self.scale)?", "")], ESM),
    Mistake("0.88 left out", "src/model/esm2.rs", [("x.f_mul_scalar(1.0 - TRAINED_MASK_RATIO)?", "x")], ESM),
    Mistake("<mask> not accounted for", "src/model/esm2.rs", [("!group.ids.contains(&mask)", "true")], ESM),
    Mistake("final LayerNorm left out", "src/model/esm2.rs", [("self.norm.forward(&x)\n", "Ok(x)\n")], ESM),
    Mistake("<cls> in the mean of ESM-2", "src/model/esm2.rs", [("f_narrow(1, 1, res", "f_narrow(1, 0, res")], ESM),
    Mistake("mean of the first 1022 residues", "src/model/esm2.rs", [("usize = 1024", "usize = 1022")], ESM),
    Mistake(
        "[CLS] left out of the mean of DNABERT-S",
        "src/model/dnabert.rs",
        [("x.f_mean_dim(1", "x.f_narrow(1, 1, group.length as i64 - 1)?.f_mean_dim(1")],
        DNABERT,
    ),
    Mistake(
        "halves of the gated unit swapped",
        "src/model/dnabert.rs",
        [("gelu(&gate)?.f_mul(&up)?", "gelu(&up)?.f_mul(&gate)?")],
        DNABERT,
    ),
    Mistake("naive ALiBi slopes", "src/model/dnabert.rs", [("heads.is_power_of_two()", "true")], DNABERT),
    Mistake("bias of another length kept", "src/model/dnabert.rs", [("*known == length", "*known >= length")], DNABERT),
    Mistake("token type left out", "src/model/dnabert.rs", [(".f_add(&self.token_type)?", "")], DNABERT),
    Mistake("BatchNorm eps 1e-3", "src/model/classifier.rs", [("EPS: f64 = 1e-5", "EPS: f64 = 1e-3")], HEAD),
    Mistake("ReLU left out", "src/model/classifier.rs", [(".f_relu()?", "")], HEAD),
    Mistake("classes swapped", "src/model/classifier.rs", [("&[others, virus]", "&[virus, others]")], HEAD),
    Mistake("padding obeyed by the tokeniser", TOKENISER_FILE, [("    bpe.with_padding(None);\n", "")], TOKENISER),
    Mistake(
        "truncation obeyed by the tokeniser", TOKENISER_FILE, [("    bpe.with_truncation(None)?;\n", "")], TOKENISER
    ),
]


def copy_tree(to: Path) -> None:
    """Copies what git knows or would take up, and on the first run the dependencies built so far."""
    if to.exists():
        shutil.rmtree(to)
    if (TARGET / "debug").is_dir() and not (WORK / "target").exists():
        shutil.copytree(TARGET / "debug", WORK / "target" / "debug", symlinks=True)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, to / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)  # without its time: newer than anything built


def environment() -> dict[str, str]:
    env = dict(os.environ)
    env["CARGO_TARGET_DIR"] = str(WORK / "target")
    env.setdefault("LIBTORCH", str(ROOT / "vendor/libtorch"))
    env.setdefault("VIRNUCPRO_SHARED", str(ROOT / "../shared"))
    env["RUST_BACKTRACE"] = "0"
    return env


def run_tests(tree: Path, tests: list[str]) -> tuple[str, str]:
    """Runs `cargo test`: ('passed' | 'failed' | 'broken', the failed tests or the end of the output)."""
    command = ["cargo", "test", "--quiet", *tests]
    done = subprocess.run(command, cwd=tree, env=environment(), capture_output=True, text=True)
    output = done.stdout + done.stderr
    failed = [line.strip() for line in done.stdout.splitlines() if line.startswith("    ") and "::" in line]
    if done.returncode == 0 and "test result: ok" in output and "running 0 tests" not in output:
        return "passed", ""
    if "test result: FAILED" in output:
        return "failed", ", ".join(dict.fromkeys(failed))
    return "broken", output[-2000:]


def plant(tree: Path, mistake: Mistake) -> str | None:
    """Applies the replacements; says what could not be found."""
    path = tree / mistake.file
    if not path.is_file():
        return f"no file {mistake.file}"
    text = path.read_text()
    for old, new in mistake.replacements:
        if old not in text:
            return f"'{old}' is not in {mistake.file}"
        text = text.replace(old, new)
    path.write_text(text)
    return None


def verdict(tree: Path, mistake: Mistake) -> tuple[str, bool]:
    """Plants one mistake, runs its tests, takes the mistake back."""
    path = tree / mistake.file
    before = path.read_bytes() if path.is_file() else None
    problem = plant(tree, mistake)
    if problem:
        return f"NOT PLANTED: {problem}", False
    try:
        outcome, detail = run_tests(tree, mistake.tests)
    finally:
        path.write_bytes(before)
    if outcome == "failed":
        return detail, True
    return ("UNNOTICED" if outcome == "passed" else f"DOES NOT BUILD: {detail}"), False


def main() -> int:
    words = [word.lower() for word in sys.argv[1:]]
    chosen = [m for m in MISTAKES if all(word in m.name.lower() for word in words)]
    if not chosen:
        print("no mistake of that name")
        return 1
    tree = WORK / "tree"
    copy_tree(tree)
    for tests in {tuple(m.tests) for m in chosen}:
        outcome, detail = run_tests(tree, list(tests))
        if outcome != "passed":
            print(f"`cargo test {' '.join(tests)}` does not pass without a mistake:\n{detail}")
            return 1
    print("mistake | test | caught\n--- | --- | ---")
    all_caught = True
    for mistake in chosen:
        detail, caught = verdict(tree, mistake)
        all_caught &= caught
        print(f"{mistake.name} | {detail} | {'yes' if caught else 'NO'}", flush=True)
    return 0 if all_caught else 1


if __name__ == "__main__":
    sys.exit(main())
