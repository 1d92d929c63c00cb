"""A bundle that differs from the executable's own where it shows: in the length of its windows."""

import shutil
from pathlib import Path

UNTRAINED = Path(__file__).resolve().parents[2] / "bundles" / "untrained"


def bundle_of_short_windows(models, name):
    """Makes a bundle for windows of 300 bases in a folder of bundles."""
    bundle = models / name
    shutil.copytree(UNTRAINED, bundle)
    about = (bundle / "bundle.yaml").read_text()
    assert "name: untrained" in about and "window: 500" in about
    (bundle / "bundle.yaml").write_text(
        about.replace("name: untrained", f"name: {name}").replace("window: 500", "window: 300")
    )
    return bundle
