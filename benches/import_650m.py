#!/usr/bin/env python3
"""Time and peak memory of `virnucpro models import` against a durable copy, with a model of ESM-2 650M's size.

    python3 benches/import_650m.py [--binary target/release/virnucpro] [--folder /tmp] [--rounds 3] [--dtype keep]

Makes a weights file with the shapes and Hugging Face's names of ESM-2 650M (2.6 GB in f32, random weights), a head for it
and the small DNABERT-S of the repository, all removed at the end. A durable copy is `cp` and a flush to the disk. The
import is timed to its end, stored vectors and flush to the disk included, and, apart, to its first message, which comes
when all files are written and vectors begin to be computed. Bounds: four times the time of the copy, peak memory 1.5 times
the size of the weights file. `--cold` empties the page cache first, which only root can.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LAYERS, WIDTH, HEADS, FFN, VOCABULARY = 33, 1280, 20, 5120, 33
DNABERT_WIDTH, HIDDEN = 48, 16
REPOSITORY = Path(__file__).resolve().parent.parent
POOL = 64 << 20


def random_weights():
    """Numbers of either sign between 2^-7 and 2^-5: the upper byte of each is set, the others are random."""
    pool = bytearray(os.urandom(POOL))
    pool[3::4] = os.urandom(POOL // 4).translate(bytes(0x3C if i < 128 else 0xBC for i in range(256)))
    return bytes(pool)


def esm_tensors():
    yield "esm.embeddings.word_embeddings.weight", (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        prefix = f"esm.encoder.layer.{layer}."
        yield prefix + "attention.self.rotary_embeddings.inv_freq", (WIDTH // HEADS // 2,)
        for norm in ("attention.LayerNorm", "LayerNorm"):
            yield f"{prefix}{norm}.weight", (WIDTH,)
            yield f"{prefix}{norm}.bias", (WIDTH,)
        for linear, outputs, inputs in (
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", FFN, WIDTH),
            ("output.dense", WIDTH, FFN),
        ):
            yield f"{prefix}{linear}.weight", (outputs, inputs)
            yield f"{prefix}{linear}.bias", (outputs,)
    for kind in ("weight", "bias"):
        yield f"esm.encoder.emb_layer_norm_after.{kind}", (WIDTH,)
    yield "lm_head.bias", (VOCABULARY,)


def head_tensors():
    inputs = DNABERT_WIDTH + WIDTH
    yield "hidden_layer.weight", (HIDDEN, inputs)
    for name in ("hidden_layer.bias", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"):
        yield name, (HIDDEN,)
    yield "output_layer.weight", (2, HIDDEN)
    yield "output_layer.bias", (2,)


def frequencies():
    count = WIDTH // HEADS // 2
    rounded = (struct.unpack("e", struct.pack("e", 10000 ** (-i / count)))[0] for i in range(count))
    return struct.pack(f"<{count}f", *rounded)


def write(path, tensors, pool):
    header, end, sizes = {}, 0, []
    for name, shape in tensors:
        size = 4
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": (end, end + size)}
        sizes.append((name, size))
        end += size
    text = json.dumps(header).encode()
    with open(path, "wb") as sink:
        sink.write(len(text).to_bytes(8, "little") + text)
        for number, (name, size) in enumerate(sizes):
            if name.endswith("inv_freq"):
                sink.write(frequencies())
            elif name.endswith("running_var"):
                sink.write(struct.pack("<f", 1.0) * (size // 4))
            else:
                start = number * 4096 % (POOL - size)
                sink.write(pool[start : start + size])
        sink.flush()
        os.fsync(sink.fileno())


def begin(cold):
    os.sync()
    if cold:
        Path("/proc/sys/vm/drop_caches").write_text("3")


def durable_copy(source, target):
    started = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    with open(target, "rb") as copy:
        os.fsync(copy.fileno())
    seconds = time.perf_counter() - started
    os.remove(target)
    return seconds


def peak_of(process):
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def imported(binary, esm, head, out, dtype):
    """Seconds to the first message and in all, peak resident bytes until then and in all."""
    command = [binary, "models", "import", "--name", "bench", "--untrained", "--dtype", dtype]
    command += ["--dnabert", REPOSITORY / "bundles/untrained/dnabert", "--esm", esm, "--head", head, "-o", out]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    lines, first, files_peak = [], None, 0
    for line in process.stderr:
        if first is None:
            first, files_peak = time.perf_counter() - started, peak_of(process.pid)
        lines.append(line.decode())
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit("".join(lines))
    shutil.rmtree(out)
    peak = usage.ru_maxrss * 1024
    return first or seconds, seconds, files_peak or peak, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target/release/virnucpro")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="keep")
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    copies, imports, peaks = [], [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        esm, head = folder / "esm2_650m.safetensors", folder / "head.safetensors"
        pool = random_weights()
        write(esm, esm_tensors(), pool)
        write(head, head_tensors(), pool)
        size = esm.stat().st_size
        print(f"weights file of {size / 1e9:.2f} GB, on {os.cpu_count()} processors")
        for number in range(1, options.rounds + 1):
            begin(options.cold)
            copy = durable_copy(esm, folder / "copy")
            begin(options.cold)
            # The program and its library are not what is measured.
            subprocess.run([options.binary, "--version"], check=True, stdout=subprocess.DEVNULL)
            files, seconds, files_peak, peak = imported(options.binary, esm, head, folder / "bundle", options.dtype)
            copies, imports, peaks = [*copies, copy], [*imports, seconds], [*peaks, peak]
            print(
                f"round {number}: durable copy {copy:.2f} s; import {seconds:.2f} s ({seconds / copy:.2f} x), "
                f"peak {peak / 1e9:.2f} GB ({peak / size:.2f} x); its files are written in {files:.2f} s, "
                f"peak {files_peak / 1e9:.2f} GB"
            )
    # The shortest of several is what the machine takes when nothing else disturbs it.
    ratio = min(imports) / min(copies)
    good = ratio <= 4 and max(peaks) < 1.5 * size
    print(f"{'within' if good else 'BEYOND'} the bounds: shortest import {ratio:.2f} x the shortest copy")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
