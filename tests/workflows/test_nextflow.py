"""The Nextflow workflow, run by the real engine."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nextflow_fixtures import ROOT, tables
from short_memory import WINDOW, limit_that_is_too_small, long_after_short
from short_windows import bundle_of_short_windows

WORKFLOW = ROOT / "workflows" / "nextflow"
MODULES = ["chunk", "embeddnabert", "embedesm", "merge", "predict", "run"]
# 800 bases without an open frame: every frame of either strand meets TAA.
CLOSED = f">closed\n{'TTAA' * 200}\n"


@pytest.fixture(scope="module")
def demo_run(nextflow, tmp_path_factory):
    """The profile `test`, as a user runs it first."""
    return nextflow.run(tmp_path_factory.mktemp("demo") / "run").ok()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_test_profile_gives_the_tables_of_run(demo_run, by_hand):
    assert demo_run.tables("demo") == tables(by_hand)
    embedded = [task["process"] for task in demo_run.tasks()].count("EMBED_ESM")
    assert embedded > 1, "one shard only: nothing was scattered"


def test_every_task_leaves_its_version_and_provenance(demo_run):
    info = demo_run.folder / "results" / "pipeline_info"
    versions = (info / "virnucpro_software_mqc_versions.yml").read_text()
    assert re.findall(r"^VIRNUCPRO:(\w+):\n    virnucpro: \d", versions, re.M) == [
        "CHUNK",
        "EMBED_DNABERT",
        "EMBED_ESM",
        "MERGE",
        "PREDICT",
    ]
    lines = [json.loads(line) for line in (info / "provenance" / "demo.jsonl").read_text().splitlines()]
    assert len(lines) == len(demo_run.tasks())
    assert all(line["tool"].startswith("virnucpro ") and line["complete"] for line in lines)
    for report in ["timeline.html", "report.html", "dag.html"]:
        assert (info / report).is_file()


def test_resume_does_nothing_again_also_with_other_ways_to_work(demo_run, nextflow):
    tuning = write(demo_run.folder / "tuning.config", "process { withLabel: process_medium { cpus = 1 } }\n")
    knobs = ["--batch_tokens", "333", "--checkpoint_dir", demo_run.folder / "elsewhere", "-c", tuning]
    again = nextflow.run(demo_run.folder, "-resume", *knobs).ok()
    assert {task["status"] for task in again.tasks()} == {"CACHED"}


def test_a_bundle_without_proteins_has_no_tasks_for_them(nextflow, by_mini, tmp_path):
    ran = nextflow.run(tmp_path / "run", "--model", "mini", "--keep_intermediate").ok()
    assert ran.tasks(process="EMBED_DNABERT") and not ran.tasks(process="EMBED_ESM")
    assert ran.tables("demo") == tables(by_mini)
    published = ran.folder / "results" / "demo"
    assert {path.name for path in published.iterdir()} == {"windows", "dnabert", "merged", "predictions"}


@pytest.fixture(scope="module")
def whole_run(nextflow, tmp_path_factory):
    """The profile `test` as somebody without a variable for the model runs it: with the one in the executable."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return nextflow.run(folder, environment=without_model()).ok()


def without_model():
    return {name: value for name, value in os.environ.items() if name != "VIRNUCPRO_MODEL"}


def test_the_model_in_the_executable_takes_one_task_for_each_sample(whole_run, by_mini):
    assert [task["process"] for task in whole_run.tasks()] == ["RUN"]
    assert whole_run.tables("demo") == tables(by_mini)
    assert {path.name for path in (whole_run.folder / "results" / "demo").iterdir()} == {"predictions"}
    lines = (whole_run.folder / "results" / "pipeline_info" / "provenance" / "demo.jsonl").read_text().splitlines()
    assert [json.loads(line)["complete"] for line in lines] == [True]


def test_resume_of_one_task_for_each_sample_does_nothing_again(whole_run, nextflow):
    again = nextflow.run(whole_run.folder, "-resume", environment=without_model()).ok()
    assert [task["status"] for task in again.tasks()] == ["CACHED"]


