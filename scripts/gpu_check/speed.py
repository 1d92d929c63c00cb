"""How fast, by the program's own `bench`."""

import json

SHAPES = ("esm2-650m", "esm2-3b", "dnabert-s")


def measure(program, report, shapes=SHAPES):
    """Runs `bench` for every shape and prints what it says; nothing where the program has no such command."""
    report.section("speed: virnucpro bench, random weights of published shapes")
    if program.run("bench", "--help").returncode != 0:
        report.note("not measured: this build has no `bench`")
        return
    for shape in shapes:
        ran = program.run("bench", "--shape", shape, "--device", program.device, "--json")
        try:
            report.note(f"{shape}: {json.dumps(json.loads(ran.stdout))}")
        except ValueError:
            report.judge(shape, False, f"exit {ran.returncode}: {ran.stderr.strip()}")
