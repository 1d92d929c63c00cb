"""How fast, by the program's own `bench`."""

import json
import statistics

SHAPES = ("esm2-650m", "esm2-3b", "dnabert-s")
# One layer on a processor: whether it runs, not how fast.
TRIAL = ("--layers", "1", "--rounds", "1", "--round-seconds", "0.2")


def measure(program, report, shapes=SHAPES):
    """Runs `bench` for every shape, prints the medians and all that it says."""
    report.section("speed: virnucpro bench, random weights of published shapes")
    trial = TRIAL if program.device == "cpu" else ()
    for shape in shapes:
        ran = program.run("bench", "--shape", shape, "--device", program.device, "--json", *trial)
        try:
            said = json.loads(ran.stdout)
        except ValueError:
            report.judge(shape, False, f"exit {ran.returncode}: {ran.stderr.strip()}")
            continue
        for encoder in said["encoders"]:
            rounds = encoder["rounds"]
            rate, share = (statistics.median(each[name] for each in rounds) for name in ("tokens_per_s", "share"))
            summary = f"{rate:.0f} tokens/s, {100 * share:.1f} % of the bare products"
            report.judge(f"{shape} on {encoder['place']}", rate > 0, summary)
        report.note(f"{shape}: {json.dumps(said)}")
