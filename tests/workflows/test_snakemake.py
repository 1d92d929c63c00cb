"""The Snakemake workflow, with the real engine on this machine."""

import gzip
import os
import shutil
import signal
import subprocess
import time

import pytest
from short_memory import WINDOW, limit_that_is_too_small, long_after_short
from short_windows import UNTRAINED, bundle_of_short_windows
from snakemake_fixtures import ROOT, TABLES, WORKFLOW, same_tables, without_model

SHARDS = ["shard_frames=25"]

# No frame without a stop codon, forward or reverse; its reverse complement is itself.
CLOSED = "TAACTAGTTAACTAGTTAACTAGTTA" * 10


def check(*command, environment=None):
    run = subprocess.run(command, cwd=WORKFLOW, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_workflow_is_lint_free(snakemake):
    check("snakemake", "--lint")
    # One job for each sample.
    check("snakemake", "--lint", environment=without_model())


def test_the_workflow_is_formatted(snakemake):
    check("snakefmt", "--check", "workflow")


@pytest.fixture(scope="module")
def mixed(shared_folder, demo):
    """One run over good samples and bad ones."""
    folder = shared_folder("mixed")
    for name, text in [("empty.fa", ""), ("broken.fa", "ACGT\n"), ("closed.fa", f">closed\n{CLOSED}\n")]:
        (folder.path / name).write_text(text)
    folder.sheet(demo=demo, empty="empty.fa", broken="broken.fa", closed="closed.fa", missing="missing.fa")
    return folder, folder.snakemake(settings=SHARDS).fails()


def test_tables_are_those_of_run(mixed, by_hand):
    folder, _ = mixed
    same_tables(folder.predictions("demo"), by_hand)
    assert len(folder.calls("embed-esm")) == 4, "three shards of the demonstration, and an empty one"


@pytest.mark.parametrize(
    ("sample", "fault"), [("empty", "VN-IN-EMPTY"), ("broken", "VN-IN-NOHEADER"), ("missing", "VN-IN-MISSING")]
)
def test_a_bad_input_fails_its_sample_alone(mixed, sample, fault):
    folder, ran = mixed
    assert fault in folder.log(sample, "merge")
    assert f"Logfile logs/{sample}/merge.log" in ran.said and fault in ran.said
    assert not folder.predictions(sample).exists()
    assert len([call for call in folder.calls("chunk") if f"--sample {sample} " in call]) == 1


def test_a_missing_file_is_told_at_the_start(mixed):
    assert "sample missing: missing.fa is not there" in mixed[1].said


def test_a_sample_without_an_open_frame_has_its_tables(mixed, virnucpro, tmp_path):
    folder, _ = mixed
    command = [virnucpro, "run", folder.path / "closed.fa", "--sample", "closed", "-o", tmp_path / "out"]
    subprocess.run(command, check=True, capture_output=True)
    same_tables(folder.predictions("closed"), tmp_path / "out" / "predictions")


def test_windows_and_vectors_are_removed_when_used(mixed):
    folder, _ = mixed
    assert os.listdir(folder.path / "results" / "demo") == ["predictions"]
    assert not any((folder.path / "checkpoints").glob("*"))


def test_a_second_run_does_only_what_failed(mixed):
    folder, _ = mixed
    done = [len(folder.calls(command)) for command in ["embed-esm", "predict"]]
    (folder.path / "broken.fa").write_text(">mended\nACGT\n")
    folder.snakemake(settings=SHARDS).fails()
    assert [len(folder.calls(command)) for command in ["embed-esm", "predict"]] == [count + 1 for count in done]
    assert (folder.predictions("broken") / "sequences.tsv").read_text().count("mended") == 2


def killed_when_reached(folder, settings=SHARDS):
    """A run with all its processes, once a command writes the file `reached`."""
    with folder.started("-c", "2", settings=settings) as run:
        until = time.monotonic() + 120
        while not (folder.path / "reached").exists():
            assert run.poll() is None and time.monotonic() < until, "the run did not come so far"
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("stage", "left", "model", "expected"),
    [
        ("embed-esm", "shard-00001.parquet", UNTRAINED, "by_hand"),
        ("merge", "shard-00001.parquet", UNTRAINED, "by_hand"),
        ("predict", "frames.tsv", UNTRAINED, "by_hand"),
        ("run", "frames.tsv", "mini", "by_mini"),
    ],
)
def test_a_run_that_was_killed_is_completed_by_the_same_command(folder, demo, stage, left, model, expected, request):
    folder.sheet(demo=demo)
    settings = [*SHARDS, f"model={model}"]
    # Of its output there is a folder with one file when the run is killed.
    half_written = (
        f"out=${{BASH_REMATCH[1]}}; mkdir -p $out; touch $out/.lock $out/.{left}.host-1-2-3.partial reached; sleep 60"
    )
    folder.before_each_command(f"[[ $1 = {stage} && $* =~ --output\\ ([^ ]+) ]] && {{ {half_written}; }}")
    killed_when_reached(folder, settings)
    folder.before_each_command("")
    folder.snakemake("--unlock", settings=settings).ok()
    folder.snakemake(settings=settings).ok()
    same_tables(folder.predictions("demo"), request.getfixturevalue(expected))
    assert os.listdir(folder.path / "results" / "demo") == ["predictions"]


