"""The shipped scenarios, and the recorder of their callers' speech."""
