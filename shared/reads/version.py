"""Owns the version that a read hands out as ETag, for If-Match on the next command.

Must be the version of what was read: a newer one would let a change be overlooked.
"""

from typing import Any, Final

from shared.http.routes import Reply
from shared.reads.reading import Asked

_VERSION: Final = """
SELECT max(stream_version) FROM log.events WHERE stream = $1 AND position <= $2
"""


async def versioned(asked: Asked, log: str, stream: str, document: dict[str, Any]) -> Reply:
    """Answer with a document of one stream; about the present it carries version and ETag."""
    if not asked.moment.is_present:
        return Reply(body=asked.answer(document))
    position = asked.reflection.positions[log].position
    version = await asked.connection.fetchval(_VERSION, stream, position)
    return Reply(
        body=asked.answer({**document, "version": version}), headers={"ETag": f'"{version}"'}
    )