def test_a_bundle_without_proteins_has_no_jobs_for_them(folder, demo, by_mini):
    folder.sheet(demo=demo)
    folder.snakemake(settings=[*SHARDS, "model=mini", "keep_intermediate=true"]).ok()
    assert folder.calls("embed-dnabert") and not folder.calls("embed-esm") and not folder.calls("run")
    same_tables(folder.predictions("demo"), by_mini)
    kept = os.listdir(folder.path / "results" / "demo")
    assert sorted(kept) == ["dnabert", "merged", "predictions", "windows"]


@pytest.fixture(scope="module")
def one_job(shared_folder, demo):
    """One run as by somebody without a variable for the model, with the one in the executable."""
    folder = shared_folder("one-job")
    (folder.path / "broken.fa").write_text("ACGT\n")
    folder.use(without_model())
    folder.sheet(demo=demo, broken="broken.fa", missing="missing.fa")
    return folder, folder.snakemake(settings=SHARDS).fails()


def test_the_model_in_the_executable_takes_one_job_for_each_sample(one_job, by_mini):
    folder, _ = one_job
    assert folder.commands() == ["run"] * 3
    same_tables(folder.predictions("demo"), by_mini)
    assert os.listdir(folder.path / "results" / "demo") == ["predictions"]
    assert os.listdir(folder.path / "benchmarks" / "demo") == ["run.tsv"]


@pytest.mark.parametrize(("sample", "fault"), [("broken", "VN-IN-NOHEADER"), ("missing", "VN-IN-MISSING")])
def test_a_bad_input_fails_its_sample_alone_in_one_job_too(one_job, sample, fault):
    folder, ran = one_job
    assert fault in folder.log(sample, "run")
    assert f"Logfile logs/{sample}/run.log" in ran.said and fault in ran.said
    assert not any(folder.predictions(sample).glob("*"))


def test_a_second_run_of_one_job_for_each_sample_does_only_what_failed(one_job):
    folder, _ = one_job
    done = len(folder.calls("run"))
    (folder.path / "broken.fa").write_text(">mended\nACGT\n")
    folder.snakemake(settings=SHARDS).fails()
    again = folder.calls("run")[done:]
    assert sorted(call.split("--sample ")[1].split()[0] for call in again) == ["broken", "missing"]
    assert "mended" in (folder.predictions("broken") / "sequences.tsv").read_text()


def test_what_a_bundle_is_made_of_decides_and_not_its_name(folder, demo, virnucpro, tmp_path):
    shutil.copytree(ROOT / "bundles" / "mini", tmp_path / "models" / "another")
    folder.sheet(demo=demo)
    settings = ["model=another", "models=models", "window=300", "frames=open", "prior=0.3", "region_cost=4"]
    settings += ["min_p=0.1", "tables='tsv,parquet'", "legacy=true", "viral_fasta=true"]
    folder.snakemake(settings=settings).ok()
    assert folder.commands() == ["run"]
    options = ["--window", "300", "--frames", "open", "--prior", "0.3", "--region-cost", "4", "--min-p", "0.1"]
    options += ["--tables", "tsv,parquet", "--legacy", "--viral-fasta", "out/predictions/viral.fa.gz"]
    command = [virnucpro, "run", demo, "--sample", "demo", "--model", "another", "--models", "models", *options]
    subprocess.run([*command, "-o", "out"], check=True, capture_output=True, cwd=tmp_path)
    expected = files(tmp_path / "out" / "predictions")
    assert len(expected) == 11 and gzip.decompress(expected["viral.fa.gz"]).startswith(b">")
    assert files(folder.predictions("demo")) == expected


