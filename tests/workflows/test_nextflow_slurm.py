"""The Nextflow workflow on a real SLURM: what it asks for, and what becomes of jobs that are killed."""

import re

from nextflow_fixtures import tables

# Shorter waits than on a real cluster.
QUICK = """
executor { pollInterval = '1s'; queueStatInterval = '1s'; exitReadTimeout = '10s' }
process {
    memory = { 400.MB * task.attempt }
    withName: 'EMBED_.*' { memory = { 400.MB * task.attempt }; time = { 1.min * task.attempt } }
}
"""

# There is no GPU here to compute on, and the first tries of two jobs have an accident: one holds more memory than it asked
# for, one waits for input until its time is up.
ACCIDENTS = """
seen=${0%/*}
words=()
for word; do
    [ "$word" != cuda ] || { word=cpu; touch "$seen/cuda-was-asked-for"; }
    [ "$word" != f16 ] || word=f32
    words+=("$word")
done
case "$*" in
*embed-dnabert*'--attempt 1 '*)
    exec python3 -c 'import time; held = bytearray(900 << 20); time.sleep(120)'
    ;;
*embed-esm*'--attempt 1 '*)
    mkfifo never.faa
    sleep 300 > never.faa &
    words[${#words[@]}-1]=never.faa
    trap 'touch "$seen/told-to-stop"' TERM
    "$VIRNUCPRO" "${words[@]}" &
    set +e
    wait
    wait $!
    echo $? > "$seen/ended-with"
    exit 143
    ;;
esac
exec "$VIRNUCPRO" "${words[@]}"
"""


def test_killed_jobs_are_resubmitted_and_the_gpu_is_asked_for(nextflow, slurm, by_hand, tmp_path):
    config = tmp_path / "quick.config"
    config.write_text(QUICK)
    before = len(slurm.jobs())
    accidents = tmp_path / "accidents"
    ran = nextflow.instead(accidents, ACCIDENTS).run(
        tmp_path / "run",
        *["--shard_frames", "10000", "--slurm_partition", "main", "--slurm_gpu_partition", "gpu"],
        *["--gpu_type", "fake", "-c", config],
        profile="slurm,gpu,test",
        environment=slurm.environment,
        timeout=600,
    )
    ran.ok().says("EMBED_DNABERT", "Execution is retried (1)")
    assert ran.tables("demo") == tables(by_hand)
    attempts = {
        process: [(task["attempt"], task["exit"]) for task in ran.tasks(process=process)]
        for process in ["CHUNK", "EMBED_DNABERT", "EMBED_ESM", "MERGE", "PREDICT"]
    }
    for process in ["CHUNK", "MERGE", "PREDICT"]:
        assert attempts[process] == [("1", "0")], attempts
    # Killed for memory: by SLURM, without an exit code. Out of time: told by SIGTERM first, and ended in order.
    assert [attempt for attempt, _exit in attempts["EMBED_DNABERT"]] == ["1", "2"], attempts
    assert [attempt for attempt, _exit in attempts["EMBED_ESM"]] == ["1", "2"], attempts
    assert attempts["EMBED_ESM"][0][1] in ["140", "143"], attempts
    assert (accidents / "told-to-stop").exists()
    assert (accidents / "ended-with").read_text() == "143\n"
    # What reached the scheduler.
    jobs = slurm.jobs()[before:]
    assert (accidents / "cuda-was-asked-for").exists()
    embedding = [job for job in jobs if "EMBED" in job.name]
    assert len(embedding) == 4
    for job in embedding:
        assert job.partition == "gpu", job
        assert re.search(r"gres[:/]gpu:fake[:=]1", slurm.details(job.id)), slurm.details(job.id)
    for job in jobs:
        if job not in embedding:
            assert job.partition == "main", job
            assert "gpu" not in re.sub(r"Partition=\S+|NodeList=\S+", "", slurm.details(job.id)).lower(), job
