"""``python -m tests.bench.stored [STORE]``: bytes that a conversation takes in the local store.

Without a store, callers of the shipped scenarios make one first. What is counted is what the
spans' rows hold (names and attributes, as they are stored), so that the figure doesn't depend on
SQLite's pages. The longest attributes follow, by what all spans of a conversation hold of each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

SCENARIOS = ("booking", "correction", "typed")
ROOT = Path(__file__).parents[2]


def stored(path: Path) -> tuple[int, Counter[str], int]:
    """Bytes of a store's conversations, the same by attribute, and how many conversations."""
    by_name: Counter[str] = Counter()
    total = 0
    with contextlib.closing(sqlite3.connect(path)) as store:
        [(conversations,)] = store.execute(
            "SELECT count(*) FROM conversation WHERE op = 'conversation'"
        )
        for name, op, attributes in store.execute("SELECT name, op, attributes FROM span"):
            total += len(name) + len(op) + len(attributes)
            for key, value in json.loads(attributes).items():
                by_name[key] += len(key) + len(json.dumps(value))
    return total, by_name, conversations


def simulated(folder: Path) -> Path:
    """The store of callers of the scenarios."""
    path = folder / "traces.db"
    command = [
        sys.executable,
        "-c",
        "import agent.cli; agent.cli.main()",
        "simulate",
        *SCENARIOS,
        "--seed",
        "1",
    ]
    subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PARLEY_TRACE_STORE": str(path)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stored", description=__doc__)
    parser.add_argument("store", nargs="?", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        total, by_name, conversations = stored(given.store or simulated(Path(folder)))
    lines = [f"{total / conversations:,.0f} bytes a conversation ({conversations} of them)"]
    for name, size in by_name.most_common(20):
        lines.append(f"{size / conversations:>10,.0f}  {size / total:>5.1%}  {name}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
