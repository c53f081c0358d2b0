"""Checks sending submissions: the forms of a file, batches, outcomes, deciding over Kafka."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.asking import Service
from cli.submission_doors import (
    BATCH_MAX,
    BATCH_MAX_BYTES,
    Placed,
    Tally,
    await_decisions,
    batches,
)
from cli.submission_file import Outgoing
from shared.clock import SystemClock
from shared.http.client import ApiClient
from tests.unit.cli.conftest import Run
from tests.unit.cli.stand_in import KEY, StandIn


def event(identity: str, verb: str = "service.register", *, bad: bool = False) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": "test",
        "type": f"estate.{verb}.v1",
        "data": {"bad": bad},
    }


def outgoing(identity: str, number: int = 1, size: int = 2) -> Outgoing:
    return Outgoing(number, "test", identity, "estate.service.register.v1", b"x" * size)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(event("1"), indent=2),
        json.dumps([event("1")]),
        json.dumps(event("1")) + "\n\n",
    ],
)
def test_a_file_may_hold_one_an_array_or_lines(run: Run, stand_in: StandIn, text: str) -> None:
    result = run("submit", "-", "--door", "http", stdin=text)
    assert result.exit_code == 0, result.output
    assert stand_in.batches == [[event("1")]]
    assert "1 accepted of 1" in result.stdout


def test_a_rejected_submission_is_exit_code_1_with_its_reason(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "changes.ndjson"
    file.write_text("\n".join(json.dumps(event(str(n), bad=n == 2)) for n in (1, 2, 3)))
    result = run("submit", str(file), "--door", "http", columns=160)
    assert result.exit_code == 1
    assert "/data/name is missing" in result.stdout
    assert "2 accepted, 1 rejected of 3" in result.stdout
    answer = json.loads(run("submit", str(file), "--door", "http", "--json").stdout)
    assert [one["status"] for one in answer["results"]] == ["accepted", "rejected", "accepted"]
    assert (answer["accepted"], answer["rejected"], answer["pending"]) == (2, 1, 0)


def test_each_submission_goes_to_the_service_of_its_type(run: Run, stand_in: StandIn) -> None:
    events = [event("1", "dependency.declare"), event("2"), event("3", "dependency.declare")]
    result = run("submit", "-", "--door", "http", "--json", stdin=json.dumps(events))
    assert [[one["id"] for one in batch] for batch in stand_in.batches] == [["2"], ["1", "3"]]
    assert [one["id"] for one in json.loads(result.stdout)["results"]] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ('{"id": "1"}', "Submission 1 lacks source, id or type"),
        (json.dumps(event("1")) + "\n{broken", "Submission 2 is not JSON"),
        ("[1]", "Submission 1 is not a JSON object"),
    ],
)
def test_what_is_no_submission_is_wrong_use(
    run: Run, stand_in: StandIn, text: str, told: str
) -> None:
    result = run("submit", "-", "--door", "http", stdin=text)
    assert result.exit_code == 2
    assert told in result.stderr
    assert stand_in.batches == []


def test_kafka_without_an_address_is_wrong_use(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESTATE_KAFKA_BOOTSTRAP", raising=False)
    asked = ("--door", "kafka", "--organisation", "org_" + "1" * 32)
    result = run("submit", "-", *asked, stdin=json.dumps(event("1")))
    assert result.exit_code == 2
    assert "No address of Kafka is known" in result.stderr


def test_kafka_without_a_known_organisation_is_wrong_use(run: Run) -> None:
    result = run("submit", "-", "--door", "kafka", stdin=json.dumps(event("1")))
    assert result.exit_code == 2
    assert "--organisation" in result.stderr


def test_batches_keep_order_and_limits() -> None:
    many = [outgoing(str(n)) for n in range(BATCH_MAX + 1)]
    assert [len(batch) for batch in batches(many)] == [BATCH_MAX, 1]
    large = [outgoing(str(n), size=BATCH_MAX_BYTES // 2 + 1) for n in range(3)]
    assert [[one.id for one in batch] for batch in batches(large)] == [["0"], ["1"], ["2"]]


async def test_decisions_are_awaited_until_each_is_there(stand_in: StandIn) -> None:
    submissions = [outgoing("good", 1), outgoing("bad", 2), outgoing("never", 3)]
    placed = [Placed(one, offset) for offset, one in enumerate(submissions, 5)]
    tally = Tally(lambda _result: None)
    async with ApiClient(stand_in.url, KEY) as api:
        await await_decisions(Service("registry", api), placed, tally, SystemClock(), 1.0)
    assert [(one.sent.id, one.status) for one in tally.results] == [
        ("good", "accepted"),
        ("bad", "rejected"),
        ("never", "pending"),
    ]


async def test_the_rejection_of_an_earlier_one_of_the_same_name_is_not_taken_for_an_answer(
    stand_in: StandIn,
) -> None:
    tally = Tally(lambda _result: None)
    async with ApiClient(stand_in.url, KEY) as api:
        placed = [Placed(outgoing("bad"), 7)]
        await await_decisions(Service("registry", api), placed, tally, SystemClock(), 0.5)
    assert [one.status for one in tally.results] == ["pending"]
