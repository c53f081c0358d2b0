"""Owns the health check of a container: ends with 0 when the service in it says that it is ready.

Must be quick to start: it runs every few seconds. `python -m deploy.compose.ready`
"""

import sys
from http.client import HTTPConnection, HTTPException
from typing import Final

_PORT: Final = 8080
_DEADLINE_S: Final = 4.0


def is_ready(port: int) -> bool:
    """Ask the service; no answer is no. Never asks a proxy, whatever the environment names."""
    service = HTTPConnection("127.0.0.1", port, timeout=_DEADLINE_S)
    try:
        service.request("GET", "/readyz")
        return service.getresponse().status == 200  # noqa: PLR2004 - as HTTP names it.
    except (OSError, HTTPException):
        return False
    finally:
        service.close()


if __name__ == "__main__":
    sys.exit(not is_ready(_PORT))
