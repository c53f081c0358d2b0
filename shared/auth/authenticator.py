"""Owns turning an Authorization header into a principal, or a refusal that tells nothing.

Must not say which part of a credential was wrong.
"""

import structlog
from aiohttp import hdrs
from multidict import CIMultiDictProxy

from shared.auth.jwks import JwksUnavailable
from shared.auth.keys import KeyFile, KeysUnavailable
from shared.auth.principals import Principal
from shared.auth.tokens import BadToken, TokenVerifier
from shared.http.problems import BAD_REQUEST, NOT_READY, UNAUTHENTICATED, Problem
from shared.observability.health import Health

_KEY_BEGINS = "estate_"
_SCHEME = "bearer"
_MAX_CREDENTIAL_CHARS = 8192
_log = structlog.get_logger(__name__)


class CredentialAuthenticator:
    """Accepts API keys and, where configured, tokens: `Authorization: Bearer <credential>`."""

    def __init__(self, keys: KeyFile, tokens: TokenVerifier | None = None) -> None:
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, headers: CIMultiDictProxy[str]) -> Principal | None:
        """The caller, or None when no credential was presented.

        Raises: Problem `unauthenticated`; `bad-request` for several Authorization headers;
        `not-ready` when keys or the issuer's keys cannot be had.
        """
        values = headers.getall(hdrs.AUTHORIZATION, ())
        if not values:
            return None
        if len(values) > 1:
            raise Problem(BAD_REQUEST, "Authorization was given more than once.")
        scheme, _, credential = values[0].partition(" ")
        if scheme.lower() != _SCHEME or not 0 < len(credential) <= _MAX_CREDENTIAL_CHARS:
            raise refused()
        if credential.startswith(_KEY_BEGINS):
            return self._by_key(credential)
        return await self._by_token(credential)

    def _by_key(self, credential: str) -> Principal:
        try:
            record = self._keys.find(credential)
        except KeysUnavailable:
            raise Problem(NOT_READY, "no keys") from None
        if record is None:
            raise refused()
        return record.as_principal()

    async def _by_token(self, credential: str) -> Principal:
        if self._tokens is None:
            raise refused()
        try:
            return await self._tokens.verify(credential)
        except BadToken as error:
            _log.info("token_refused", reason=str(error))
            raise refused() from None
        except JwksUnavailable:
            raise Problem(NOT_READY, "no keys of the token issuer") from None

    async def check(self) -> Health:
        """Readiness check: whether the key file can be read."""
        try:
            self._keys.current()
        except KeysUnavailable:
            return Health(ok=False, detail="no keys")
        return Health(ok=True)


def refused() -> Problem:
    """The one refusal there is, whatever was wrong."""
    return Problem(UNAUTHENTICATED, headers={"WWW-Authenticate": "Bearer"})
