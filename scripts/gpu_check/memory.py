"""Flat memory: one process, batches for as long as asked, memory of the host and of the GPU all the while."""

import random
import subprocess
import threading
import time

import machine

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
# Sequences a second at most: their vectors are written to disk, and what is read ahead must not look like growth.
RATES = {"cuda": 2000, "cpu": 100}
# MiB that a process may grow by after the first third.
GROWTH = 50
# Minutes from which on growth is judged: before, buffers are filled for the first time.
WARM = 2


def check(program, folder, bundle, minutes, report):
    report.section(f"memory: {minutes:g} minutes of batches, ESM-2 with random weights")
    log = open(folder / "memory.log", "w+")  # noqa: SIM115
    options = ("--model", bundle, "--device", program.device, "-o", folder / "memory")
    process = program.start(
        "embed-esm", "-", *options, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, text=True
    )
    end = time.monotonic() + 60 * minutes
    fed = [0]
    feeder = threading.Thread(
        target=_feed, args=(process.stdin, end, fed, RATES[program.device.split(":")[0]]), daemon=True
    )
    feeder.start()
    host, gpu, step = [], [], min(5.0, 6.0 * minutes)
    while time.monotonic() < end and process.poll() is None:
        time.sleep(min(step, max(0.1, end - time.monotonic())))
        host.append(machine.host_memory(process.pid))
        gpu.append(machine.gpu_memory(process.pid) if program.device != "cpu" else None)
    feeder.join(30)
    code = process.wait(600)
    log.seek(0)
    report.judge("the run", code == 0, f"{fed[0]} sequences, exit {code}" + ("" if code == 0 else f": {log.read()}"))
    log.close()
    for name, values in (("host", host), ("GPU", gpu)):
        values = [value for value in values if value is not None]
        if len(values) < 4:
            report.note(f"{name}: not told often enough to judge ({len(values)} times)")
            continue
        early, late = max(values[: 1 + len(values) // 3]), max(values[len(values) // 3 :])
        grown = max(0, late - early)
        told = f"{early} MiB at first, {late} MiB later: {grown} MiB more (at most {GROWTH})"
        if minutes < WARM:
            report.note(f"{name}: {told}; not judged below {WARM} minutes")
        else:
            report.judge(name, grown <= GROWTH, told)


def _feed(stdin, end, fed, rate):
    rng = random.Random(7)
    try:
        with stdin:
            while time.monotonic() < end:
                started = time.monotonic()
                for _ in range(rate // 10):
                    length = rng.randint(30, 166)
                    stdin.write(f">s{fed[0]}\n{''.join(rng.choices(RESIDUES, k=length))}\n")
                    fed[0] += 1
                time.sleep(max(0.0, 0.1 - (time.monotonic() - started)))
    except BrokenPipeError:
        pass
