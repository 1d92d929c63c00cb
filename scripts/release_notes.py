#!/usr/bin/env python3
"""Prints what CHANGELOG.md says about a version: the text of its release.

python3 scripts/release_notes.py v0.1.0
"""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def notes(changelog, version):
    """The section of a version; None where there is none, or where it is not released yet."""
    found = re.search(rf"^## {re.escape(version)}( .*)?\n((?:(?!## ).*\n?)*)", changelog, re.MULTILINE)
    return None if found is None or "not released" in (found[1] or "") else found[2].strip()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python3 scripts/release_notes.py VERSION")
    version = sys.argv[1].removeprefix("v")
    text = notes(CHANGELOG.read_text(), version)
    if text is None:
        sys.exit(f"release notes: CHANGELOG.md has no '## {version}' with the date of its release")
    print(text)


if __name__ == "__main__":
    main()
