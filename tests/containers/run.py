"""Owns the run of everything that takes containers: `python -m tests.containers.run [OPTION...]`.

Must end with 3 and say why where none can be had, so that no silence passes for a success.
Options are pytest's.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.containers.docker_engine import NoDockerError, require_docker
from tests.containers.servers import servers

ROOT: Final = Path(__file__).parents[2]
NO_CONTAINERS: Final = 3
_ON_GIVEN_SERVERS: Final = (
    "tests/integration",
    # The launcher's own tests start servers as processes.
    "--ignore=tests/integration/test_launcher.py",
    *("-p", "tests.containers.given_servers"),
)


def main(options: Sequence[str]) -> int:
    """Both parts, the second even if the first failed; the worst exit code of the two."""
    try:
        require_docker()
    except NoDockerError as error:
        sys.stderr.write(str(error))
        return NO_CONTAINERS
    began = time.monotonic()
    with servers() as addresses:
        _tell(f"PostgreSQL and Kafka answer after {time.monotonic() - began:.1f} s")
        on_servers = _pytest([*_ON_GIVEN_SERVERS, *options], addresses)
    on_compose = _pytest(["tests/containers", *options], {"ESTATE_TEST_CONTAINERS": "1"})
    return max(on_servers, on_compose)


def _pytest(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    _tell(" ".join(command[1:]))
    finished = subprocess.run(  # noqa: S603 - our own tests.
        command, cwd=ROOT, env={**os.environ, **environment}, check=False
    )
    return finished.returncode


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
