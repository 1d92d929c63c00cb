"""How fast, by the program's own `bench`."""

import json
import statistics

# On a GPU in the automatic format: the automatic batch, and a smaller one. On a CPU to see that it can be measured.
MEASURED = {
    "cuda": [
        (shape, *batch) for shape in ("esm2-650m", "esm2-3b", "dnabert-s") for batch in ((), ("--batch-tokens", "16k"))
    ],
    "cpu": [("esm2-8m", "--layers", "2", "--rounds", "2", "--round-seconds", "0.2")],
}


def measure(program, report):
    """Runs `bench` and prints medians; nothing where the program has no libtorch."""
    report.section("speed: virnucpro bench, random weights of published shapes, medians of the rounds")
    for what in MEASURED[program.device.split(":")[0]]:
        ran = program.run("bench", "--shape", *what, "--device", program.device, "--json")
        name = " ".join(what)
        if "no libtorch" in ran.stderr:
            report.note("not measured: this build has no libtorch")
            return
        try:
            said = json.loads(ran.stdout)
            report.judge(name, True, _told(said["encoders"][0]))
            report.note(json.dumps(said))
        except (ValueError, KeyError, IndexError):
            report.judge(name, False, f"exit {ran.returncode}: {ran.stderr.strip() or ran.stdout.strip()}")


def _told(encoder):
    rounds = encoder["rounds"]

    def median(of):
        return statistics.median(map(of, rounds))

    def waiting(each):
        seconds = each["seconds_by_work"]
        return seconds["starved_s"] / (seconds["starved_s"] + seconds["compute_s"] + seconds["behind_s"])

    return (
        f"{encoder['place']}, {encoder['batch_tokens']} tokens per batch, sequences of {encoder['tokens']} tokens: "
        f"{median(lambda each: each['sequences_per_s']):.1f} sequences/s, "
        f"{median(lambda each: each['tokens_per_s']):.0f} tokens/s, "
        f"{median(lambda each: each['flops']) / 1e12:.3f} TFLOP/s, "
        f"{100 * median(lambda each: each['share']):.1f} % of the bare products' "
        f"{median(lambda each: each['bare_flops']) / 1e12:.3f}; lanes waited {100 * median(waiting):.1f} % of their time, "
        f"batches halved: {sum(each['retries'] for each in rounds)}"
    )
