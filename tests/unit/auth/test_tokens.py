"""Bearer tokens with real signatures: what is believed, and everything that is not."""

import base64
import hmac
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from shared.auth.jwks import (
    JwksCache,
    JwksUnavailable,
    jwks_from_file,
    jwks_from_url,
    read_jwks,
)
from shared.auth.principals import Role
from shared.auth.tokens import BadToken, TokenConfig, TokenVerifier
from tests.unit.auth.hand_clock import HandClock

ISSUER, AUDIENCE = "https://id.example", "estate"
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
ALGORITHMS = ["RS256", "ES256", "EdDSA", "RS512", "PS256"]


class Issuer:
    """Serves keys, counts how often it is asked, and can be down."""

    def __init__(self) -> None:
        self.keys: list[Any] = [RSA, EC, ED]
        self.asked = 0
        self.down = False

    async def fetch(self) -> bytes:
        self.asked += 1
        if self.down:
            raise OSError("unreachable")
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def verifier(issuer: Issuer, clock: HandClock) -> TokenVerifier:
    return TokenVerifier(TokenConfig(ISSUER, AUDIENCE), JwksCache(issuer.fetch, clock), clock)


def claims(clock: HandClock, **changed: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    standard: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-7",
        "iat": now,
        "exp": now + 600,
        "roles": ["auditor", "unknown-role"],
        "organisation": "org_1",
    }
    merged = {**standard, **changed}
    return {name: value for name, value in merged.items() if value is not ...}


def sign(header: dict[str, Any], payload: Any, key: Any = RSA) -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jws.serialize_compact(header, raw, key, registry=registry)


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("algorithm", "kid", "key"), [("RS256", "rsa", RSA), ("ES256", "ec", EC), ("EdDSA", "ed", ED)]
)
async def test_a_genuine_token_is_believed(
    verifier: TokenVerifier, clock: HandClock, algorithm: str, kid: str, key: Any
) -> None:
    token = sign({"alg": algorithm, "kid": kid, "typ": "at+jwt"}, claims(clock, jti="t-1"), key)
    principal = await verifier.verify(token)
    assert principal.id == "user-7"
    assert principal.roles == frozenset({Role.AUDITOR})
    assert principal.organisation == "org_1"
    assert principal.credential_id == "jwt:t-1"


async def test_an_audience_may_be_one_of_several(verifier: TokenVerifier, clock: HandClock) -> None:
    token = sign({"alg": "RS256", "kid": "rsa"}, claims(clock, aud=["other", AUDIENCE]))
    assert (await verifier.verify(token)).id == "user-7"


async def test_a_token_without_a_signature_or_with_the_public_key_as_secret_is_refused(
    verifier: TokenVerifier, clock: HandClock
) -> None:
    for name in ("none", "NoNe", "None", ""):
        unsigned = f"{segment({'alg': name, 'kid': 'rsa'})}.{segment(claims(clock))}."
        for token in (unsigned, unsigned + "AA"):
            with pytest.raises(BadToken):
                await verifier.verify(token)
    signed = f"{segment({'alg': 'HS256', 'kid': 'rsa'})}.{segment(claims(clock))}"
    mac = hmac.digest(RSA.as_pem(private=False), signed.encode(), "sha256")
    confused = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(BadToken, match="algorithm"):
        await verifier.verify(confused)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ({"alg": "RS512", "kid": "rsa"}, RSA),
        ({"alg": "PS256", "kid": "rsa"}, RSA),
        ({"alg": "RS256"}, RSA),
        ({"alg": "RS256", "kid": "nobody"}, RSA),
        ({"alg": "RS256", "kid": "../../etc/passwd"}, RSA),
        ({"alg": "RS256", "kid": "' OR 1=1 --"}, RSA),
        ({"alg": "RS256", "kid": "x" * 300}, RSA),
        ({"alg": "RS256", "kid": "ec"}, RSA),
        ({"alg": "RS256", "kid": "rsa"}, STRANGER),
        ({"alg": "RS256", "kid": "rsa", "jku": "https://evil.example/jwks"}, STRANGER),
        ({"alg": "RS256", "kid": "rsa", "x5u": "https://evil.example/x"}, RSA),
        ({"alg": "RS256", "kid": "rsa", "jwk": STRANGER.as_dict(private=False)}, STRANGER),
        ({"alg": "RS256", "kid": "rsa", "typ": "JWE"}, RSA),
        ({"alg": "RS256", "kid": "rsa", "b64": True, "crit": ["b64"]}, RSA),
    ],
)
async def test_a_header_that_names_another_way_to_check_is_refused(
    verifier: TokenVerifier, clock: HandClock, header: dict[str, Any], key: Any
) -> None:
    with pytest.raises(BadToken):
        await verifier.verify(sign(header, claims(clock), key))


