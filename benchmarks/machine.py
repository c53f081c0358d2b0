"""Owns saying on what was measured: processor, memory, versions, commit, load.

Must not name the machine itself.
"""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg

from deploy.local.kafka_jars import LOCK_FILE

_PACKAGES = ("aiohttp", "aiokafka", "asyncpg", "orjson", "pydantic")
_ROOT = Path(__file__).parents[1]
# Writing down what was measured does not change it.
_NOT_MEASURED = (":!benchmarks/results.json", ":!docs/benchmarks.md")


async def describe(postgres_dsn: str) -> dict[str, Any]:
    """The machine and the versions of everything that takes part."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_kib() / 1024**2),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "postgres": await _postgres_version(postgres_dsn),
        "kafka": _kafka_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def commit(root: Path = _ROOT) -> str | None:
    """The commit that is checked out, with a mark when files differ from it; None without git."""
    hashed = _git(root, "rev-parse", "--short=12", "HEAD")
    if not hashed:
        return None
    changed = _git(root, "status", "--porcelain", "--", ".", *_NOT_MEASURED)
    return f"{hashed} with changes" if changed else hashed


def _git(root: Path, *arguments: str) -> str:
    """What git prints; nothing where there is no git or no checkout."""
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run([git, *arguments], cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 - no input.
    return done.stdout.strip()


def load_average() -> float:
    """Processes that ran or waited to, over the last minute."""
    return round(os.getloadavg()[0], 2)


def resident_mib(pid: int) -> float:
    """What a process holds in memory now."""
    return _status_kib(pid, "VmRSS") / 1024


def peak_mib(pid: int) -> float:
    """What a process has held at most."""
    return _status_kib(pid, "VmHWM") / 1024


def _status_kib(pid: int, member: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{member}:"):
            return int(line.split()[1])
    raise LookupError(member)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _memory_kib() -> int:
    return int(Path("/proc/meminfo").read_text().split()[1])


async def _postgres_version(dsn: str) -> str:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return str(await connection.fetchval("SHOW server_version")).split()[0]
    finally:
        await connection.close(timeout=5)


def _kafka_version() -> str:
    artifact = False
    for line in LOCK_FILE.read_text().splitlines():
        artifact = artifact or '"kafka_2.13"' in line
        if artifact and line.strip().startswith("version"):
            return line.partition("=")[2].strip().strip('"')
    return "as in the lock"
