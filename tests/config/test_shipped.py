"""The shipped configuration is found."""

from __future__ import annotations

from config import scenario_files


def test_scenario_files_are_yaml_by_name() -> None:
    """What ships is found wherever the package is installed, in a stable order."""
    files = scenario_files()
    assert files == sorted(files)
    assert all(file.suffix == ".yaml" and file.is_file() for file in files)
