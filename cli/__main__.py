"""Owns the entry of the `estate` command, installed or as `python -m cli`.

Must not hold a command.
"""

import io
import sys

from cli.app import app
from cli.failures import Failure, ended_by


def main() -> None:
    """Run the command that the arguments name; ends the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter gets its code instead of a crash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="estate")
    except Failure as failure:
        raise SystemExit(ended_by(failure).exit_code) from None


if __name__ == "__main__":
    main()