async def test_an_unknown_critical_header_is_refused(
    verifier: TokenVerifier, clock: HandClock
) -> None:
    genuine = sign({"alg": "RS256", "kid": "rsa"}, claims(clock))
    _, payload, signature = genuine.split(".")
    header = segment({"alg": "RS256", "kid": "rsa", "crit": ["exp2"], "exp2": 1})
    with pytest.raises(BadToken, match="header"):
        await verifier.verify(f"{header}.{payload}.{signature}")


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": ...},
        {"iat": ...},
        {"iss": ...},
        {"aud": ...},
        {"sub": ...},
        {"iss": "https://id.example.evil"},
        {"iss": [ISSUER]},
        {"aud": "estate-test"},
        {"aud": []},
        {"aud": {"estate": 1}},
        {"exp": "9999999999"},
        {"exp": 1e30},
        {"exp": 10**15},
        {"exp": True},
        {"exp": None},
        {"iat": 0},
        {"iat": 1.5},
        {"nbf": "now"},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a.person@example.org"},
        {"sub": "x" * 200},
        {"roles": "admin"},
        {"roles": [1]},
        {"organisation": 5},
        {"organisation": "a b"},
    ],
)
async def test_claims_that_are_missing_wrong_or_of_another_type_are_refused(
    verifier: TokenVerifier, clock: HandClock, changed: dict[str, Any]
) -> None:
    token = sign({"alg": "RS256", "kid": "rsa"}, claims(clock, **changed))
    with pytest.raises(BadToken):
        await verifier.verify(token)


async def test_a_token_is_believed_in_its_time_only(
    verifier: TokenVerifier, clock: HandClock
) -> None:
    now = int(clock.now().timestamp())
    header = {"alg": "RS256", "kid": "rsa"}
    early = sign(header, claims(clock, nbf=now + 31))
    late = sign(header, claims(clock, iat=now + 31))
    long = sign(header, claims(clock, exp=now + 3601))
    for token in (early, late, long):
        with pytest.raises(BadToken):
            await verifier.verify(token)
    token = sign(header, claims(clock))
    clock.move(629)
    await verifier.verify(token)
    clock.move(1)
    with pytest.raises(BadToken, match="expired"):
        await verifier.verify(token)


async def test_a_repeated_claim_is_refused(verifier: TokenVerifier, clock: HandClock) -> None:
    raw = json.dumps(claims(clock)).encode()[:-1] + b',"roles":["admin"]}'
    with pytest.raises(BadToken, match="json"):
        await verifier.verify(sign({"alg": "RS256", "kid": "rsa"}, raw))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d.e",
        "a" * 100_000,
        "a.b.c",
        "\u00e9.b.c",
        "e30.e30.e30",
        "A.A.A",
    ],
)
async def test_what_is_not_a_token_is_refused(
    verifier: TokenVerifier, issuer: Issuer, token: str
) -> None:
    with pytest.raises(BadToken):
        await verifier.verify(token)
    assert issuer.asked == 0


async def test_any_changed_character_is_noticed(verifier: TokenVerifier, clock: HandClock) -> None:
    token = sign({"alg": "ES256", "kid": "ec"}, claims(clock), EC)
    for index in range(0, len(token) - 1, 5):
        other = "A" if token[index] != "A" else "B"
        with pytest.raises(BadToken):
            await verifier.verify(token[:index] + other + token[index + 1 :])


async def test_a_flood_of_unknown_kids_asks_the_issuer_once_a_minute(
    verifier: TokenVerifier, issuer: Issuer, clock: HandClock
) -> None:
    for second in range(120):
        with pytest.raises(BadToken):
            await verifier.verify(sign({"alg": "RS256", "kid": f"k{second}"}, claims(clock)))
        clock.move(1)
    assert issuer.asked <= 3


