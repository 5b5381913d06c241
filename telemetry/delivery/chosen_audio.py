"""The recordings that stay when their conversation is over, where that depends on how it went.

The store knows how: all that was recorded of a conversation is there by then. Of one whose process
is killed nobody is asked, and its recording stays: that is a conversation that failed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..store import recordings, rows, stored_errors
from ..summary import Account
from .unobserved import unobserved

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from ..summary import Keep, Summary
    from ..trace.transaction import Transaction

logger = logging.getLogger(__name__)


def choose(cursor: sqlite3.Cursor, key: int, transaction: Transaction, folder: Path) -> None:
    """Delete those recordings of a transaction that has ended which aren't to be kept."""
    asked = [file for file in transaction.audio if file.keep is not None]
    if not asked:
        return
    summary = _summary(cursor, key, transaction)
    unwanted = [file for file in asked if not _chooses(file.keep, summary)]
    if unwanted:
        for file in unwanted:  # whoever still writes to it deletes it when that is over
            file.unwanted = True
        recordings.drop(cursor, key, [file.path.name for file in unwanted])
        recordings.sweep(cursor, folder)


def _summary(cursor: sqlite3.Cursor, key: int, transaction: Transaction) -> Summary:
    """What the store knows of it."""
    account = Account()
    account.add(rows.ended_spans(cursor, key, besides=transaction.root.id))
    return account.summary(
        transaction.id,
        transaction.name,
        transaction.root,
        errors=stored_errors.count(cursor, key),
    )


def _chooses(keep: Keep | None, summary: Summary) -> bool:
    with unobserved():
        try:
            return keep is None or bool(keep(summary))
        except Exception:
            logger.warning("keep raised; the recording it was asked about stays", exc_info=True)
            return True
