"""Owns counting what an import is going to send, so that what arrived can be held against it.

Must not know any source's format.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cli.importing.submission import PlannedRow


@dataclass(frozen=True, slots=True)
class Figures:
    """Rows read, and the submissions they give; each submission is to become one event."""

    rows: int
    submissions: int
    submissions_by_type: Mapping[str, int]
    submissions_by_door: Mapping[str, int]
    rows_without_event: Mapping[str, int]


def figures(planned: Iterable[PlannedRow]) -> Figures:
    """Count in one pass; mappings are sorted by name, so that equal figures look equal."""
    rows = 0
    types: Counter[str] = Counter()
    doors: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for row in planned:
        rows += 1
        types.update(submission.type for submission in row.submissions)
        doors.update(submission.door for submission in row.submissions)
        if row.reason_without_event is not None:
            reasons[row.reason_without_event] += 1
    return Figures(rows, types.total(), _sorted(types), _sorted(doors), _sorted(reasons))


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
