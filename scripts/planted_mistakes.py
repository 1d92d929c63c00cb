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
        Ok(Self(tch::Tensor::f_from_slice(&values)?.into()))"""
INTERLEAVED = """let half = cos.len();
    let values: Vec<f32> = head.to_vec();
    for i in 0..half {
        let (a, b) = (values[2 * i], values[2 * i + 1]);
        (head[2 * i], head[2 * i + 1]) = (a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]);
    }
    return;
    #[allow(unreachable_code)]
    let (first, second) = head.split_at_mut(cos.len());"""
KERNEL = "src/model/kernels/attention.rs"
TANH = ('std::optional<std::string_view>("none")', 'std::optional<std::string_view>("tanh")')

MISTAKES = [
    Mistake("tanh GELU in ESM-2", "src/device/shim/products.cpp", [TANH], ESM),
    Mistake("tanh GELU in DNABERT-S", "src/device/shim/products.cpp", [TANH], DNABERT),
    Mistake("LayerNorm eps 1e-12 in ESM-2", "src/model/esm2.rs", [("config.layer_norm_eps", "1e-12")], ESM),
    Mistake("LayerNorm eps 1e-5 in DNABERT-S", "src/model/dnabert.rs", [("config.layer_norm_eps", "1e-5")], DNABERT),
    Mistake(
        "rotary frequencies recomputed",
        "src/model/esm2.rs",
        [('Ok(Self(parameters.in_f32().get("inv_freq")?))', RECOMPUTED)],
        ESM,
    ),
    Mistake(
        "rotary turn interleaved", KERNEL, [("let (first, second) = head.split_at_mut(cos.len());", INTERLEAVED)], ESM
    ),
    Mistake("queries not scaled", KERNEL, [("read(q, query, self.shape.scale)", "read(q, query, 1.0)")], ESM),
    Mistake("keys of a wrong place turned", KERNEL, [("place * (k / 2)..(place", "0..k / 2; let _ = (place")], ESM),
    Mistake("0.88 left out", "src/model/esm2.rs", [("x.f_mul_scalar(1.0 - TRAINED_MASK_RATIO)?", "x")], ESM),
    Mistake("<mask> not accounted for", "src/model/esm2.rs", [("!batch.ids().contains(&mask)", "true")], ESM),
    Mistake(
        "final LayerNorm left out",
        "src/model/esm2.rs",
        [("        Ok(normed)\n", "        let _ = normed;\n        Ok(x)\n")],
        ESM,
    ),
    Mistake("<cls> in the mean of ESM-2", "src/model/esm2.rs", [("|length| (1, (length", "|length| (0, (length")], ESM),
    Mistake("mean of the first 1022 residues", "src/model/esm2.rs", [("usize = 1024", "usize = 1022")], ESM),
    Mistake(
        "[CLS] left out of the mean of DNABERT-S",
        "src/model/dnabert.rs",
        [("|length| (0, length)", "|length| (1, length - 1)")],
        DNABERT,
    ),
    Mistake(
        "halves of the gated unit swapped",
        "src/model/dnabert.rs",
        [("let [gate, up] = Linear::halves", "let [up, gate] = Linear::halves")],
        DNABERT,
    ),
    Mistake("naive ALiBi slopes", "src/model/dnabert.rs", [("heads.is_power_of_two()", "true")], DNABERT),
    Mistake("distances of another query", KERNEL, [("add_alibi(row, from, ", "add_alibi(row, from + 1, ")], DNABERT),
    Mistake("token type left out", "src/model/dnabert.rs", [(".f_add(&self.token_type)?", "")], DNABERT),
    Mistake("softmax not divided by its sum", KERNEL, [("1.0 / sum)", "1.0 / (sum + 0.1))")], ESM),
    Mistake("residual from the norm in ESM-2", "src/model/esm2.rs", [("Residual::Sum", "Residual::Norm")], ESM),
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
