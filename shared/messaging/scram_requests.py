"""Owns the wire requests that store, remove and list SCRAM users (KIP-554).

Must not send a password: the broker gets the salted hash.
"""

import hashlib
import secrets
from typing import Final

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

SCRAM: Final = "SCRAM-SHA-512"
_DESCRIBE_KEY = 50
_ALTER_KEY = 51
_SCRAM_SHA_512 = 2
_ITERATIONS = 8192
_SALT_BYTES = 24
_NO_TAGS: dict[int, bytes] = {}


class AlterUsersResponse(Response):
    """One result for each user."""

    API_KEY = _ALTER_KEY
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


class AlterUsersRequest(RequestStruct):
    """Deletions, then additions."""

    FLEXIBLE_VERSION = True
    API_KEY = _ALTER_KEY
    API_VERSION = 0
    RESPONSE_TYPE = AlterUsersResponse
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


class UpsertUser(Request[AlterUsersRequest]):
    """Add a user or change its password."""

    API_KEY = _ALTER_KEY

    def __init__(self, username: str, password: str) -> None:
        salt = secrets.token_bytes(_SALT_BYTES)
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
        self._upsertion = (username, _SCRAM_SHA_512, _ITERATIONS, salt, salted, _NO_TAGS)

    def build(self, request_struct_class: type[AlterUsersRequest]) -> AlterUsersRequest:
        """The one version there is."""
        return request_struct_class([], [self._upsertion], _NO_TAGS)


class DeleteUser(Request[AlterUsersRequest]):
    """Remove a user's password, so that it cannot log in."""

    API_KEY = _ALTER_KEY

    def __init__(self, username: str) -> None:
        self._deletion = (username, _SCRAM_SHA_512, _NO_TAGS)

    def build(self, request_struct_class: type[AlterUsersRequest]) -> AlterUsersRequest:
        """The one version there is."""
        return request_struct_class([self._deletion], [], _NO_TAGS)


class DescribeUsersResponse(Response):
    """Every user, without anything secret."""

    API_KEY = _DESCRIBE_KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", CompactString("utf-8")),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                (
                    "credential_infos",
                    CompactArray(
                        ("mechanism", Int8), ("iterations", Int32), ("tags", TaggedFields)
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeUsersRequest(RequestStruct):
    """Which users; null for all."""

    FLEXIBLE_VERSION = True
    API_KEY = _DESCRIBE_KEY
    API_VERSION = 0
    RESPONSE_TYPE = DescribeUsersResponse
    SCHEMA = Schema(
        ("users", CompactArray(("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("tags", TaggedFields),
    )


class DescribeUsers(Request[DescribeUsersRequest]):
    """List every user."""

    API_KEY = _DESCRIBE_KEY

    def build(self, request_struct_class: type[DescribeUsersRequest]) -> DescribeUsersRequest:
        """The one version there is."""
        return request_struct_class(None, _NO_TAGS)
