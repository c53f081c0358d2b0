"""Owns bearer tokens: which JWTs are believed, and whom they stand for.

Must not take a key, a key's address or an algorithm from a token.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from shared.auth.jwks import JwksCache
from shared.auth.principals import Principal, Role
from shared.clock import Clock
from shared.http.strict_json import BadJson, parse_json

MAX_TOKEN_CHARS: Final = 8192
MAX_LIFE_S: Final = 3600
LEEWAY_S: Final = 30
_ALGORITHM_NAMES: Final = ("RS256", "ES256", "EdDSA", "Ed25519")
_ALGORITHMS: Final = {name: JWSRegistry.algorithms[name] for name in _ALGORITHM_NAMES}
_HEADERS: Final = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+")
_OPAQUE: Final = re.compile(r"[A-Za-z0-9._:|-]{1,128}")
_MAX_DEPTH: Final = 8
_ROLES: Final = frozenset(role.value for role in Role)

Claims = Mapping[str, Any]


class BadToken(Exception):  # noqa: N818 - says what is true.
    """The token is not believed. The reason is for our log, never for the caller."""


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """Whose tokens are believed, and for which audience."""

    issuer: str
    audience: str


class TokenVerifier:
    """Believes tokens of one issuer for one audience, by the keys in its JWKS."""

    def __init__(self, config: TokenConfig, keys: JwksCache, clock: Clock) -> None:
        self._config = config
        self._keys = keys
        self._clock = clock

    async def verify(self, token: str) -> Principal:
        """Whom the token stands for; `sub` must be opaque, for it becomes `actor`.

        Raises: BadToken, or JwksUnavailable when no key can be had to tell.
        """
        header_text, claims_text, signature_text = _parts(token)
        algorithm, kid = _checked_header(_object(header_text))
        key = await self._keys.key(kid)
        if key is None:
            raise BadToken("unknown kid")
        try:
            algorithm.check_key(key)
            signed = f"{header_text}.{claims_text}".encode("ascii")
            genuine = algorithm.verify(signed, _decoded(signature_text), key)
        except (JoseError, ValueError) as error:
            raise BadToken("key does not fit the algorithm") from error
        if not genuine:
            raise BadToken("signature")
        claims = _object(claims_text)
        _check_claims(claims, self._config, int(self._clock.now().timestamp()))
        return _principal(claims, kid)


def _parts(token: str) -> tuple[str, str, str]:
    parts = token.split(".", 3) if len(token) <= MAX_TOKEN_CHARS else []
    if len(parts) != 3 or not all(_SEGMENT.fullmatch(part) for part in parts):  # noqa: PLR2004 - JWS compact.
        raise BadToken("form")
    return parts[0], parts[1], parts[2]


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise BadToken("base64") from None


def _object(segment: str) -> dict[str, Any]:
    try:
        value = parse_json(_decoded(segment), max_depth=_MAX_DEPTH)
    except BadJson:
        raise BadToken("json") from None
    if not isinstance(value, dict):
        raise BadToken("not an object")
    return value


def _checked_header(header: Claims) -> tuple[Any, str]:
    """The algorithm and key id; any header that could change how the rest is read is refused."""
    if not header.keys() <= _HEADERS:
        raise BadToken("header")
    name, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    algorithm = _ALGORITHMS.get(name) if isinstance(name, str) else None
    if algorithm is None:
        raise BadToken("algorithm")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise BadToken("type")
    if not isinstance(kid, str) or not 0 < len(kid) <= 200:  # noqa: PLR2004 - longer than any real one.
        raise BadToken("kid")
    return algorithm, kid


def _check_claims(claims: Claims, config: TokenConfig, now: int) -> None:
    if claims.get("iss") != config.issuer:
        raise BadToken("issuer")
    audience = claims.get("aud")
    if config.audience not in (audience if isinstance(audience, list) else [audience]):
        raise BadToken("audience")
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    begins = _time(claims, "nbf") if "nbf" in claims else issued
    if not 0 < expires - issued <= MAX_LIFE_S:
        raise BadToken("life")
    if now >= expires + LEEWAY_S:
        raise BadToken("expired")
    if max(issued, begins) > now + LEEWAY_S:
        raise BadToken("not yet valid")


def _time(claims: Claims, name: str) -> int:
    value = claims.get(name)
    if type(value) is not int:
        raise BadToken(name)
    return value


def _principal(claims: Claims, kid: str) -> Principal:
    subject, organisation = claims.get("sub"), claims.get("organisation")
    if not _is_opaque(subject):
        raise BadToken("subject")
    if organisation is not None and not _is_opaque(organisation):
        raise BadToken("organisation")
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise BadToken("roles")
    known = frozenset(Role(role) for role in roles if role in _ROLES)
    credential = claims.get("jti")
    credential_id = f"jwt:{credential}" if _is_opaque(credential) else f"jwt-key:{kid[:100]}"
    return Principal(str(subject), credential_id, known, organisation)


def _is_opaque(value: object) -> bool:
    return isinstance(value, str) and _OPAQUE.fullmatch(value) is not None
