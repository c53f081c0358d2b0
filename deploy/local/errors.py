"""Owns the one error of the launcher, written for the person who has to act on it.

Must not know how servers are started.
"""

from pathlib import Path

_QUOTED_LINES = 15


class LaunchError(Exception):
    """A backing service cannot be had; the text says what is wrong and what to do."""


def last_lines(log: Path) -> str:
    """The end of a server's log, indented, with the name of the file above it."""
    if not log.exists():
        return f"(no log at {log})"
    lines = log.read_text(errors="replace").splitlines()[-_QUOTED_LINES:]
    return "\n".join([f"Last lines of {log}:", *(f"  {line}" for line in lines)])
