import pytest_asyncio

from deploy.local.launcher import BackingServices
from tests.integration.audit.audited_log import AuditedLog, copy_log, write_log


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def written(backing: BackingServices) -> AuditedLog:
    return await write_log(backing.postgres_dsn, source="true")


@pytest_asyncio.fixture
async def log(backing: BackingServices, written: AuditedLog) -> AuditedLog:
    return await copy_log(backing.postgres_dsn, written)
