#!/usr/bin/env python3
"""Checks virnucpro on a GPU machine: numbers first, then speed, then memory. Needs neither Rust nor the network.

    python3 scripts/gpu_check --virnucpro target/release/virnucpro

The machine has the executable, this checkout, and Python with torch 2.11.0 installed (its libtorch is used; torch is not
imported, and no other package is needed). Everything is printed with hardware, shapes and method. The exit code is 1 when a
check fails, and speed is not measured where numbers are wrong. `--cpu` checks the script itself, and the CPU, anywhere.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import agreement
import machine
import memory
import speed


class Report:
    """What is printed, and whether all is well."""

    def __init__(self):
        self.failed = []
        self.heading = ""

    def section(self, heading):
        self.heading = heading
        print(f"\n{heading}", flush=True)

    def note(self, text):
        print(f"  {text}", flush=True)

    def judge(self, name, good, text):
        print(f"  {'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)
        if not good:
            self.failed.append(f"{self.heading}: {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--virnucpro", required=True, help="the executable")
    parser.add_argument("--torch", help="folder of an installed torch 2.11.0, where this Python does not have it")
    parser.add_argument("--device", default="cuda:0", help="as virnucpro reads it (default: cuda:0)")
    parser.add_argument("--cpu", action="store_true", help="the same on the CPU")
    parser.add_argument("--minutes", type=float, default=10, help="length of the memory check (default: 10; 0: none)")
    given = parser.parse_args()
    device = "cpu" if given.cpu else given.device
    torch = machine.torch_folder(given.torch)
    if torch is None and not given.cpu:
        sys.exit("gpu_check: torch 2.11.0 is not installed in this Python; install it or give --torch")
    report, program = Report(), machine.Program(given.virnucpro, torch, device)
    started = time.monotonic()
    report.section("machine")
    for line in [*machine.describe(torch, device), *program.must("info", "--device", device).splitlines()]:
        report.note(line)
    with tempfile.TemporaryDirectory(prefix="gpu_check-") as folder:
        bundle = agreement.check(program, Path(folder), report)
        if report.failed:
            report.section("speed and memory: not measured, since numbers are wrong")
        else:
            speed.measure(program, report)
            if given.minutes > 0:
                memory.check(program, Path(folder), bundle, given.minutes, report)
    report.section(f"{'FAILED' if report.failed else 'all well'}, {time.monotonic() - started:.0f} s")
    for failed in report.failed:
        report.note(failed)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
