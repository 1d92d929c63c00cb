# Which bundle is meant, and how its work is best cut.
import os
from pathlib import Path

import yaml

# Decided here, for all jobs: the executable would look at variables and files of its own.
config["model"] = config["model"] or os.environ.get("VIRNUCPRO_MODEL") or "mini"


def bundle_of(model):
    """Folder of a bundle, where the executable looks for it; None if this machine has none, as for one in an image."""
    given = config["models"] or os.environ.get("VIRNUCPRO_MODELS", "")
    own = Path(os.environ.get("HOME", os.sep), ".local", "share")
    roots = [os.environ.get("XDG_DATA_HOME") or own]
    executable = shutil.which("virnucpro")
    if executable:
        roots.append(Path(executable).resolve().parent.parent / "share")
    roots.append(Path(os.sep, "usr", "share"))
    folders = [folder for folder in given.split(":") if folder]
    folders += [Path(root) / "virnucpro/models" for root in roots]
    named = [] if "/" in model else [Path(folder) / model for folder in folders]
    places = [*named, Path(model)]
    return next((place for place in places if (place / "bundle.yaml").is_file()), None)


def costs_little(model):
    """Whether vectors of a bundle cost less to compute than to store: all its encoders are compositions."""
    if model == "mini":
        return True
    bundle = bundle_of(model)
    if bundle is None:
        return False
    try:
        about = yaml.safe_load((bundle / "bundle.yaml").read_text(encoding="utf-8"))
        sides = [about[side] for side in ("dnabert", "esm") if about.get(side)]
        return all(side["family"] == "composition" for side in sides)
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        yaml.YAMLError,
    ):
        # What is wrong with it is for the executable to tell.
        return False


COSTS_LITTLE = costs_little(config["model"])
# Whether each stage is jobs of its own, or one job does all for a sample.
STAGED = config["keep_intermediate"] or not COSTS_LITTLE
