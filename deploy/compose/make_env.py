"""Owns making the secrets of a new estate: the `.env` file that docker-compose.yml reads.

Must never overwrite one: the databases keep the passwords that they were made with.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path
from typing import Final

if not __package__:  # Run as a file, with nothing installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.compose.names import secrets_needed

_ROOT: Final = Path(__file__).resolve().parents[2]
_RANDOM_BYTES: Final = 24
_HEAD: Final = (
    "# Made once for this estate by deploy/compose/make_env.py. Keep it; show it to nobody.\n"
)


def env_text() -> str:
    """New secrets. Hexadecimal, so that they stand in an address as they are."""
    lines = [f"{name}={secrets.token_hex(_RANDOM_BYTES)}\n" for name in secrets_needed()]
    return _HEAD + "".join(lines)


def write_env(path: Path) -> None:
    """Write new secrets into a new file that only its owner can read.

    Raises: FileExistsError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(env_text())


def main(arguments: list[str] | None = None) -> int:
    """Write the file and say what comes next; 1 when it is there already."""
    parser = argparse.ArgumentParser(description="Make the secrets for docker-compose.yml.")
    parser.add_argument("path", nargs="?", type=Path, default=_ROOT / ".env")
    path: Path = parser.parse_args(arguments).path
    try:
        write_env(path)
    except FileExistsError:
        sys.stderr.write(
            f"{path} is there already and stays as it is: the databases were made with its "
            "passwords.\nTo begin anew: docker compose down --volumes, then remove the file.\n"
        )
        return 1
    sys.stderr.write(f"{path} is written. Next: docker compose up --build --wait\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
