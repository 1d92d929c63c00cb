"""The image of Singularity.def: what is in it, and that the pipeline runs in it as clusters run images."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from container_fixtures import ROOT, run
from test_dist import same_tables

# What a workflow engine leaves of an environment: nothing.
NOTHING = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture
def inside(apptainer, image):
    """Runs a command in the image, with options of `apptainer exec` before it."""

    def execute(*command, options=(), check=True, **how):
        words = [str(word) for word in (apptainer, "exec", *options, image, *command)]
        ran = subprocess.run(words, capture_output=True, text=True, env=NOTHING, **how)
        assert not check or ran.returncode == 0, f"{words} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
        return ran

    return execute


@pytest.fixture
def given(demo, tmp_path):
    """A folder with the input, to be bound into the image."""
    (tmp_path / "in").mkdir()
    shutil.copy(demo, tmp_path / "in")
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.fixture
def open_folder():
    """A folder that every user can enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield folder


def closed(given):
    """Options that leave the image nothing of the machine but a folder to read and one to write."""
    return ["--containall", "--no-home", "--bind", f"{given}/in:/in:ro", "--bind", f"{given}/out:/out", "--pwd", "/out"]


def test_its_own_test_passes(apptainer, image):
    run(apptainer, "test", image, env=NOTHING)


def test_the_whole_pipeline_in_it_gives_the_same_bytes(inside, given, by_mini):
    inside("virnucpro", "run", "/in/demo.fa", "--sample", "demo", "-o", "/out/r", options=closed(given))
    same_tables(given / "out" / "r" / "predictions", by_mini)


def test_the_stages_one_by_one_give_the_same_bytes(inside, given, by_mini):
    stages = """
        set -euo pipefail
        virnucpro chunk /in/demo.fa --sample demo -o windows
        virnucpro embed-dnabert windows/shard-00001.fna -o dnabert
        virnucpro merge --dnabert dnabert -o merged
        virnucpro predict merged --windows windows -o predictions
    """
    inside("bash", "-c", stages, options=closed(given))
    same_tables(given / "out" / "predictions", by_mini)


def test_another_user_without_a_home_runs_it(apptainer, image, demo, by_mini, open_folder):
    """An image that belongs to root, run by somebody with no rights and no folder of their own."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    nobody = pwd.getpwnam("nobody")
    given = Path(open_folder)
    for folder in ("in", "out"):
        (given / folder).mkdir()
    shutil.copy(demo, given / "in")
    shutil.copy(image, given / "image.sif")
    os.chown(given / "out", nobody.pw_uid, nobody.pw_gid)
    command = [apptainer, "exec", *closed(given), given / "image.sif"]
    command += ["sh", "-c", "id -u && echo HOME=${HOME-} && virnucpro run /in/demo.fa --sample demo -o r"]
    become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    ran = subprocess.run([*become, *map(str, command)], capture_output=True, text=True, env=NOTHING, cwd="/")
    if "FATAL" in ran.stderr and "namespace" in ran.stderr:
        pytest.skip(f"users other than root cannot run images here: {ran.stderr.strip().splitlines()[-1]}")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{nobody.pw_uid}\n"), ran.stdout
    same_tables(given / "out" / "r" / "predictions", by_mini)


def test_the_image_cannot_be_written_to_and_need_not_be(inside, given):
    refused = inside("touch", "/usr/local/share/virnucpro/models/x", options=closed(given), check=False)
    assert refused.returncode != 0
    assert "Read-only file system" in refused.stderr


def test_models_are_bound_where_the_executable_looks(inside, given, by_mini):
    models = given / "models"
    shutil.copytree(ROOT / "bundles" / "mini", models / "mounted")
    for place in ("/usr/share/virnucpro/models", "/usr/local/share/virnucpro/models"):
        options = [*closed(given), "--bind", f"{models}:{place}:ro"]
        command = ["virnucpro", "run", "/in/demo.fa", "--sample", "demo", "--model", "mounted", "-f", "-o", "r"]
        inside(*command, options=options)
        same_tables(given / "out" / "r" / "predictions", by_mini)


def test_exit_codes_pass_through(inside, given):
    ran = inside("virnucpro", "run", "/in/missing.fa", "-o", "r", options=closed(given), check=False)
    assert ran.returncode == 66
    assert '"code":"VN-IN-MISSING"' in ran.stderr


def test_without_a_gpu_nv_is_harmless(inside, given, by_mini):
    options = ["--nv", *closed(given)]
    inside("virnucpro", "run", "/in/demo.fa", "--sample", "demo", "-o", "/out/r", options=options)
    same_tables(given / "out" / "r" / "predictions", by_mini)


def test_it_has_what_workflow_engines_call_and_nothing_of_the_driver(inside):
    assert inside("bash", "-c", "ps -o pid= -p $$").stdout.strip()
    assert not inside("sh", "-c", "find / -xdev -name 'libcuda.so*' 2>/dev/null || true").stdout
    # Apptainer's own place for the driver's libraries is all that is in it.
    assert inside("sh", "-c", "echo $LD_LIBRARY_PATH").stdout.strip() in ("", "/.singularity.d/libs")


def test_labels_and_help_tell_what_it_is(apptainer, image):
    labels = run(apptainer, "inspect", image)
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert f"org.opencontainers.image.version: {version}\n" in labels
    assert "org.opencontainers.image.licenses: MIT\n" in labels
    assert "virnucpro run reads.fa.gz" in run(apptainer, "run-help", image)


def test_both_recipes_take_the_archive_of_this_version_by_the_same_steps():
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for recipe in ("Singularity.def", "Dockerfile"):
        text = (ROOT / recipe).read_text()
        assert f"DIST=target/dist/virnucpro-{version}-linux-x86_64.tar.zst\n" in text, recipe
        assert "FROM=debian:bookworm-slim\n" in text, recipe
        assert "GPU=yes\n" in text, recipe
        steps = re.findall(r"sh (/opt/install\.sh \S+)", text)
        assert steps == ["/opt/install.sh /opt/virnucpro.tar.zst"], recipe
    assert f'org.opencontainers.image.version="{version}"' in (ROOT / "Dockerfile").read_text()