def test_what_a_bundle_is_made_of_decides_and_not_its_name(nextflow, virnucpro, demo, tmp_path):
    bundle = tmp_path / "another"
    shutil.copytree(ROOT / "bundles" / "mini", bundle)
    options = ["--window", "300", "--frames", "open", "--prior", "0.3", "--tables", "tsv,parquet", "--legacy"]
    named = ["--min_p", "0.1", "--region_cost", "4", "--viral_fasta"]
    ran = nextflow.run(tmp_path / "run", "--model", bundle, *options, *named, parser="v2").ok()
    assert [task["process"] for task in ran.tasks()] == ["RUN"]
    viral = tmp_path / "out" / "predictions" / "viral.fa.gz"
    named = ["--min-p", "0.1", "--region-cost", "4", "--viral-fasta", viral]
    given = ["--sample", "demo", "-m", bundle, "-q", "-o", tmp_path / "out", *options, *named]
    subprocess.run([virnucpro, "run", demo, *given], check=True)
    assert gzip.decompress(viral.read_bytes()).startswith(b">")
    assert_same_files(ran.tables("demo"), tables(viral.parent), number=11)


def assert_same_files(found, expected, number):
    """The same names, and the same bytes but in typed copies: these name the digest of what they were made from."""
    assert found.keys() == expected.keys()
    assert len(expected) == number
    for name in expected:
        assert name.endswith(".parquet") or expected[name] == found[name], name


def test_one_task_for_each_sample_is_told_which_try_it_is(nextflow, by_mini, tmp_path):
    refused = nextflow.instead(
        tmp_path / "refused", '[[ "$*" != run*"--attempt 1"* ]] || exit 4\nexec "$VIRNUCPRO" "$@"\n'
    )
    ran = refused.run(tmp_path / "run", "--model", "mini").ok()
    assert [task["exit"] for task in ran.tasks(process="RUN")] == ["4", "0"]
    assert ran.tables("demo") == tables(by_mini)


def test_a_gpu_that_is_asked_for_does_not_hinder_a_bundle_that_has_no_use_for_it(nextflow, by_mini, tmp_path):
    for name, more in [("whole", []), ("staged", ["--keep_intermediate", "--dtype", "f16"])]:
        ran = nextflow.run(tmp_path / name, "--model", "mini", *more, profile="gpu,test").ok()
        assert ran.tables("demo") == tables(by_mini)
    scripts = [(Path(task["workdir"]) / ".command.sh").read_text() for task in ran.tasks(process="EMBED_DNABERT")]
    assert scripts and all("--device cuda" in script and "--dtype f16" in script for script in scripts)


def test_an_input_that_is_refused_fails_alone_in_one_task_too(nextflow, demo, by_mini, tmp_path):
    broken = write(tmp_path / "broken.fa", ">x\nAC!GT\n")
    sheet = write(tmp_path / "sheet.csv", f"sample,fasta\nbroken,{broken}\ndemo,{demo}\n")
    ran = nextflow.run(tmp_path / "run", "--input", sheet, "--model", "mini").fails()
    ran.says("No result for broken: its input cannot be used", "VN-IN-CHAR", str(broken))
    assert ran.tables("demo") == tables(by_mini)


@pytest.mark.parametrize("engine", ["nextflow", "old_nextflow"])
def test_the_other_parser_and_the_older_engine_give_the_same(engine, request, tmp_path, by_hand):
    # The strict parser of 25.04 leaves what the configuration itself makes of --outdir at its default: reports only.
    ran = request.getfixturevalue(engine).run(tmp_path / "run", "--shards_per_task", "2", parser="v2").ok()
    assert ran.tables("demo") == tables(by_hand)
    shards = len(list(tmp_path.glob("run/work/*/*/demo/windows/*.faa")))
    assert len(ran.tasks(process="EMBED_ESM")) == (shards + 1) // 2


