"""The Authorization header: one credential, one indistinct refusal, closed when in doubt."""

from pathlib import Path

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from shared.auth.authenticator import CredentialAuthenticator
from shared.auth.jwks import JwksCache
from shared.auth.keys import KeyFile, issue_key, revoke_key
from shared.auth.principals import Role
from shared.auth.tokens import TokenConfig, TokenVerifier
from shared.clock import new_id
from shared.http.problems import Problem
from tests.unit.auth.hand_clock import HandClock


def headers(*values: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict([("Authorization", value) for value in values]))


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def issue(path: Path, clock: HandClock) -> str:
    return issue_key(
        path,
        principal="p-1",
        roles=frozenset({Role.ADMIN}),
        organisation=None,
        clock=clock,
        new_id=new_id,
    ).secret


async def refusal(authenticator: CredentialAuthenticator, *values: str) -> Problem:
    with pytest.raises(Problem) as refused:
        await authenticator.authenticate(headers(*values))
    return refused.value


async def test_a_key_proves_its_principal(path: Path, clock: HandClock) -> None:
    secret = issue(path, clock)
    authenticator = CredentialAuthenticator(KeyFile(path, clock))
    for scheme in ("Bearer", "bearer", "BEARER"):
        principal = await authenticator.authenticate(headers(f"{scheme} {secret}"))
        assert principal is not None
        assert principal.id == "p-1"
    assert await authenticator.authenticate(headers()) is None


async def test_every_refusal_reads_the_same(path: Path, clock: HandClock) -> None:
    secret, revoked = issue(path, clock), issue(path, clock)
    revoke_key(path, revoked[7:15], clock=clock)
    authenticator = CredentialAuthenticator(KeyFile(path, clock))
    attempts = [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {secret}",
        secret,
        f"Bearer  {secret}",
        f"Bearer {secret} x",
        f"Bearer {secret[:-1]}",
        f"Bearer {revoked}",
        "Bearer estate_00000000_" + "a" * 43,
        "Bearer a.b.c",
        "Bearer " + "x" * 100_000,
        "Bearer caf\u00e9",
    ]
    documents = [(await refusal(authenticator, attempt)).document() for attempt in attempts]
    assert all(document == documents[0] for document in documents)
    assert documents[0]["status"] == 401


async def test_two_credentials_are_refused(path: Path, clock: HandClock) -> None:
    secret = issue(path, clock)
    authenticator = CredentialAuthenticator(KeyFile(path, clock))
    problem = await refusal(authenticator, f"Bearer {secret}", f"Bearer {secret}")
    assert problem.kind.status == 400


async def test_nobody_is_let_in_without_keys(path: Path, clock: HandClock) -> None:
    authenticator = CredentialAuthenticator(KeyFile(path, clock))
    problem = await refusal(authenticator, "Bearer estate_00000000_" + "a" * 43)
    assert (problem.kind.slug, problem.detail) == ("not-ready", "no keys")
    assert (await authenticator.check()).ok is False
    issue(path, clock)
    clock.move(1)
    assert (await authenticator.check()).ok is True


async def test_an_unreachable_issuer_stops_tokens_only(path: Path, clock: HandClock) -> None:
    async def unreachable() -> bytes:
        raise OSError("down")

    secret = issue(path, clock)
    verifier = TokenVerifier(TokenConfig("i", "a"), JwksCache(unreachable, clock), clock)
    authenticator = CredentialAuthenticator(KeyFile(path, clock), verifier)
    # {"alg":"RS256","kid":"k"} . {} . x
    problem = await refusal(authenticator, "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.e30.eA")
    assert problem.kind.slug == "not-ready"
    assert await authenticator.authenticate(headers(f"Bearer {secret}")) is not None