async def test_a_rotated_key_is_found_within_a_minute(
    verifier: TokenVerifier, issuer: Issuer, clock: HandClock
) -> None:
    await verifier.verify(sign({"alg": "RS256", "kid": "rsa"}, claims(clock)))
    fresh = RSAKey.generate_key(2048, {"kid": "fresh"})
    issuer.keys = [fresh]
    clock.move(60)
    assert (await verifier.verify(sign({"alg": "RS256", "kid": "fresh"}, claims(clock), fresh))).id
    with pytest.raises(BadToken):
        await verifier.verify(sign({"alg": "RS256", "kid": "rsa"}, claims(clock)))


async def test_a_withdrawn_key_is_believed_for_five_minutes_at_most(
    verifier: TokenVerifier, issuer: Issuer, clock: HandClock
) -> None:
    header = {"alg": "RS256", "kid": "rsa"}
    await verifier.verify(sign(header, claims(clock)))
    issuer.keys = [EC]
    clock.move(300)
    with pytest.raises(BadToken, match="kid"):
        await verifier.verify(sign(header, claims(clock)))


async def test_without_the_issuer_cached_keys_serve_until_they_age_out(
    verifier: TokenVerifier, issuer: Issuer, clock: HandClock
) -> None:
    header = {"alg": "RS256", "kid": "rsa"}
    await verifier.verify(sign(header, claims(clock)))
    issuer.down = True
    clock.move(299)
    await verifier.verify(sign(header, claims(clock)))
    clock.move(2)
    with pytest.raises(JwksUnavailable):
        await verifier.verify(sign(header, claims(clock)))
    issuer.down = False
    clock.move(5)
    await verifier.verify(sign(header, claims(clock)))


async def test_an_issuer_that_is_down_at_the_start_is_asked_every_five_seconds(
    verifier: TokenVerifier, issuer: Issuer, clock: HandClock
) -> None:
    issuer.down = True
    for _ in range(20):
        with pytest.raises(JwksUnavailable):
            await verifier.verify(sign({"alg": "RS256", "kid": "rsa"}, claims(clock)))
        clock.move(1)
    assert issuer.asked == 4


def test_keys_that_must_not_be_used_are_left_out() -> None:
    oct_key = {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}
    encryption = {**RSA.as_dict(private=False), "kid": "enc", "use": "enc"}
    weak = {"kty": "RSA", "kid": "weak", "n": "w" * 171, "e": "AQAB"}
    p521 = ECKey.generate_key("P-521", {"kid": "p521"}).as_dict(private=False)
    unnamed = {k: v for k, v in EC.as_dict(private=False).items() if k != "kid"}
    broken = {"kty": "RSA", "kid": "broken", "n": 5}
    entries = [oct_key, encryption, weak, p521, unnamed, broken, 7, EC.as_dict(private=False)]
    assert list(read_jwks(json.dumps({"keys": entries}).encode())) == ["ec"]


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"keys":{}}', b"\xff"])
def test_what_is_not_a_jwks_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - orjson words it its own way.
        read_jwks(raw)


async def test_keys_come_from_a_file_or_the_configured_address(
    tmp_path: Path, issuer: Issuer, clock: HandClock
) -> None:
    raw = await issuer.fetch()
    file = tmp_path / "jwks.json"
    file.write_bytes(raw)
    assert await JwksCache(jwks_from_file(file), clock).key("ec") is not None

    async def serve_keys(request: web.Request) -> web.Response:
        if request.path == "/moved":
            raise web.HTTPFound("/jwks")
        return web.Response(body=raw if request.path == "/jwks" else b"x" * 300_000)

    app = web.Application()
    app.router.add_get("/{any}", serve_keys)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        base = f"http://127.0.0.1:{site.port}"
        assert await JwksCache(jwks_from_url(f"{base}/jwks"), clock).key("ec") is not None
        for path in ("/moved", "/endless"):
            with pytest.raises(JwksUnavailable):
                await JwksCache(jwks_from_url(base + path), clock).key("ec")
    finally:
        await runner.cleanup()
