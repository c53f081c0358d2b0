"""Owns tying a child's life to the keeper's where the kernel can do it (Linux).

Must not be needed: elsewhere the lock that servers inherit shows that they outlived the keeper.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child runs before exec so that SIGKILL reaches it when its parent dies."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def _before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died between fork and prctl.
            os._exit(1)

    return _before_exec
