"""The recipes for conda, as far as they can be tried without a channel. docs/packages.md tells what was built."""

import os
import re

import jinja2
import pytest
import yaml
from container_fixtures import ROOT

RECIPE = ROOT / "conda" / "recipe"
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
LIBTORCH = re.search(r'^VERSION = "(.+)"$', (ROOT / "scripts" / "libtorch.py").read_text(), re.MULTILINE)[1]
# What conda-forge's own configuration says.
CONDA_FORGE = {
    "c_compiler": ["gcc"],
    "cxx_compiler": ["gxx"],
    "rust_compiler": ["rust"],
    "c_stdlib": ["sysroot"],
    "c_stdlib_version": ["2.28"],
}


def rendered(toolchain):
    """recipe.yaml as rattler-build understands it."""
    rattler = pytest.importorskip("rattler_build")
    recipe = rattler.Stage0Recipe.from_yaml((RECIPE / "recipe.yaml").read_text())
    (variant,) = recipe.render(rattler.VariantConfig({"toolchain": [toolchain], **CONDA_FORGE}))
    return variant.recipe.to_dict()


def bioconda():
    """meta.yaml as conda-build renders it."""
    text = (RECIPE / "meta.yaml").read_text()
    functions = {
        "compiler": "{}_linux-64".format,
        "stdlib": "{}_stdlib".format,
        "pin_subpackage": lambda name, **_: name,
    }
    return yaml.safe_load(jinja2.Template(text).render(functions))


def test_the_recipe_builds_this_version_against_the_libtorch_that_it_takes():
    recipe = rendered("conda")
    assert recipe["package"] == {"name": "virnucpro", "version": VERSION}
    requirements = recipe["requirements"]
    assert {"rust_linux-64", "gcc_linux-64", "gxx_linux-64"} <= {str(name).split()[0] for name in requirements["build"]}
    assert [str(name) for name in requirements["host"]] == [f"libtorch =={LIBTORCH}"]
    assert [str(name) for name in requirements["run"]] == [f"libtorch =={LIBTORCH}"]


def test_the_recipe_for_the_machines_own_tools_asks_nothing_of_a_channel():
    requirements = rendered("machine").get("requirements", {})
    assert not any(requirements.get(when) for when in ("build", "host", "run")), requirements


def test_the_recipe_for_bioconda_says_the_same():
    meta = bioconda()
    assert meta["package"] == {"name": "virnucpro", "version": VERSION}
    assert meta["requirements"]["host"] == meta["requirements"]["run"] == [f"libtorch =={LIBTORCH}"]
    assert {"rust_linux-64", "c_linux-64", "cxx_linux-64"} <= set(meta["requirements"]["build"])
    assert {"LICENSE", "THIRDPARTY.yml"} == set(meta["about"]["license_file"])
    assert meta["about"]["license"] == "MIT"
    assert set(meta["source"]) == {"url", "sha256"}


def test_the_citation_is_of_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_the_environments_pin_the_libtorch_that_the_program_takes():
    for name, build in (("environment.yml", "cpu"), ("environment.gpu.yml", "cuda")):
        environment = yaml.safe_load((ROOT / "conda" / name).read_text())
        assert environment["channels"] == ["conda-forge", "nodefaults"]
        assert f"libtorch ={LIBTORCH}={build}*" in environment["dependencies"]


@pytest.mark.skipif(
    "VIRNUCPRO_TEST_CONDA_BUILD" not in os.environ, reason="takes a release build: VIRNUCPRO_TEST_CONDA_BUILD=1"
)
def test_the_recipe_builds_and_passes_its_own_tests_with_the_machines_tools(tmp_path):
    rattler = pytest.importorskip("rattler_build")
    channel = tmp_path / "channel"
    for platform in ("noarch", "linux-64"):
        (channel / platform).mkdir(parents=True)
        (channel / platform / "repodata.json").write_text('{"info": {}, "packages": {}, "packages.conda": {}}')
    rattler.build_recipes(
        [RECIPE / "recipe.yaml"],
        channel=[channel.as_uri()],
        variant_overrides={"toolchain": ["machine"]},
        output_dir=tmp_path / "out",
        test="native",
    )
    assert list((tmp_path / "out" / "linux-64").glob(f"virnucpro-{VERSION}-machine_h*.conda"))