def test_real_genomes_by_a_glob_with_every_file_that_run_writes(nextflow, virnucpro, tmp_path):
    genomes = ROOT.parent / "shared" / "genomes" / "demo" / "real_demo.fa.gz"
    if not genomes.is_file():
        pytest.skip(f"{genomes} is not here")
    # The first million letters: the embedded model needs seconds for them.
    with gzip.open(genomes, "rt") as file:
        records = file.read(1_000_000).rpartition(">")[0]
    half = records.index(">", len(records) // 2)
    for name, text in [("one", records[:half]), ("two", records[half:])]:
        (tmp_path / "reads").mkdir(exist_ok=True)
        (tmp_path / "reads" / f"{name}.fa.gz").write_bytes(gzip.compress(text.encode()))
    options = ["--legacy", "--viral-share", "0.7", "--tables", "tsv,parquet"]
    ran = nextflow.run(
        tmp_path / "run",
        *["--input", tmp_path / "reads" / "*.fa.gz", "--shard_frames", "3000", "--keep_intermediate", "--viral_fasta"],
        *[word.replace("--viral-share", "--viral_share") for word in options],
    ).ok()
    for name in ["one", "two"]:
        output = tmp_path / name
        reads = tmp_path / "reads" / f"{name}.fa.gz"
        viral = ["--viral-fasta", output / "predictions" / "viral.fa.gz"]
        subprocess.run([virnucpro, "run", reads, "--sample", name, "-q", *options, *viral, "-o", output], check=True)
        assert_same_files(ran.tables(name), tables(output / "predictions"), number=11)
        published = ran.folder / "results" / name
        assert {path.name for path in published.iterdir()} == {"windows", "dnabert", "esm", "merged", "predictions"}


def test_a_sample_with_bad_input_fails_alone_and_is_named(nextflow, demo, by_hand, tmp_path):
    inputs = tmp_path / "inputs"
    write(inputs / "closed.fa", CLOSED)
    write(inputs / "broken.fa", ">x\nACGT\n>y\nAC!GT\n")
    write(inputs / "empty.fa", "")
    sheet = write(
        inputs / "sheet.csv",
        f'sample,fasta\nbroken,broken.fa\nempty,empty.fa\nclosed,"closed.fa"\ndemo,{demo}\n',
    )
    ran = nextflow.run(tmp_path / "run", "--input", sheet).fails()
    ran.says("No result for broken: its input cannot be used", "VN-IN-CHAR", "'!' at column 3")
    ran.says("No result for empty: its input cannot be used", "VN-IN-EMPTY")
    ran.says("No result for 2 of 4 samples: broken, empty")
    # A file is named as the user knows it, not as the task links it.
    ran.says(str(inputs / "broken.fa"))
    assert not re.search(r"input\d*/broken", ran.told)
    assert [task["attempt"] for task in ran.tasks(status="FAILED")] == ["1", "1"]
    assert ran.tables("demo") == tables(by_hand)
    sequences = ran.tables("closed")["sequences.tsv"].decode().splitlines()
    assert len(sequences) == 2
    assert "\tno-call\t" in sequences[1]
    # The broken file mended, and empty ones allowed: the rest is kept.
    write(inputs / "broken.fa", ">x\nACGT\n>y\nACGT\n")
    again = nextflow.run(ran.folder, "--input", sheet, "--allow_empty", "-resume").ok()
    assert len(again.tables("empty")["sequences.tsv"].decode().splitlines()) == 1
    assert len(again.tables("broken")["sequences.tsv"].decode().splitlines()) == 3


def test_mates_of_a_sample_are_read_together_with_a_bundle_of_ones_own(nextflow, virnucpro, tmp_path):
    bases = "ATGGCT" * 60
    for mate in "12":
        write(tmp_path / f"r_{mate}.fq", f"@r1\n{bases}\n+\n{'I' * len(bases)}\n")
    sheet = write(tmp_path / "sheet.csv", "sample,fastq_1,fastq_2\npair,r_1.fq,r_2.fq\nsingle,r_1.fq,\n")
    # A bundle says how long its windows are.
    bundle = bundle_of_short_windows(tmp_path / "models", "short")
    models = ["--model", "short", "--models", tmp_path / "models"]
    # Every sequence with a score is viral.
    ran = nextflow.run(tmp_path / "run", "--input", sheet, *models, "--viral_share", "0", "--viral_fasta").ok()
    for sample, files in [("pair", ["r_1.fq", "r_2.fq"]), ("single", ["r_1.fq"])]:
        reads = [tmp_path / file for file in files]
        viral = ["--viral-share", "0", "--viral-fasta", tmp_path / sample / "predictions" / "viral.fa.gz"]
        given = ["--sample", sample, "-m", bundle, "-q", "-o", tmp_path / sample, *viral]
        subprocess.run([virnucpro, "run", *reads, *given], check=True)
        assert ran.tables(sample) == tables(tmp_path / sample / "predictions")
    assert gzip.decompress(ran.tables("pair")["viral.fa.gz"]).count(b">") == 2
    assert b"_chunk_2\t179\t360\t" in ran.tables("single")["windows.tsv"]


def test_a_first_attempt_that_runs_out_of_memory_is_followed_by_one_with_half_the_batch_that_goes_on(
    nextflow, virnucpro, tmp_path
):
    reads = long_after_short(tmp_path / "reads.fa")
    limit = limit_that_is_too_small(virnucpro, reads, tmp_path / "probe")
    # A limit that grows with each attempt, as the request for memory does.
    limited = nextflow.instead(tmp_path / "limited", LIMITED % (limit * 1024))
    given = ["--input", reads, "--window", WINDOW, "--shard_frames", "10000"]
    ran = limited.run(tmp_path / "run", *given).ok()
    ran.says("terminated with an error exit status (4) -- Execution is retried (1)")
    embedded = ran.tasks(process="EMBED_ESM")
    assert [(task["status"], task["exit"], task["attempt"]) for task in embedded] == [
        ("FAILED", "4", "1"),
        ("COMPLETED", "0", "2"),
    ]
    first, second = [(Path(task["workdir"]) / ".command.err").read_text() for task in embedded]
    assert "1024 tokens per batch" in first and "512 tokens per batch" in second
    assert "of an earlier try" in second, f"no vectors of the first try were taken up:\n{first}"
    by_hand = [virnucpro, "run", reads, "--sample", "reads", "--window", str(WINDOW), "-q", "-o", tmp_path / "out"]
    subprocess.run(by_hand, check=True)
    assert ran.tables("reads") == tables(tmp_path / "out" / "predictions")
    again = limited.run(tmp_path / "run", *given, "-resume").ok()
    assert {task["status"] for task in again.tasks()} == {"CACHED"}


def test_a_number_of_tokens_that_is_given_is_halved_too(nextflow, demo, tmp_path):
    refused = nextflow.instead(
        tmp_path / "refused", '[[ "$*" != embed-esm*"--attempt 1"* ]] || exit 4\nexec "$VIRNUCPRO" "$@"\n'
    )
    ran = refused.run(tmp_path / "run", "--input", demo, "--batch_tokens", "2048").ok()
    second = ran.tasks(process="EMBED_ESM", attempt="2")[0]
    assert "1024 tokens per batch" in (Path(second["workdir"]) / ".command.err").read_text()


LIMITED = """
[[ "$*" != embed-esm*--attempt\\ * ]] || ulimit -v $((%d * $(sed 's/.*--attempt \\([0-9]*\\).*/\\1/' <<< "$*")))
exec "$VIRNUCPRO" "$@"
"""


def test_a_stub_run_makes_every_file_without_the_work(nextflow, tmp_path):
    ran = nextflow.run(tmp_path / "run", "-stub-run", parser="v2").ok()
    assert [task["process"] for task in ran.tasks()].count("EMBED_ESM") == 1
    assert ran.tables("demo").keys() == {
        "frames.tsv",
        "sequences.tsv",
        "summary.json",
        "viral_regions.bed",
        "windows.tsv",
    }
    assert ran.tables("demo")["sequences.tsv"].startswith(b"sample\tsequence_id\t")


def test_everything_that_is_wrong_with_a_sheet_is_told_before_any_task(nextflow, demo, tmp_path):
    sheet = write(tmp_path / "sheet.csv", f"sample,fasta\na,missing.fa\n,{demo}\nb,\nc,{demo}\nc,{demo}\n")
    ran = nextflow.run(tmp_path / "run", "--input", sheet).fails()
    ran.says("line 2: ", "missing.fa of a is missing", "line 3: no sample", "line 4: no file", "listed twice for c")
    assert "Submitted" not in ran.told
    columns = write(tmp_path / "columns.csv", f"id,path\na,{demo}\n")
    nextflow.run(tmp_path / "run", "--input", columns).fails().says("has the columns id, path", "expected sample,fasta")
    named = write(tmp_path / "named.csv", f"sample,fasta\n../a b,{demo}\n")
    nextflow.run(tmp_path / "run", "--input", named).fails().says("Names of samples", "../a b")


def test_a_wrong_parameter_is_told_before_any_task(nextflow, tmp_path):
    wrong = ["--windw", "300", "--viral_share", "2", "--letters", "lax", "--window", "long", "--legacy", "maybe"]
    ran = nextflow.run(tmp_path / "run", *wrong, parser="v2").fails()
    ran.says(
        "--windw is not a parameter",
        "is --window meant?",
        "--viral_share 2: expected 0 to 1",
        "--letters lax: use strict or mask",
    )
    ran.says("--window long: expected a whole number", "--legacy maybe: use true or false")
    for prior in ["0", "1"]:
        ran = nextflow.run(tmp_path / "run", "--prior", prior).fails()
        ran.says(f"--prior {prior}: expected a number above 0 and below 1")
    ran = nextflow.run(tmp_path / "run", "--fdr", "0.1", "--min_p", "0.9").fails()
    ran.says("--fdr takes the place of --min_p")
    nextflow.run(tmp_path / "run", "--model", "absent").fails().says("--model absent: no bundle in")
    order = ["--viral_share", "0.3", "--mixed_share", "0.4"]
    ran = nextflow.run(tmp_path / "run", *order).fails()
    ran.says("--mixed_share 0.4: expected at most --viral_share, which is 0.3")
    assert "Submitted" not in ran.told
    moved = nextflow.run(tmp_path / "run", "--publish_dir_mode", "move").fails()
    moved.says("--publish_dir_mode move: use copy or")


def test_help_leaves_no_reports_and_false_asks_for_none(nextflow, tmp_path):
    helped = nextflow.command("run", ROOT, "--help", cwd=tmp_path).ok()
    helped.says("--shard_frames", "Frames per shard", "[10000]")
    assert not (tmp_path / "results").exists()
    given = write(tmp_path / "params.json", '{"help": "false"}')
    ran = nextflow.run(tmp_path / "run", "-stub-run", "-params-file", given).ok()
    assert ran.tasks(process="PREDICT")


def test_parameters_of_a_site_give_warnings_only(nextflow, tmp_path):
    site = write(tmp_path / "site.config", "params { config_profile_description = 'A site'\n max_memory = '128.GB' }\n")
    ran = nextflow.run(tmp_path / "run", "-stub-run", "-c", site, "--viral-share", "0.6").ok()
    ran.says("--config_profile_description is not a parameter", "--max_memory is not a parameter")
    ran.says("is not a parameter of this workflow and has no effect: is --viral_share meant?")
    assert "is --" not in ran.told.partition("--max_memory")[2].splitlines()[0]


def test_the_model_of_the_environment_is_a_parameter_and_other_variables_do_not_count(nextflow, by_hand, tmp_path):
    bundle = bundle_of_short_windows(tmp_path / "models", "short")
    shell = {**os.environ, "VIRNUCPRO_MODEL": "short", "VIRNUCPRO_MODELS": str(bundle.parent)}
    ran = nextflow.run(tmp_path / "run", environment=shell).ok()
    assert b"\tshort" in ran.tables("demo")["sequences.tsv"]
    rows = [row.split("\t") for row in ran.tables("demo")["windows.tsv"].decode().splitlines()[1:]]
    assert max(int(row[4]) - int(row[3]) for row in rows) <= 300
    shell = {**os.environ, "VIRNUCPRO_WINDOW": "300", "VIRNUCPRO_MIXED_SHARE": "0.4", "VIRNUCPRO_LEGACY": "true"}
    again = nextflow.run(tmp_path / "run", "-resume", environment=shell).ok()
    assert again.tables("demo") == tables(by_hand)


def test_a_gpu_embeds_anew_where_the_number_format_is_automatic(nextflow, demo, tmp_path):
    # There is no GPU here to compute on.
    without = nextflow.instead(
        tmp_path / "without", 'words=("${@/#cuda/cpu}")\nexec "$VIRNUCPRO" "${words[@]/#f16/f32}"\n'
    )
    given = ["--input", demo, "--shard_frames", "10000"]
    without.run(tmp_path / "run", *given).ok()
    again = without.run(tmp_path / "run", *given, "-resume", profile="gpu,test").ok()
    status = {task["process"]: task["status"] for task in again.tasks()}
    assert status["CHUNK"] == "CACHED"
    assert status["EMBED_ESM"] == status["EMBED_DNABERT"] == "COMPLETED"
    if os.getuid() == 0 and shutil.which("setpriv"):
        # The lock that root made is everybody's.
        wrapper = (Path(again.tasks(process="EMBED_ESM")[0]["workdir"]) / ".command.run").read_text()
        lock = next(line for line in wrapper.splitlines() if "virnucpro-gpu.lock" in line)
        nobody = ["setpriv", "--reuid", "65534", "--clear-groups", "bash", "-euc", lock]
        subprocess.run(nobody, check=True, timeout=60)


def test_docker_sees_the_gpus_that_the_shell_allows(nextflow, tmp_path):
    nextflow.command("config", "-profile", "docker", ROOT, cwd=tmp_path).ok().says("CUDA_VISIBLE_DEVICES")


def test_a_sheet_with_brackets_in_names_and_blank_lines_is_read(nextflow, demo, tmp_path):
    odd = tmp_path / "x[1].fa"
    shutil.copy(demo, odd)
    sheet = write(tmp_path / "s[2].csv", f'\ufeffsample,note,fasta\n\n_a+b,"one, ""two""","{odd}"\n\n')
    ran = nextflow.run(tmp_path / "run", "-stub-run", "--input", sheet).ok()
    assert ran.tables("_a+b")
    nextflow.run(tmp_path / "run", "--input", odd).fails().says("Names of samples", "A sample sheet gives files other")
    nextflow.run(tmp_path / "run", "--input", tmp_path).fails().says("is a folder")


def test_faults_of_a_sheet_are_told_with_their_lines(nextflow, demo, tmp_path):
    def told(text, *parts):
        sheet = tmp_path / "sheet.csv"
        sheet.write_bytes(text.encode("latin-1"))
        ran = nextflow.run(tmp_path / "run", "--input", sheet).fails().says(str(sheet), *parts)
        assert "Submitted" not in ran.told

    told("", "lists no samples")
    told("sample,fasta\na,b.fa\nf\xfcnf,c.fa\n", "is not UTF-8, first in line 3", "iconv")
    told("sample,fasta,fasta\na,b,c\n", "has the column fasta more than once")
    told(
        f"sample,fastq_1,fastq_2\n\na,{demo},,x\n\nb,,{demo}\nc,.,\n",
        *["line 3: 4 cells under 3 columns", "line 5: fastq_2 without fastq_1", "line 6: ", "of c is a folder"],
    )
    sheet = write(tmp_path / "named.csv", f"sample,fasta\npipeline_info,{demo}\n")
    nextflow.run(tmp_path / "run", "--input", sheet).fails().says("cannot be named pipeline_info")


def schema_parameters():
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    return {name: about for group in schema["$defs"].values() for name, about in group["properties"].items()}


def test_the_schema_describes_the_parameters_and_their_defaults(nextflow, tmp_path):
    told = nextflow.command("config", "-o", "json", ROOT, cwd=tmp_path).ok().told
    config = json.loads(told[told.index("{") :])
    described = schema_parameters()
    assert config["params"].keys() == described.keys()
    for name, value in config["params"].items():
        assert described[name].get("default", False if described[name]["type"] == "boolean" else None) == value, name
        assert described[name]["description"]


def test_readme_and_schema_name_the_same_parameters():
    readme = (WORKFLOW / "README.md").read_text()
    rows = re.findall(r"^\| `--(\w+)` ", readme, re.M)
    assert sorted(rows) == sorted(schema_parameters())


def test_the_version_is_the_same_everywhere():
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert f"version         = '{version}'" in (ROOT / "nextflow.config").read_text()
    for module in MODULES:
        folder = WORKFLOW / "modules" / "local" / "virnucpro" / module
        assert f'container "virnucpro:{version}"' in (folder / "main.nf").read_text()
        assert f"virnucpro={version}\n" in (folder / "environment.yml").read_text()


def test_the_engines_own_linter_finds_nothing(nextflow, tmp_path):
    sources = [ROOT / "nextflow.config", WORKFLOW]
    nextflow.command("lint", *sources, cwd=tmp_path, parser="v2").ok().says("had no errors")


def test_the_linters_of_nf_core_find_nothing(nextflow, tmp_path):
    nf_core = Path(sys.executable).parent / "nf-core"
    if not nf_core.is_file():
        pytest.skip("nf-core is not installed: make test-workflows brings it")
    # A pipeline as those linters expect one.
    pipeline = tmp_path / "pipeline"
    write(pipeline / "main.nf", "workflow { }\n")
    write(pipeline / ".nf-core.yml", "repository_type: pipeline\n")
    write(pipeline / "modules.json", '{"name": "", "homePage": "https://example.org", "repos": {}}\n')
    for name in ["nextflow.config", "nextflow_schema.json", "workflows"]:
        (pipeline / name).symlink_to(ROOT / name)
    (pipeline / "modules").symlink_to(WORKFLOW / "modules")
    subprocess.run(["git", "init", "-q", pipeline], check=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(nextflow.launcher).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "NFCORE_NO_VERSION_CHECK": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
        # They clone nf-core/modules, for what is compared with it: here nothing is.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{nothing_of_nf_core(tmp_path)}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/nf-core/modules.git",
    }

    def lint(*arguments):
        ran = subprocess.run(
            [nf_core, *arguments], cwd=pipeline, env=environment, text=True, capture_output=True, timeout=300
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    told = lint("modules", "lint", "--local", "--all")
    assert re.search(r"\d{3} Tests Passed", told), told
    assert re.search(r"\b0 Tests Failed", told), told
    # Registries cannot be asked, and `process_gpu` is newer than the linter's list of labels.
    for warning in re.findall(r"(\w+_\w+): ", told.partition("Module Test Warnings")[2]):
        assert warning in ["bioconda_version", "docker_tag", "singularity_tag", "process_standard_label"], told
    assert "WARNING" not in lint("pipelines", "schema", "lint", "nextflow_schema.json")


def nothing_of_nf_core(tmp_path):
    """A repository with the layout of nf-core/modules and no module in it."""
    work, bare = tmp_path / "modules", tmp_path / "modules.git"
    write(work / ".nf-core.yml", "repository_type: modules\norg_path: nf-core\n")
    for schema in ["meta", "environment"]:
        write(work / "modules" / f"{schema}-schema.json", "{}\n")
    for kind in ["modules", "subworkflows"]:
        write(work / kind / "nf-core" / ".keep", "")
    for command in [
        ["init", "-q", "-b", "master"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "nothing"],
        ["clone", "-q", "--bare", ".", bare],
    ]:
        subprocess.run(["git", *command], cwd=work, check=True)
    return bare


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
def test_every_task_runs_in_the_image(engine, nextflow, image, by_hand, tmp_path):
    if engine == "singularity" and not shutil.which("singularity"):
        pytest.skip("singularity is not on PATH")
    # Without the executable on PATH: only the image has it.
    inside = nextflow.instead(tmp_path / "none", "exit 1\n")
    ran = inside.run(tmp_path / "run", "--container", image, "--batch_tokens", "777", profile=f"test,{engine}").ok()
    assert ran.tables("demo") == tables(by_hand)
    assert {task["container"] for task in ran.tasks()} == {str(image)}
    # The environment reaches the inside.
    for task in ran.tasks(process="EMBED_ESM"):
        assert "777 tokens per batch" in (Path(task["workdir"]) / ".command.err").read_text()


def test_a_small_machine_is_enough_without_any_profile(nextflow, old_nextflow, tmp_path):
    one_processor = {**os.environ, "NXF_OPTS": "-XX:ActiveProcessorCount=1"}
    for name, engine, parser in [("new", nextflow, "v1"), ("strict", nextflow, "v2"), ("old", old_nextflow, "v1")]:
        ran = engine.run(
            tmp_path / name,
            *["-stub-run", "--input", ROOT / "examples" / "demo.fa"],
            profile="standard",
            parser=parser,
            environment=one_processor,
        ).ok()
        assert len(ran.tasks(status="COMPLETED")) == 5


def test_a_relative_folder_for_checkpoints_is_one_for_all_tasks(nextflow, demo, tmp_path):
    said = nextflow.instead(
        tmp_path / "said", '[[ "$*" != embed-* ]] || echo "$VIRNUCPRO_CHECKPOINT_DIR" >&2\nexec "$VIRNUCPRO" "$@"\n'
    )
    ran = said.run(tmp_path / "run", "--input", demo, "--checkpoint_dir", "it's kept").ok()
    for task in ran.tasks(process="EMBED_ESM"):
        told = (Path(task["workdir"]) / ".command.err").read_text().splitlines()
        assert str(tmp_path / "run" / "it's kept") in told
