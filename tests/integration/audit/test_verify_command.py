"""`estate verify` on servers that are named by the environment, as where services run elsewhere."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.integration.audit.audited_log import AuditedLog
from tests.support.demo_runs import ESTATE


@pytest.mark.parametrize("changed", [False, True])
async def test_the_log_of_a_named_database_is_verified(
    log: AuditedLog, tmp_path: Path, *, changed: bool
) -> None:
    if changed:
        await log.tamper("UPDATE log.events SET type = type || 'x' WHERE position = 3")
    process = await asyncio.create_subprocess_exec(
        *(ESTATE, "verify", "--no-topic", "--json"),
        cwd=tmp_path,
        env={**os.environ, "REGISTRY_DATABASE_DSN": log.reader_dsn},
        stdout=asyncio.subprocess.PIPE,
    )
    shown, _ = await process.communicate()
    (told,) = json.loads(shown)["logs"]
    assert told["log"] == "registry"
    assert (told["first_fault"] or {}).get("position") == (3 if changed else None)
    assert process.returncode == int(changed)
