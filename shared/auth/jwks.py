"""Owns the public keys of the token issuer: fetching, keeping for a while, refusing when too old.

Must not fetch from any address but the configured one, nor more often than it says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from shared.clock import Clock

MAX_AGE_S: Final = 300.0
REFRESH_AGE_S: Final = 240.0
UNKNOWN_KID_PERIOD_S: Final = 60.0
RETRY_PERIOD_S: Final = 5.0
FETCH_DEADLINE_S: Final = 3.0
MAX_JWKS_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048
_log = structlog.get_logger(__name__)

PublicKey = RSAKey | ECKey | OKPKey
FetchJwks = Callable[[], Awaitable[bytes]]


class JwksUnavailable(Exception):  # noqa: N818 - says what is true.
    """The keys of the issuer are not known, or too old to be trusted."""


def jwks_from_file(path: Path) -> FetchJwks:
    """A source that reads a mounted file."""

    async def fetch() -> bytes:
        return await asyncio.to_thread(path.read_bytes)

    return fetch


def jwks_from_url(url: str) -> FetchJwks:
    """A source that reads the configured address; no redirect is followed, no proxy used."""

    async def fetch() -> bytes:
        timeout = aiohttp.ClientTimeout(total=FETCH_DEADLINE_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(url, allow_redirects=False, raise_for_status=True) as response,
        ):
            if response.status != 200:  # noqa: PLR2004 - a redirect is not an answer.
                raise JwksUnavailable("the issuer's keys are not at the configured address")
            return await _bounded(response.content)

    return fetch


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    raw = bytearray()
    while chunk := await content.read(MAX_JWKS_BYTES):
        raw += chunk
        if len(raw) > MAX_JWKS_BYTES:
            raise JwksUnavailable("the issuer's keys are too many")
    return bytes(raw)


class JwksCache:
    """The issuer's keys by `kid`: at most five minutes old, fetched by one caller at a time."""

    def __init__(self, fetch: FetchJwks, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, PublicKey] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._tried_for_kid_at = float("-inf")
        self._lock = asyncio.Lock()

    async def key(self, kid: str) -> PublicKey | None:
        """The key of that id, or None when the issuer has none. Raises: JwksUnavailable."""
        if self._age() >= REFRESH_AGE_S:
            await self._refresh()
        if self._age() > MAX_AGE_S:
            raise JwksUnavailable("the keys of the token issuer are not known")
        if kid not in self._keys and self._may_ask_for_a_kid():
            await self._refresh_once()
        return self._keys.get(kid)

    def _age(self) -> float:
        return self._clock.monotonic() - self._fetched_at

    def _may_ask_for_a_kid(self) -> bool:
        now = self._clock.monotonic()
        if now - max(self._tried_for_kid_at, self._fetched_at) < UNKNOWN_KID_PERIOD_S:
            return False
        self._tried_for_kid_at = now
        return True

    async def _refresh(self) -> None:
        if self._clock.monotonic() - self._tried_at < RETRY_PERIOD_S:
            return
        async with self._lock:
            if self._clock.monotonic() - self._tried_at >= RETRY_PERIOD_S:
                await self._load()

    async def _refresh_once(self) -> None:
        async with self._lock:
            await self._load()

    async def _load(self) -> None:
        self._tried_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(FETCH_DEADLINE_S):
                keys = read_jwks(await self._fetch())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, JwksUnavailable) as error:
            _log.warning("jwks_fetch_failed", error=type(error).__name__)
            return
        self._keys, self._fetched_at = keys, self._clock.monotonic()


def read_jwks(raw: bytes) -> dict[str, PublicKey]:
    """The usable keys of a JWKS by `kid`; symmetric, weak and unnamed ones are left out.

    Raises: ValueError when it is not a JWKS.
    """
    document = orjson.loads(raw)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWKS")  # noqa: TRY004 - a fault of content.
    keys: dict[str, PublicKey] = {}
    for entry in entries[:MAX_KEYS]:
        key = _usable(entry)
        if key is not None:
            keys[str(entry["kid"])] = key
    return keys


def _usable(entry: Any) -> PublicKey | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("use", "sig") != "sig":
        return None
    try:
        return _imported(entry)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _imported(entry: dict[str, Any]) -> PublicKey | None:
    match entry.get("kty"), entry.get("crv"):
        case "RSA", _:
            modulus = urlsafe_b64decode(entry["n"].encode("ascii"))
            long_enough = int.from_bytes(modulus).bit_length() >= MIN_RSA_BITS
            return RSAKey.import_key(entry) if long_enough else None
        case "EC", "P-256":
            return ECKey.import_key(entry)
        case "OKP", "Ed25519":
            return OKPKey.import_key(entry)
        case _:
            return None
