"""Owns finding out whether containers can be had, and saying what is missing when not.

Must not start anything.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

_DEADLINE_S = 20
_NEEDED = (("docker", "version"), ("docker", "compose", "version"))
_MISSING = """\
Nothing was tested: containers cannot be had here.
  {command}: {fault}
Needed are a running engine with a Docker API (Docker Engine, Docker Desktop, or Podman with its
socket), and the `docker` command with its compose plugin. Where the engine's socket is not in the
usual place, DOCKER_HOST says where. The same tests run without containers: make test
"""


@dataclass(frozen=True, slots=True)
class NoDockerError(Exception):
    """No containers can be had; the text says what is missing."""

    command: Sequence[str]
    fault: str

    def __str__(self) -> str:
        return _MISSING.format(command=" ".join(self.command), fault=self.fault)


def require_docker() -> None:
    """Return when an engine answers. Raises: NoDockerError."""
    for command in _NEEDED:
        try:
            subprocess.run(  # noqa: S603 - the commands above.
                command, check=True, capture_output=True, text=True, timeout=_DEADLINE_S
            )
        except FileNotFoundError:
            raise NoDockerError(command, "there is no such command") from None
        except subprocess.TimeoutExpired:
            raise NoDockerError(command, f"no answer within {_DEADLINE_S} s") from None
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines()
            fault = lines[-1] if lines else f"exit code {error.returncode}"
            raise NoDockerError(command, fault) from None
