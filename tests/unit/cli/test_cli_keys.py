"""Checks issuing, listing and revoking keys on the key file."""

import json
import stat
from pathlib import Path

from shared.auth.keys import KEY_PATTERN, KeyFile
from shared.clock import SystemClock
from tests.unit.cli.conftest import Run
from tests.unit.cli.stand_in import ORGANISATION


def test_an_issued_key_is_shown_once_and_works(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    issued = run("keys", "issue", "--role", "auditor", "--keys-file", str(path))
    assert issued.exit_code == 0, issued.output
    key = issued.stdout.strip()
    assert KEY_PATTERN.fullmatch(key)
    assert KeyFile(path, SystemClock()).find(key) is not None
    assert key not in run("keys", "list", "--keys-file", str(path), "--json").output


def test_out_is_private_and_never_overwritten(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "emitter.key"
    organisation = ("--role", "emitter", "--organisation", ORGANISATION)
    issued = run("keys", "issue", *organisation, "--out", str(out))
    assert issued.exit_code == 0, issued.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    key = out.read_text().strip()
    assert key not in issued.output
    assert run("keys", "issue", *organisation, "--out", str(out)).exit_code == 2
    assert out.read_text().strip() == key
    assert len(json.loads(run("keys", "list", "--json").stdout)["items"]) == 1


def test_an_organisation_may_be_named_by_slug(run: Run) -> None:
    chosen = ("--role", "emitter", "--organisation", "government-digital-service")
    issued = json.loads(run("keys", "issue", *chosen, "--json").stdout)
    assert issued["organisation"] == ORGANISATION


def test_an_emitter_without_an_organisation_is_wrong_use(run: Run) -> None:
    result = run("keys", "issue", "--role", "emitter")
    assert result.exit_code == 2
    assert "organisation" in result.stderr


def test_a_revoked_key_is_listed_as_revoked(run: Run, state: Path) -> None:
    issued = json.loads(run("keys", "issue", "--role", "admin", "--json").stdout)
    assert run("keys", "revoke", issued["id"]).exit_code == 0
    assert KeyFile(state / "keys" / "keys.json", SystemClock()).find(issued["key"]) is None
    listed = json.loads(run("keys", "list", "--json").stdout)["items"]
    assert listed[0]["revoked"] is not None
    assert "1 key" in run("keys", "list").stdout


def test_an_unknown_key_cannot_be_revoked(run: Run) -> None:
    result = run("keys", "revoke", "key_nothing")
    assert result.exit_code == 1
    assert "no such key" in result.stderr


def test_a_broken_key_file_is_told_without_its_content(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"keys": "hunter2"}')
    result = run("keys", "list", "--keys-file", str(path))
    assert result.exit_code == 1
    assert "cannot be used" in result.stderr
    assert "hunter2" not in result.output
