"""The base of errors that are somebody's input."""

from __future__ import annotations


class InputError(Exception):
    """Input from outside that can't be used: one line of text that says what, where, how to fix it.

    The command line prints it and exits with 2; anything else is our own fault and keeps its
    traceback.
    """
