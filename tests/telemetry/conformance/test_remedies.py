"""The table of remedies is the one that is checked."""

from __future__ import annotations

import ast

from .without import HERE, REMEDIES, table


def test_the_table_is_what_is_checked() -> None:
    """`python -m tests.telemetry.conformance.without --table` prints `REMEDIES.md`."""
    assert (HERE / "REMEDIES.md").read_text(encoding="utf-8") == table()


def test_every_remedy_names_a_test_there_is() -> None:
    """Whether it fails without the remedy is for `without` to run."""
    for remedy in REMEDIES:
        file, _, rest = remedy.test.partition("::")
        tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
        names = {getattr(node, "name", None) for node in tree.body}
        assert rest.partition("[")[0] in names
