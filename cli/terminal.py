"""Owns what is written to the terminal: tables and lines for people, JSON for programs.

Must not let a text from elsewhere reach the terminal with its control characters.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

NOTHING: Final = "-"
_LONGEST_WHOLE: Final = 40
_UNLIMITED: Final = 10_000
_SPACES: Final = re.compile(r"[\t\n\r\v\f\x85\u2028\u2029]+")
# Controls, what reorders or hides text, and what no font shows.
_UNSHOWN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?Z")


def plain(value: object) -> str:
    """A text from elsewhere as it may be printed: on one line, without control characters."""
    if value is None:
        return NOTHING
    return _UNSHOWN.sub("", _SPACES.sub(" ", str(value)))


def cell(value: object, style: str = "") -> Text:
    """A plain text in a table; too long a word is broken, never cut off."""
    return Text(plain(value), style=style, overflow="fold")


def moment(value: object) -> str:
    """An instant to the minute, in UTC; anything else as it is."""
    match = _INSTANT.fullmatch(str(value))
    return f"{match[1]} {match[2]}" if match else plain(value)


def table(*columns: str) -> Table:
    """An empty table; what does not fit in a cell goes on in its next line."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def keep_whole(rows: Table, column: int, values: Iterable[object]) -> None:
    """Break other columns before this one, unless its values would take half of a line."""
    longest = max((len(plain(value)) for value in values), default=0)
    rows.columns[column].no_wrap = longest <= _LONGEST_WHOLE


def properties(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Names and what they are, side by side."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value)
    return made


def show(renderable: RenderableType) -> None:
    """Print for people, on stdout; into a pipe or file each row stays one line."""
    _console(sys.stdout).print(renderable)


def show_line(*parts: Text) -> None:
    """Print one line, on stdout, however long."""
    console = _console(sys.stdout)
    console.print(Text("  ").join(parts), soft_wrap=True)


def say(text: object, *, label: str = "") -> None:
    """Print a remark, on stderr."""
    line = Text(plain_line(text))
    if label:
        line = Text.assemble((f"{label}: ", "bold"), line)
    _console(sys.stderr).print(line, soft_wrap=True)


def plain_line(text: object) -> str:
    """As `plain`, but spaces at its beginning stay."""
    return _UNSHOWN.sub("", _SPACES.sub(" ", str(text)))


def show_json(document: Any, *, indent: int | None = 2) -> None:
    """Print a document, on stdout; what could steer a terminal is escaped, so nothing is lost."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(document, indent=indent, ensure_ascii=not unicode)
    # A line break between members is ours; within a text JSON has escaped it already.
    lines = (_UNSHOWN.sub(_escaped, line) for line in text.split("\n"))
    print("\n".join(lines), flush=True)


def caption(document: Mapping[str, Any], what: str) -> None:
    """Say under a table what it shows, and what it reflects."""
    parts = [what]
    if document.get("positions"):
        parts.append(f"read at {plain(document['positions'])}")
    lag_ms = document.get("lag_ms")
    if isinstance(lag_ms, int) and lag_ms > 0:
        parts.append(f"{lag_ms} ms behind")
    _console(sys.stdout).print(Text(" · ".join(parts), style="dim"))


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" else "\\u007f"


def _console(stream: Any) -> Console:
    width = None if stream.isatty() else shutil.get_terminal_size((_UNLIMITED, 24)).columns
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