def files(folder):
    """Content of all published files by name; the manifest says where it was made, and differs."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.name != "manifest.json"}


def test_one_job_for_each_sample_is_told_which_try_it_is(folder, demo):
    folder.sheet(demo=demo)
    folder.before_each_command("[[ $1 = run && $attempt = 1 ]] && exit 4")
    folder.snakemake(settings=["model=mini"]).ok()
    assert [call.split("--attempt ")[1].split()[0] for call in folder.calls("run")] == ["1", "2"]


def test_a_gpu_that_is_asked_for_does_not_hinder_a_bundle_that_has_no_use_for_it(folder, demo, by_mini):
    folder.sheet(demo=demo)
    gpus = ["--set-resources", "embed_dnabert:gpu=1", "embed_esm:gpu=1"]
    folder.snakemake(*gpus, settings=["model=mini"]).ok()
    assert folder.commands() == ["run"] and "--device cpu" in folder.calls("run")[0]
    settings = [*SHARDS, "model=mini", "keep_intermediate=true", "dtype=f16"]
    folder.snakemake("--forceall", *gpus, settings=settings).ok()
    assert all("--device cuda" in call and "--dtype f16" in call for call in folder.calls("embed-dnabert"))
    same_tables(folder.predictions("demo"), by_mini)


def test_the_sequences_called_viral_come_from_stages_too(folder, demo, virnucpro, tmp_path):
    folder.sheet(demo=demo)
    folder.snakemake(settings=[*SHARDS, "viral_fasta=true", "viral_share=0.2"]).ok()
    command = [virnucpro, "run", demo, "--sample", "demo", "--viral-share", "0.2", "-o", "out"]
    subprocess.run([*command, "--viral-fasta", "viral.fa.gz"], check=True, capture_output=True, cwd=tmp_path)
    expected = (tmp_path / "viral.fa.gz").read_bytes()
    assert gzip.decompress(expected).startswith(b">")
    assert (folder.predictions("demo") / "viral.fa.gz").read_bytes() == expected


def test_a_run_is_planned_done_and_left_alone(folder, demo, by_hand):
    folder.sheet(demo=demo)
    settings = [*SHARDS, "shards_per_task=2", "keep_intermediate=True", "tables='tsv,parquet'", "legacy=True"]
    assert "chunk" in folder.snakemake("--dry-run", settings=settings).ok().said
    assert not folder.calls("chunk")
    folder.snakemake(settings=settings).ok()
    for name in [*TABLES, "frames.parquet", "prediction_results_highestscore.csv"]:
        assert (folder.predictions("demo") / name).is_file()
    calls = (folder.path / "calls").read_text()
    assert "Nothing to be done" in folder.snakemake(settings=settings).ok().said
    assert (folder.path / "calls").read_text() == calls
    assert len(folder.calls("embed-dnabert")) == 2
    assert sorted(os.listdir(folder.path / "results/demo/esm/00001")) == [
        ".snakemake_timestamp",
        "manifest.json",
        "shard-00001.parquet",
        "shard-00002.parquet",
    ]
    folder.snakemake(settings=[*settings, "shards_per_task=3"]).ok()
    assert os.listdir(folder.path / "results/demo/esm") == ["00001"], "shards stand in the folders of two settings"
    assert len(list((folder.path / "benchmarks/demo").iterdir())) == len(list((folder.path / "logs/demo").iterdir()))


def test_paired_files_and_lanes_of_a_sample_are_one_sample(folder, virnucpro, tmp_path):
    for name in ["a_1.fq", "a_2.fq", "b_1.fq"]:
        (tmp_path / name).write_text(f"@{name[0]}\nATGGCC\n+\nIIIIII\n")
    (tmp_path / "samples.csv").write_text("sample,fastq_1,fastq_2\ns,a_1.fq,a_2.fq\ns,b_1.fq,\n")
    folder.snakemake().ok()
    files = ["a_1.fq", "a_2.fq", "b_1.fq"]
    command = [virnucpro, "run", *files, "--sample", "s", "-o", "out"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    same_tables(folder.predictions("s"), tmp_path / "out" / "predictions")


def test_what_runs_out_of_memory_is_tried_again_with_half_the_batch_and_goes_on(folder, virnucpro, tmp_path):
    long_after_short(tmp_path / "long.fa")
    folder.sheet(long="long.fa")
    limit = limit_that_is_too_small(virnucpro, tmp_path / "long.fa", tmp_path / "probe")
    # As a scheduler does: more memory with each try.
    folder.before_each_command(f"[[ $1 = embed-esm ]] && ulimit -v $(({limit} * 1024 * attempt))")
    folder.snakemake(settings=[f"window={WINDOW}"]).ok()
    assert [call.split("--attempt ")[1][0] for call in folder.calls("embed-esm")] == ["1", "2"]
    first, second = folder.log("long", "embed-esm-00001", failed_try=1), folder.log("long", "embed-esm-00001")
    assert "1024 tokens per batch" in first and "VN-OOM" in first
    assert "512 tokens per batch" in second
    assert "an earlier try" in second, f"no vectors of the first try were taken up: {first}"
    command = [virnucpro, "run", "long.fa", "--window", str(WINDOW), "-o", "out"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    same_tables(folder.predictions("long"), tmp_path / "out" / "predictions")


def test_what_cannot_succeed_is_done_once(folder, demo):
    folder.sheet(demo=demo)
    ran = folder.snakemake(settings=["model=nowhere"]).fails()
    assert len(folder.calls("chunk")) == 1, "it was tried again in earnest"
    assert "Trying to restart" in ran.said
    for number in [1, 2, 3]:
        assert "VN-MODEL-MISSING" in folder.log("demo", "chunk", failed_try=number)


def test_windows_are_those_that_the_bundle_was_made_for(folder, demo, virnucpro, tmp_path):
    bundle_of_short_windows(tmp_path / "models", "mini300")
    folder.sheet(demo=demo)
    folder.snakemake(settings=["model=mini300", "models=models"]).ok()
    command = [virnucpro, "run", demo, "--sample", "demo", "--model", "mini300", "--models", "models", "-o", "out"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    same_tables(folder.predictions("demo"), tmp_path / "out" / "predictions")


def test_batch_tokens_is_halved_with_each_try(folder, demo):
    folder.sheet(demo=demo)
    folder.before_each_command("[[ $1 = embed-esm && $attempt = 1 ]] && exit 4")
    folder.snakemake(settings=["batch_tokens=4096"]).ok()
    assert [call.split("--batch-tokens ")[1].split()[0] for call in folder.calls("embed-esm")] == ["4096", "2048"]


@pytest.mark.parametrize(
    ("model", "stage", "setting"),
    [(UNTRAINED, "embed-esm", "dtype=bf16"), (UNTRAINED, "chunk", "window=300"), ("mini", "run", "window=300")],
)
def test_other_settings_are_computed_after_a_complete_run(folder, demo, model, stage, setting):
    folder.sheet(demo=demo)
    folder.snakemake(settings=[f"model={model}"]).ok()
    folder.snakemake(settings=[f"model={model}", setting]).ok()
    option = "--" + setting.replace("=", " ")
    assert [option in call for call in folder.calls(stage)] == [False, True]


@pytest.mark.parametrize("model", [[], ["model=mini"]])
def test_tables_of_fewer_formats_take_the_place_of_more(folder, demo, model):
    folder.sheet(demo=demo)
    more = ["tables='tsv,parquet'", "legacy=true", "viral_fasta=true"]
    folder.snakemake(settings=[*more, *model]).ok()
    folder.snakemake(settings=model).ok()
    assert sorted(path.name for path in folder.predictions("demo").glob("[!.]*")) == sorted([*TABLES, "manifest.json"])


def test_a_refused_input_that_was_mended_with_an_older_file_is_read_again_after_a_kill(folder, demo, tmp_path):
    (tmp_path / "a.fa").write_text("ACGT\n")
    folder.sheet(a="a.fa", demo=demo)
    refused = "until [ -e results/a/windows/refused.log ]; do sleep 0.1; done"
    folder.before_each_command(f"[[ $* = chunk*demo.fa* ]] && {{ {refused}; sleep 2; touch reached; sleep 60; }}")
    killed_when_reached(folder)
    (tmp_path / "a.fa").write_text(">mended\nACGT\n")
    os.utime(tmp_path / "a.fa", (10**9, 10**9))
    folder.before_each_command("")
    folder.snakemake("--unlock", settings=SHARDS).ok()
    folder.snakemake(settings=SHARDS).ok()
    assert "mended" in (folder.predictions("a") / "sequences.tsv").read_text()


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("shard_frame=20", "'shard_frame' was unexpected"),
        ("shard_frames=0", "0 is less than the minimum"),
        ("viral_share=0.2 mixed_share=0.3", "mixed_share is larger than viral_share"),
        ("min_p=0.9 fdr=0.1", "fdr takes the place of min_p"),
        ("prior=0", "0 is less than or equal to the minimum"),
        ("prior=1", "1 is greater than or equal to the maximum"),
        ("input=nowhere.csv", "nowhere.csv: no such sample sheet"),
    ],
)
def test_settings_are_checked_before_anything_runs(folder, demo, setting, found):
    folder.sheet(demo=demo)
    said = folder.snakemake("--dry-run", settings=setting.split()).fails().said
    assert found in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("sheet", "found"),
    [
        ("sample,fasta\na/b,a.fa\n", "line 2: a/b names a folder"),
        ("sample,fasta\na,a.fa\n\nb,\n", "line 4: no file"),
        ("sample,fasta\n,a.fa\n", "line 2: no sample"),
        ("sample,fasta\na,b,a.fa\n", "line 2: more cells than columns"),
        ("sample,fastq_1,fastq_2\na,,a.fa\n", "line 2: fastq_2 without fastq_1"),
        ("sample,fasta\na,a.fa\na, ./a.fa\n", "line 3: ./a.fa is listed twice for a"),
        ("sample,fasta,fasta\na,a.fa,b.fa\n", "line 1: a column twice"),
        ("sample,reads\na,a.fa\n", "line 1: expected the columns"),
        ("sample,fasta\n", "no samples"),
        ("", "no samples"),
        ("sample,fasta\nS\u00e4ule,a.fa\n", "not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_told_in_one_line_before_anything_runs(folder, sheet, found):
    (folder.path / "samples.csv").write_text(sheet, encoding="latin-1")
    said = folder.snakemake("--dry-run").fails().said
    assert found in next(line for line in said.splitlines() if "samples.csv" in line)
    assert "Traceback" not in said


def test_a_sheet_has_tabs_blanks_and_the_column_file_too(folder, demo):
    (folder.path / "samples.tsv").write_text(f"sample\tfile\n_a+b \t {demo}\n")
    said = folder.snakemake("--dry-run", settings=["input=samples.tsv", "keep_intermediate=true"]).ok().said
    assert "results/_a+b/windows" in said


def test_it_can_be_part_of_another_workflow(folder, demo):
    (folder.path / "demo.fa").write_bytes(demo.read_bytes())
    folder.sheet(demo="demo.fa")
    (folder.path / "Snakefile").write_text(
        f"""
module virnucpro:
    snakefile: "{WORKFLOW}/workflow/Snakefile"
    config: {{"input": "samples.csv"}}
    prefix: "vnp"

use rule * from virnucpro as virnucpro_*

rule mine:
    default_target: True
    input: "vnp/results/demo/predictions/sequences.tsv"
    output: "mine.txt"
    shell: "wc -l < {{input}} > {{output}}"
"""
    )
    command = ["snakemake", "--cores", "2"]
    run = subprocess.run(command, cwd=folder.path, env=folder.environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (folder.path / "mine.txt").read_text() == "14\n"


def test_the_workflow_runs_in_the_image(folder, demo, by_hand, image):
    folder.sheet(demo=demo)
    (folder.path / "bin" / "virnucpro").write_text("#!/bin/sh\nexit 1\n")
    bind = f"--bind {demo.parent} --bind {demo.parents[1]}/bundles"
    folder.snakemake("--sdm", "apptainer", "--apptainer-args", bind, settings=[*SHARDS, f"container={image}"]).ok()
    same_tables(folder.predictions("demo"), by_hand)
