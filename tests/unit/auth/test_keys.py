"""API keys: shown once, kept as hashes, revoked for good, and nobody in without a valid file."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.auth.keys import (
    KEY_PATTERN,
    KeyFile,
    KeysUnavailable,
    issue_key,
    list_keys,
    revoke_key,
)
from shared.auth.principals import Role
from shared.clock import SystemClock, new_id
from tests.unit.auth.hand_clock import HandClock

EMITTER = frozenset({Role.EMITTER})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keys.json"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def issue(path: Path, clock: HandClock | SystemClock, principal: str = "p-1") -> str:
    issued = issue_key(
        path,
        principal=principal,
        roles=EMITTER,
        organisation="org_1",
        clock=clock,
        new_id=new_id,
    )
    return issued.secret


def test_a_key_opens_what_it_was_issued_for(path: Path, clock: HandClock) -> None:
    secret = issue(path, clock)
    assert KEY_PATTERN.fullmatch(secret)
    record = KeyFile(path, clock).find(secret)
    assert record is not None
    principal = record.as_principal()
    assert (principal.id, principal.roles, principal.organisation) == ("p-1", EMITTER, "org_1")
    assert principal.credential_id == record.id


def test_the_file_holds_no_key_and_only_its_owner_reads_it(path: Path, clock: HandClock) -> None:
    secret = issue(path, clock)
    assert secret.rpartition("_")[2] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["keys"][0]["created"] == "2026-06-01T12:00:00.000000Z"


def test_a_revoked_key_is_refused_within_five_seconds(path: Path, clock: HandClock) -> None:
    secret, other = issue(path, clock), issue(path, clock, "p-2")
    keys = KeyFile(path, clock)
    assert keys.find(secret) is not None
    revoke_key(path, secret[7:15], clock=clock)
    clock.move(5)
    assert keys.find(secret) is None
    assert keys.find(other) is not None


def test_a_new_key_is_accepted_at_once(path: Path, clock: HandClock) -> None:
    issue(path, clock)
    keys = KeyFile(path, clock)
    keys.current()
    secret = issue(path, clock, "p-2")
    assert keys.find(secret) is not None


def test_the_file_is_looked_at_once_a_second_at_most(path: Path, clock: HandClock) -> None:
    secret = issue(path, clock)
    keys = KeyFile(path, clock)
    keys.current()
    path.unlink()
    clock.move(0.9)
    assert keys.find(secret) is not None
    clock.move(0.2)
    with pytest.raises(KeysUnavailable):
        keys.find(secret)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "{}",
        "[]",
        '{"keys":[{}]}',
        '{"keys":[],"extra":1}',
        '{"keys":' + "[" * 100_000,
        "\x00",
    ],
)
def test_a_file_that_is_not_valid_lets_nobody_in(
    path: Path, clock: HandClock, content: str
) -> None:
    secret = issue(path, clock)
    keys = KeyFile(path, clock)
    assert keys.find(secret) is not None
    good = path.read_text()
    path.write_text(content)
    clock.move(2)
    with pytest.raises(KeysUnavailable):
        keys.find(secret)
    with pytest.raises(KeysUnavailable):
        list_keys(path)
    path.write_text(good)
    clock.move(2)
    assert keys.find(secret) is not None


def test_a_missing_file_lets_nobody_in(path: Path, clock: HandClock) -> None:
    with pytest.raises(KeysUnavailable):
        KeyFile(path, clock).find("estate_00000000_" + "a" * 43)
    assert list_keys(path) == ()


def test_two_keys_with_one_prefix_make_the_file_invalid(path: Path, clock: HandClock) -> None:
    issue(path, clock)
    table = json.loads(path.read_text())
    path.write_text(json.dumps({"keys": table["keys"] * 2}))
    with pytest.raises(KeysUnavailable):
        list_keys(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80))
def test_no_other_text_is_a_key(path: Path, clock: HandClock, text: str) -> None:
    secret = (list_keys(path) and "") or issue(path, clock)
    keys = KeyFile(path, clock)
    assert keys.find(text) is None
    assert keys.find(secret[:-1] + ("A" if secret[-1:] != "A" else "B")) is None


def test_revoking_again_changes_nothing_and_an_unknown_key_is_told(
    path: Path, clock: HandClock
) -> None:
    secret = issue(path, clock)
    first = revoke_key(path, secret[7:15], clock=clock)
    clock.move(60)
    assert revoke_key(path, first.id, clock=clock).revoked == first.revoked
    with pytest.raises(KeyError):
        revoke_key(path, "ffffffff0", clock=clock)


def test_an_emitter_key_must_name_its_organisation(path: Path, clock: HandClock) -> None:
    with pytest.raises(ValueError, match="organisation"):
        issue_key(path, principal="p", roles=EMITTER, organisation=None, clock=clock, new_id=new_id)
    with pytest.raises(ValueError, match="role"):
        issue_key(
            path, principal="p", roles=frozenset(), organisation=None, clock=clock, new_id=new_id
        )


def _issue_some(path: Path) -> None:
    for _ in range(10):
        issue(path, SystemClock())


def test_concurrent_writers_lose_no_key(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_issue_some, args=(path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(list_keys(path)) == 30
    assert not any(name.endswith(".new") for name in os.listdir(path.parent))  # noqa: PTH208
