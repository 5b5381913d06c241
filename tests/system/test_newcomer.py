"""What a newcomer does first: clone it into an empty folder and type the README's first command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.system
@pytest.mark.timeout(900)
def test_make_simulate_on_a_fresh_clone(tmp_path: Path) -> None:
    """`make simulate` sets everything up, holds every shipped conversation and ends with 0."""
    clone = tmp_path / "parley"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MAKE", "MFLAGS", "PARLEY_", "SENTRY_", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        ["make", "simulate"], cwd=clone, env=clean, capture_output=True, text=True, check=False
    )
    last = "\n".join([*done.stdout.splitlines()[-60:], *done.stderr.splitlines()[-20:]])
    assert done.returncode == 0, last
    assert "13 of 13 conversations passed" in done.stdout
    assert (clone / "traces.db").exists()
