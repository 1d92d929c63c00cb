"""The release archive: what is in it, and that it runs where nothing else is."""

import filecmp
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile

import pytest
from container_fixtures import ROOT, run

TABLES = ["frames.tsv", "windows.tsv", "sequences.tsv"]


@pytest.fixture(scope="module")
def unpacked(archive, tmp_path_factory):
    """The release in a folder with a blank in its name."""
    folder = tmp_path_factory.mktemp("a new place")
    run("tar", "--zstd", "-xf", archive, "-C", folder)
    (release,) = folder.iterdir()
    return release


@pytest.fixture(scope="module")
def members(archive):
    """Entries of the archive."""
    plain = subprocess.run(["zstd", "-dcq", archive], check=True, capture_output=True).stdout
    path = archive.with_suffix("")
    path.write_bytes(plain)
    with tarfile.open(path) as tar:
        entries = tar.getmembers()
    path.unlink()
    return entries


def same_tables(made, expected):
    """Asserts that the tables in two folders are the same bytes."""
    different = [name for name in TABLES if not filecmp.cmp(made / name, expected / name, shallow=False)]
    assert not different, f"{different} of {made} differ from {expected}"


def run_in(root, *command, user="0:0"):
    """Runs a command in another root folder, with /proc as every machine has it: the loader asks it for $ORIGIN."""
    enter = 'mount --rbind /proc "$1/proc"; root=$1; user=$2; shift 2; exec chroot --userspec="$user" "$root" "$@"'
    (root / "proc").mkdir(exist_ok=True)
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "mount", "--rbind", "/proc", root / "proc"]).returncode != 0:
        pytest.skip("another root folder takes root and the right to mount")
    run(*unshare, "sh", "-ec", enter, "sh", root, user, *command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def test_it_runs_from_any_folder_without_an_environment_and_gives_the_same_bytes(unpacked, demo, by_mini, tmp_path):
    command = ["env", "-i", unpacked / "bin" / "virnucpro", "run", demo, "--sample", "demo", "-o", tmp_path / "out"]
    run(*command, cwd="/")
    same_tables(tmp_path / "out" / "predictions", by_mini)


def test_it_runs_through_a_link_on_path(unpacked, tmp_path):
    (tmp_path / "virnucpro").symlink_to(unpacked / "bin" / "virnucpro")
    told = run("virnucpro", "info", env={"PATH": str(tmp_path)})
    assert "libtorch             2.11.0" in told


def test_it_finds_its_libraries_relative_to_itself_and_nowhere_else(unpacked):
    dynamic = run("readelf", "-dW", unpacked / "bin" / "virnucpro")
    places = re.search(r"\(RUNPATH\).*\[(.*)\]", dynamic)[1].split(":")
    assert places[0] == "$ORIGIN/../lib/virnucpro/torch/lib"
    assert all(place.startswith("$ORIGIN/") for place in places), places


def test_it_runs_where_only_the_c_and_cpp_libraries_are(unpacked, demo, by_mini, tmp_path):
    system = re.compile(r"=> (/\S*/(?:lib(?:c|m|dl|rt|util|pthread|stdc\+\+|gcc_s)\.so\.\d+))")
    root = tmp_path / "root"
    shutil.copytree(unpacked, root / "opt" / "virnucpro")
    shutil.copy(demo, root / "demo.fa")
    (root / "tmp").mkdir()
    (root / "lib64").mkdir()
    shutil.copy("/lib64/ld-linux-x86-64.so.2", root / "lib64")
    for path in system.findall(run("ldd", unpacked / "bin" / "virnucpro")):
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path[1:])
    run_in(root, "/opt/virnucpro/bin/virnucpro", "run", "/demo.fa", "--sample", "demo", "-o", "/out")
    same_tables(root / "out" / "predictions", by_mini)


def test_bundles_in_its_share_folder_are_found(unpacked):
    beside = unpacked / "share" / "virnucpro" / "models" / "beside"
    shutil.copytree(ROOT / "bundles" / "mini", beside)
    listed = run("env", "-i", unpacked / "bin" / "virnucpro", "models", "list")
    shutil.rmtree(beside)
    assert f"{beside}" in listed


def test_it_brings_the_workflows_pages_and_documents(unpacked):
    share = unpacked / "share"
    shipped = {str(path.relative_to(share / "virnucpro")) for path in share.glob("virnucpro/**/*") if path.is_file()}
    sources = run("git", "ls-files", "nextflow*", "workflows", "examples", cwd=ROOT).split()
    assert set(sources) <= shipped, sorted(set(sources) - shipped)
    leftovers = [name for name in shipped if "/.snakemake/" in name or "/.nextflow" in name]
    assert not leftovers, leftovers
    for page in ("man/man1/virnucpro.1", "man/man1/virnucpro-run.1", "bash-completion/completions/virnucpro"):
        assert (share / page).stat().st_size > 500, page
    assert (share / "zsh/site-functions/_virnucpro").read_text().startswith("#compdef virnucpro")
    assert "complete -c virnucpro" in (share / "fish/vendor_completions.d/virnucpro.fish").read_text()
    assert run("bash", "-c", f"source '{share}/bash-completion/completions/virnucpro' && complete -p virnucpro")


def test_its_nextflow_workflow_runs(unpacked, nextflow, by_hand, tmp_path):
    """Without the clone that it was packed from."""
    told = nextflow.command("run", unpacked / "share" / "virnucpro", "-profile", "test", cwd=tmp_path)
    assert told.code == 0, told.told
    same_tables(tmp_path / "results" / "demo" / "predictions", by_hand)


