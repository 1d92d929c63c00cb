"""The Snakemake workflow on a real SLURM: what the scheduler ends is submitted again, and results are the same."""

import pytest
from snakemake_fixtures import same_tables

# Its own accounting and waiting are off; a file appears at once on a local disk.
ENGINE = ["--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "1"]
ENGINE += ["--latency-wait", "5", "--max-threads", "1", "--jobs", "4"]
# The processes of Snakemake in a job take 250 MB.
MEMORY = [f"{rule}:mem_mb=600 * attempt" for rule in ["chunk", "embed_dnabert", "embed_esm", "merge", "predict"]]
RESOURCES = [*MEMORY, "embed_dnabert:runtime=attempt", "embed_dnabert:gpu=1", "embed_dnabert:slurm_partition=gpu"]

# embed-esm takes too much memory for its first try; embed-dnabert waits in its own for a pipe that gives nothing, as from a
# file system that hangs, until SLURM ends it. There is no GPU behind the pretend one.
OBSTACLES = """
case $1 in
embed-esm)
    python3 -c 'import time; held = bytearray(500 << 20); time.sleep(4)' ;;
embed-dnabert)
    echo "$SLURM_JOB_ID $CUDA_VISIBLE_DEVICES" >> gpus
    set -- "${@/#cuda/cpu}"
    if [ $attempt -eq 1 ]; then
        mkdir hangs && mkfifo hangs/shard-00001.fna && exec 3<> hangs/shard-00001.fna
        set -- "${@/#results*windows/hangs}"
    fi ;;
esac
"""


@pytest.fixture(scope="module")
def on_slurm(shared_folder, slurm, demo):
    folder = shared_folder("slurm")
    folder.sheet(demo=demo)
    folder.before_each_command(OBSTACLES)
    folder.use(slurm.environment)
    before = len(slurm.jobs())
    ran = folder.snakemake(*ENGINE, "--set-resources", *RESOURCES, profile="slurm").ok()
    jobs = {}
    for job in slurm.jobs()[before:]:
        rule = slurm.details(job.id).partition("Comment=")[2].split("_wildcards")[0].removeprefix("rule_")
        jobs.setdefault(rule, []).append(job)
    return folder, ran, jobs


def test_tables_are_those_of_run(on_slurm, by_hand):
    same_tables(on_slurm[0].predictions("demo"), by_hand)


def test_a_job_killed_for_memory_is_submitted_again_with_more(on_slurm, slurm):
    folder, _, jobs = on_slurm
    first, second = jobs["embed_esm"]
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert "mem=600M" in slurm.details(first.id) and "mem=1200M" in slurm.details(second.id)
    assert len(folder.calls("embed-esm")) == 2


def test_a_job_at_its_time_limit_stops_by_itself_and_is_submitted_again_with_more(on_slurm):
    folder, _, jobs = on_slurm
    first, second = jobs["embed_dnabert"]
    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert (first.time_limit, second.time_limit) == ("1", "2")
    assert "VN-TERMINATED" in folder.log("demo", "embed-dnabert-00001", failed_try=1)


def test_the_request_for_a_gpu_reaches_the_scheduler(on_slurm, slurm):
    folder, _, jobs = on_slurm
    for job in jobs["embed_dnabert"]:
        assert "TresPerJob=gres:gpu:1" in slurm.details(job.id)
        assert job.partition == "gpu"
    seen = (folder.path / "gpus").read_text().split()
    assert seen == [str(jobs["embed_dnabert"][0].id), "0", str(jobs["embed_dnabert"][1].id), "0"], "started once each"
    assert all("--device cuda" in call for call in folder.calls("embed-dnabert"))
    assert all(job.partition == "main" for job in jobs["embed_esm"])
