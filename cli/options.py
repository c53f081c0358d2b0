"""Owns the options that commands share, so that they are called the same everywhere.

Must not read what they name.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

_MOMENT: Final = "Moment"
_CONNECTION: Final = "Connection"

DEFAULT_STATE: Final = Path(".estate")

Json = Annotated[
    bool, typer.Option("--json", metavar="", help="Answer in JSON, complete, for programs.")
]
AsOf = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="As it was then: 2026-01-31 (its end) or 2026-01-31T09:30:00Z.",
        rich_help_panel=_MOMENT,
    ),
]
KnownAt = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="By what was known then: a time, or registry:123,dependencies:45.",
        rich_help_panel=_MOMENT,
    ),
]
State = Annotated[
    Path,
    typer.Option(
        metavar="DIR", help="Where a local run keeps its state.", rich_help_panel=_CONNECTION
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The key, on one line.", rich_help_panel=_CONNECTION),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")]
ServiceArgument = Annotated[
    str, typer.Argument(metavar="SERVICE", help="Slug, id, or alias such as govuk-repos:whitehall.")
]