def test_every_library_and_crate_has_its_licence(unpacked):
    licences = unpacked / "share" / "doc" / "virnucpro" / "licences"
    crates = (licences / "crates.txt").read_text()
    command = ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]
    built = {" ".join(line.split()[:2]) for line in run(*command, cwd=ROOT).splitlines() if line.strip()}
    unnamed = [crate for crate in built if crate.replace(" v", " ") + ":" not in crates and "virnucpro" not in crate]
    assert not unnamed, unnamed
    overview = (licences / "README.md").read_text()
    libraries = [path.name for path in (unpacked / "lib").rglob("*.so*")]
    assert libraries
    assert all(f"`{library}`" in overview for library in libraries), libraries
    texts = re.findall(r"`([\w./-]+\.(?:txt|html)|libtorch/\w+)`", overview)
    assert len(texts) >= 8
    assert all((licences / text).stat().st_size > 500 for text in texts)


def test_a_licence_that_the_project_does_not_allow_stops_the_packing():
    sys.path.insert(0, str(ROOT / "scripts" / "dist"))
    import licences

    allowed = {"MIT", "Apache-2.0 WITH LLVM-exception"}
    for expression, verdict in [
        ("MIT", True),
        ("MIT/Apache-2.0", True),
        ("(GPL-3.0 OR MIT) AND MIT", True),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", True),
        ("MIT AND GPL-3.0", False),
        ("Apache-2.0", False),
    ]:
        assert licences.permits(expression, allowed) is verdict, expression
    assert "MIT" in licences.allowed(ROOT)
    assert not any(name.startswith("GPL") for name in licences.allowed(ROOT))


def test_the_checksum_is_that_of_the_archive(archive):
    run("sha256sum", "--check", "--strict", archive.name + ".sha256", cwd=archive.parent)


def test_packing_again_gives_the_same_bytes(archive):
    def digest():
        return hashlib.sha256(archive.read_bytes()).hexdigest()

    before = digest()
    run("python3", ROOT / "scripts" / "dist", cwd=ROOT, env=os.environ | {"DIST_LEVEL": "3"})
    assert digest() == before


def test_all_lies_in_one_folder_and_belongs_to_nobody(members, archive):
    name = archive.name.removesuffix(".tar.zst")
    assert all(entry.name.split("/")[0] == name for entry in members)
    assert all((entry.uid, entry.gid, entry.uname) == (0, 0, "root") for entry in members)
    assert {oct(entry.mode) for entry in members} == {"0o755", "0o644"}
    assert not [entry.name for entry in members if not (entry.isfile() or entry.isdir())]
    assert [entry.name for entry in members if entry.isfile() and entry.name.startswith(f"{name}/bin/")] == [
        f"{name}/bin/virnucpro"
    ]


def test_it_is_no_larger_than_its_page_says(members, archive):
    page = (ROOT / "docs" / "packages.md").read_text()
    packed, unpacked = (int(size) for size in re.search(r"\*\*Size\*\*: (\d+) MB, (\d+) MB unpacked", page).groups())
    # The page speaks of a release, which is packed more slowly and smaller; compilers differ by a little.
    assert archive.stat().st_size / 1e6 <= packed * 1.3
    assert sum(entry.size for entry in members) / 1e6 <= unpacked * 1.05


def test_a_bare_debian_runs_it(debian, archive, demo, by_mini, tmp_path):
    """As a new user would: unpacked into a folder of one's own, on a system that has nothing but its own packages."""
    inside = debian / "home" / "user"
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir(parents=True)
    run("tar", "--zstd", "-xf", archive, "-C", inside)
    shutil.copy(demo, inside / "demo.fa")
    os.chown(inside, 1234, 1234)
    (release,) = inside.glob("virnucpro-*")
    script = f"cd /home/user && {release.name}/bin/virnucpro run demo.fa --sample demo -o out"
    try:
        run_in(debian, "/bin/sh", "-c", script, user="1234:1234")
        same_tables(inside / "out" / "predictions", by_mini)
    finally:
        shutil.rmtree(inside)


def test_the_text_of_a_release_is_its_section_of_the_changelog():
    sys.path.insert(0, str(ROOT / "scripts"))
    from release_notes import notes

    changelog = (
        "# Changelog\n\n## 0.2.0 (not released)\n\n- b\n\n## 0.1.0 (2026-12-01)\n\n- a\n  a\n\n## 0.0.1 (2026)\n\n- z\n"
    )
    assert notes(changelog, "0.1.0") == "- a\n  a"
    assert notes(changelog, "0.2.0") is None
    assert notes(changelog, "0.1") is None
    assert notes((ROOT / "CHANGELOG.md").read_text().replace(" (not released)", ""), "0.1.0").startswith("- ")


def test_libraries_for_a_gpu_are_added_to_a_release_only(unpacked, tmp_path):
    script = unpacked / "share" / "virnucpro" / "gpu-libraries.sh"
    refused = subprocess.run(["sh", script, tmp_path], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "is not an unpacked release" in refused.stderr
    # Every wheel is told by digest, and torch is the one that the executable was built with.
    wheels = [line.split() for line in (script.parent / "gpu-libraries.txt").read_text().splitlines() if line[0] != "#"]
    assert all(len(wheel) == 2 and wheel[1].startswith("--hash=sha256:") for wheel in wheels)
    setup = (ROOT / "scripts" / "libtorch.py").read_text()
    shared = [wheel for wheel in wheels if f'"{wheel[0]}"' in setup]
    assert [name.split("==")[0] for name, _ in shared] == ["nvidia-cuda-cupti", "nvidia-cuda-runtime", "torch"]
    assert all(digest.split(":")[1] in setup for _, digest in shared)
