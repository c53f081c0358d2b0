"""Checks what `estate keys` refuses to issue for Kafka, before and without a cluster."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.stand_in import ORGANISATION


@pytest.mark.parametrize(
    "arguments",
    [
        ("--role", "emitter"),
        ("--role", "integrator", "--organisation", ORGANISATION),
        ("--role", "admin"),
        ("--role", "integrator", "--principal", "prn_1"),
        ("--role", "integrator", "--keys-file", "keys.json"),
        ("--role", "nobody"),
        (),
    ],
)
def test_what_no_user_of_kafka_can_be_is_wrong_use(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("keys", "issue", "--kafka", *arguments).exit_code == 2


def test_unknown_address_of_kafka_is_wrong_use(run: Run) -> None:
    assert run("keys", "issue", "--kafka", "--role", "operator").exit_code == 2


def test_cluster_without_access_control_is_told_and_given_nothing(
    run: Run, state: Path, tmp_path: Path
) -> None:
    (state / "addresses.json").write_text(json.dumps({"kafka": {"bootstrap": "127.0.0.1:1"}}))
    out = tmp_path / "kafka.json"
    arguments = ("--role", "operator", "--out", str(out))
    result = run("keys", "issue", "--kafka", *arguments)
    assert result.exit_code == 1
    assert "no access control" in result.stderr
    assert "--kafka-access-control" in result.stderr
    assert not out.exists()
    assert run("keys", "revoke", "prn_" + "0" * 32).exit_code == 1


def test_kafka_that_does_not_answer_hides_no_key(run: Run, state: Path) -> None:
    run("keys", "issue", "--role", "operator")
    user = {"sasl_mechanism": "SCRAM-SHA-512", "username": "admin", "password": "made-up"}
    kafka = {"bootstrap": "127.0.0.1:1", "security_protocol": "SASL_PLAINTEXT", **user}
    (state / "addresses.json").write_text(json.dumps({"kafka": kafka}))
    listed = run("keys", "list", "--json")
    assert listed.exit_code == 0
    assert "not shown" in listed.stderr
    assert json.loads(listed.stdout)["kafka"] is None
    assert len(json.loads(listed.stdout)["items"]) == 1


def test_file_without_credentials_is_wrong_use(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("sasl.mechanism=SCRAM-SHA-512\n")
    event = {"id": "1", "source": "test", "type": "estate.service.register.v1", "data": {}}
    chosen = ("--door", "kafka", "--organisation", ORGANISATION, "--kafka-file", str(file))
    result = run("submit", "-", *chosen, stdin=json.dumps({"specversion": "1.0", **event}))
    assert result.exit_code == 2
    assert "does not hold credentials" in result.stderr
