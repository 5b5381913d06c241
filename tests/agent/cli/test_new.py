"""``parley new``: what it writes works at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from .test_app import parley

DOCS = Path(__file__).parents[3] / "docs" / "agents.md"
TEMPLATE = Path(__file__).parents[3] / "agent" / "cli" / "new-agent"


def test_the_new_agent_works(tmp_path: Path) -> None:
    """Its caller is answered as the scenario says, and its own test passes."""
    code, said, error = parley(tmp_path, "new", "mine/agent")
    assert (code, error) == (0, "")
    folder = tmp_path / "mine" / "agent"
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {str(Path(line).relative_to("mine/agent")) for line in said.splitlines()[:-1]} == written
    assert {".env", ".gitignore", "museum.py", "test_museum.py", "scenario.yaml"} < written

    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        text=True,
    ) as own_test:  # meanwhile
        code, said, error = parley(folder, "simulate")
        tested, _ = own_test.communicate(timeout=50)
    assert code == 0, said + error
    assert "1 of 1 conversations passed" in " ".join(said.split())
    assert own_test.returncode == 0, tested
    assert "1 passed" in tested


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """A folder that isn't empty, or a file, is refused in one line; an empty one isn't."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.py").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name in ("full", "full/mine.py", "full/mine.py/below"):
        code, _, error = parley(tmp_path, "new", name)
        assert (code, error.count("\n")) == (2, 1), error
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.py"]
    assert parley(tmp_path, "new", "empty")[0] == 0


def test_the_documented_agent_is_the_one_that_is_written() -> None:
    """docs/agents.md shows museum.py and its scenario whole, as they are."""
    shown = re.findall(r"```(?:python|yaml)\n(.*?)```", DOCS.read_text(), re.DOTALL)
    for name in ("museum.py", "scenario.yaml"):
        assert (TEMPLATE / name).read_text() in shown, name
