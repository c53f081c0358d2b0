"""Owns ids that are the same in every run.

Must not repeat one.
"""

import itertools


class CountedIds:
    """An IdSource: `svc_` gives `svc_00...01`, and so on."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, prefix: str) -> str:
        return numbered(prefix, next(self._numbers))


def numbered(prefix: str, number: int) -> str:
    """The id of that number: `numbered("svc_", 1)` is `svc_` and 31 zeros and a 1."""
    return f"{prefix}{number:032x}"
