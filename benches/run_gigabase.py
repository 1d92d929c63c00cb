"""A gigabase of contigs through `virnucpro run`: time, memory, disk.

python3 benches/run_gigabase.py [--bases 1e9] [--virnucpro PATH] [--busy]

The contigs are random bases, lengths as assemblers give them: log-normal, 500 bases to 200,000, 3,000 at the median.
With --busy, a process beside it keeps one core occupied.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BASES = bytes(b"ACGT"[n & 3] for n in range(256))


def contigs(path, total):
    chance = random.Random(1)
    written = number = 0
    with path.open("wb") as out:
        while written < total:
            length = int(min(200_000, max(500, chance.lognormvariate(8, 1.2))))
            bases = chance.randbytes(length).translate(BASES)
            lines = b"\n".join(bases[at : at + 80] for at in range(0, length, 80))
            out.write(b">contig_%d\n%b\n" % (number, lines))
            written += length
            number += 1
    return number, written


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", type=float, default=1e9)
    parser.add_argument("--virnucpro", default="target/release/virnucpro")
    parser.add_argument("--busy", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        number, bases = contigs(folder / "contigs.fa", given.bases)
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if given.busy else None
        start = time.monotonic()
        child = subprocess.Popen(
            [given.virnucpro, "run", folder / "contigs.fa", "--output", folder / "out", "--quiet"],
            env={**os.environ, "VIRNUCPRO_MODEL": "mini"},
        )
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        if busy:
            busy.kill()
        disk = sum(file.stat().st_size for file in (folder / "out").rglob("*") if file.is_file())
        print(
            f"{number} contigs, {bases / 1e6:.0f} Mbp: exit {os.waitstatus_to_exitcode(status)}, {wall:.1f} s, "
            f"{used.ru_utime + used.ru_stime:.1f} s of processor, {used.ru_maxrss >> 10} MB of memory, "
            f"{disk / 1e6:.0f} MB in the output folder"
        )
        for file in sorted((folder / "out").rglob("*")):
            if file.is_file():
                print(f"  {file.stat().st_size / 1e6:10.1f} MB  {file.relative_to(folder / 'out')}")


main()
