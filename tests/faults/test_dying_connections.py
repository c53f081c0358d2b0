"""Owns a connection of which the server has said that it ends, and that has not ended yet.

Must not wait for chance: the server's last message is put into the connection by hand.
"""

import struct

import asyncpg
import pytest

from shared.database.errors import UNREACHABLE
from shared.database.provision import DatabaseAccess
from shared.eventstore.types import LogUnavailableError, Outcome
from shared.messaging.lease import DATABASE_ERRORS
from shared.projections.applying import TRANSIENT
from tests.integration.eventstore.log_under_test import open_log, submit_all
from tests.support.counting import add

_FIELDS = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection because of crash\0\0"
LAST_MESSAGE = b"E" + struct.pack("!i", len(_FIELDS) + 4) + _FIELDS


def hear_last_message(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    connection._protocol.data_received(LAST_MESSAGE)  # type: ignore[attr-defined]


@pytest.mark.parametrize("passing", [UNREACHABLE, DATABASE_ERRORS, TRANSIENT])
async def test_statement_on_a_dying_connection_fails_with_an_error_that_passes(
    database: DatabaseAccess, passing: tuple[type[Exception], ...]
) -> None:
    connection = await asyncpg.connect(database.app_dsn, timeout=10)
    try:
        hear_last_message(connection)
        with pytest.raises(passing):
            await connection.execute("SELECT 1")
    finally:
        connection.terminate()


async def test_writer_on_a_dying_connection_writes_nothing_and_goes_on_with_the_next(
    database: DatabaseAccess,
) -> None:
    async with open_log(database) as log, log.writer() as writer:
        (first,) = await submit_all(writer, [add("k1")])
        assert isinstance(first, Outcome)
        assert writer._connection is not None
        hear_last_message(writer._connection)
        (refused,) = await submit_all(writer, [add("k2")])
        assert isinstance(refused, LogUnavailableError)
        (again,) = await submit_all(writer, [add("k2")])
        assert isinstance(again, Outcome)
        assert await log.keys() == ["k1", "k2"]
