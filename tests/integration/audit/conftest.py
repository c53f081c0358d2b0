import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from deploy.local.launcher import BackingServices, backing_services
from tests.integration.audit.audited_log import AuditedLog, copy_log, write_log


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def audit_backing() -> AsyncIterator[BackingServices]:
    # Not below pytest's own folder: the server's user may not enter that.
    with tempfile.TemporaryDirectory(prefix="audit-", ignore_cleanup_errors=True) as folder:
        async with backing_services(Path(folder)) as backing:
            yield backing


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def written(audit_backing: BackingServices) -> AuditedLog:
    return await write_log(audit_backing.postgres_dsn, source="true")


@pytest_asyncio.fixture
async def log(audit_backing: BackingServices, written: AuditedLog) -> AuditedLog:
    return await copy_log(audit_backing.postgres_dsn, written)
