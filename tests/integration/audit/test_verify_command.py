"""`estate verify` on servers that are named by the environment, as where services run elsewhere."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.integration.audit.audited_log import AuditedLog

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("changed", [False, True])
async def test_the_log_of_a_named_database_is_verified(
    log: AuditedLog, tmp_path: Path, *, changed: bool
) -> None:
    if changed:
        await log.tamper("UPDATE log.events SET type = type || 'x' WHERE position = 3")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "verify", "--no-topic", "--json"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "REGISTRY_DATABASE_DSN": log.reader_dsn},
        stdout=asyncio.subprocess.PIPE,
    )
    shown, _ = await process.communicate()
    (told,) = json.loads(shown)["logs"]
    assert told["log"] == "registry"
    assert (told["first_fault"] or {}).get("position") == (3 if changed else None)
    assert process.returncode == int(changed)
