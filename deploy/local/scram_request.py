"""Owns the wire request that stores a SCRAM user (AlterUserScramCredentials, KIP-554).

Must not send the password: the broker gets the salted hash.
"""

import hashlib
import secrets

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_API_KEY = 51
_SCRAM_SHA_512 = 2
_ITERATIONS = 8192
_SALT_BYTES = 24
_NO_TAGS: dict[int, bytes] = {}


class ScramResponse(Response):
    """One result for each user."""

    API_KEY = _API_KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class ScramRequest(RequestStruct):
    """Deletions, then additions."""

    FLEXIBLE_VERSION = True
    API_KEY = _API_KEY
    API_VERSION = 0
    RESPONSE_TYPE = ScramResponse
    SCHEMA = Schema(
        (
            "deletions",
            CompactArray(
                ("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields)
            ),
        ),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class UpsertScramUser(Request[ScramRequest]):
    """Add a SCRAM-SHA-512 user or change its password."""

    API_KEY = _API_KEY

    def __init__(self, username: str, password: str) -> None:
        salt = secrets.token_bytes(_SALT_BYTES)
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
        self._upsertion = (username, _SCRAM_SHA_512, _ITERATIONS, salt, salted, _NO_TAGS)

    def build(self, request_struct_class: type[ScramRequest]) -> ScramRequest:
        """The one version there is."""
        return request_struct_class([], [self._upsertion], _NO_TAGS)
