"""Owns whether the process is alive and ready: named checks, run together under one deadline.

Must not repair anything, and must not say more of a failure than its operators need.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import structlog

READINESS_DEADLINE_S = 2.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """What a check found. `detail` is public: no addresses, no secrets."""

    ok: bool
    detail: str = ""


class Check(Protocol):
    """One thing the process needs to serve."""

    def __call__(self) -> Awaitable[Health]:
        """Look now. Raising means not ok."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one named check."""

    ok: bool
    detail: str
    duration_ms: int


async def run_checks(
    checks: Mapping[str, Check], *, deadline_s: float = READINESS_DEADLINE_S
) -> dict[str, Finding]:
    """Run all checks at once; one that fails or outlasts the deadline harms no other."""
    findings = await asyncio.gather(
        *(_run(name, check, deadline_s) for name, check in checks.items())
    )
    return dict(zip(checks, findings, strict=True))


async def _run(name: str, check: Check, deadline_s: float) -> Finding:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(deadline_s):
            health = await check()
    except TimeoutError:
        health = Health(ok=False, detail=f"no answer within {deadline_s:g} s")
    except Exception as error:  # noqa: BLE001 - a failing check is a finding.
        _log.warning("readiness_check_failed", check=name, error=type(error).__name__)
        health = Health(ok=False, detail=f"failed: {type(error).__name__}")
    return Finding(health.ok, health.detail, round((time.perf_counter() - started) * 1000))


def readiness_document(findings: Mapping[str, Finding]) -> dict[str, Any]:
    """The body of `/readyz`."""
    ready = all(finding.ok for finding in findings.values())
    return {"ready": ready, "checks": {name: asdict(f) for name, f in findings.items()}}
