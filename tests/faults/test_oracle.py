"""Owns the check that the oracle finds what is wrong, in logs and views made wrong by hand.

Must not start a server: what needs one is in test_faults.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.faults.held_log import Held, Logged, faults_of_log
from tests.faults.held_secrets import Hidden, shown_in_logs
from tests.faults.held_views import faults_of_ends, faults_of_feed, faults_of_follower
from tests.faults.ledger import Told

Event = tuple[str, str, Mapping[str, Any]]
CREDENTIAL: Final = "canary-of-a-key"
TEXT: Final = "canary-of-a-text"


def log_of(name: str, *events: Event) -> Held:
    """A log of one event for each stream."""
    held = Held(name, len(events), 1, None, [], {})
    for position, (kind, subject, data) in enumerate(events, 1):
        document: dict[str, Any] = {"position": str(position), "streamversion": "1"}
        document |= {"type": kind, "subject": subject, "data": data}
        held.events.append(Logged(position, subject, 1, orjson.dumps(document), document))
    return held


def service(number: int) -> Event:
    return "estate.service.registered.v1", f"svc_{number}", {"slug": f"s-{number}"}


def dependency(number: int, to: str) -> Event:
    data = {"from": "s-1", "to": {"service": to}}
    return "estate.dependency.declared.v1", f"dep_{number}", data


LOGS: Final = {
    "registry": log_of("registry", service(1), service(2), service(3)),
    "dependencies": log_of("dependencies", dependency(1, "s-2"), dependency(2, "s-9")),
}
FEED: Final[list[Any]] = [
    {"log": log, "event": event.document} for log in LOGS for event in LOGS[log].events
]
LISTED: Final[list[Any]] = [
    {"id": "dep_1", "from": {"service": "svc_1"}, "to": {"service": "svc_2"}},
    {"id": "dep_2", "from": {"service": "svc_1"}, "to": {"service": None}},
]


def test_what_is_right_has_no_fault() -> None:
    assert faults_of_log(LOGS["registry"]) == []
    assert faults_of_feed(FEED, LOGS) == []
    assert faults_of_ends(LISTED, LOGS) == []


def test_a_log_that_leaves_out_a_position_is_found() -> None:
    held = LOGS["registry"]
    gone = replace(held, events=[held.events[0], held.events[2]])
    assert faults_of_log(gone) == ["registry has not the positions 1 to 3"]


@pytest.mark.parametrize("at", range(len(FEED)))
def test_a_feed_that_misses_an_event_is_found(at: int) -> None:
    assert faults_of_feed(FEED[:at] + FEED[at + 1 :], LOGS)


def test_a_feed_that_changes_or_repeats_an_event_is_found() -> None:
    changed = {**FEED[0], "event": {**FEED[0]["event"], "data": {}}}
    assert faults_of_feed([changed, *FEED[1:]], LOGS) == ["the feed changes registry:1"]
    repeated = ["the feed goes from registry:1 to 1"]
    assert faults_of_feed([FEED[0], *FEED], LOGS) == repeated


def test_a_follower_that_was_sent_nothing_is_found(tmp_path: Path) -> None:
    assert len(faults_of_follower(tmp_path / "feed.jsonl", LOGS)) == 1


@pytest.mark.parametrize(("end", "faults"), [(1, 0), (2, 1)])
def test_a_follower_that_was_not_sent_the_last_is_found(
    end: int, faults: int, tmp_path: Path
) -> None:
    path = tmp_path / "stream.jsonl"
    path.write_bytes(
        orjson.dumps({"positions": ["registry:1"]})
        + b"\n"
        + orjson.dumps({"positions": [], "ends": {"registry": end}})
    )
    assert len(faults_of_follower(path, LOGS)) == faults


@pytest.mark.parametrize("sent", [["registry:1", "registry:3"], ["registry:1", "registry:1"]])
def test_a_follower_that_was_sent_a_gap_or_a_repeat_is_found(
    sent: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_bytes(orjson.dumps({"positions": sent}))
    assert len(faults_of_follower(path, LOGS)) == 1


@pytest.mark.parametrize(
    ("listed", "fault"),
    [
        ([], "dep_1 is listed 0 times"),
        ([*LISTED, LISTED[0]], "dep_1 is listed 2 times"),
        ([*LISTED, {**LISTED[0], "id": "dep_3"}], "dep_3 is listed 1 times"),
        ([{**LISTED[0], "to": {"service": "svc_3"}}, LISTED[1]], "dep_1 to s-2: not svc_2"),
        ([LISTED[0], {**LISTED[1], "to": {"service": "svc_3"}}], "dep_2 to s-9: not None"),
    ],
)
def test_a_wrong_list_of_dependencies_is_found(listed: list[Any], fault: str) -> None:
    assert faults_of_ends(listed, LOGS)[0].startswith(fault)


def test_a_dependency_that_is_listed_though_withdrawn_is_found() -> None:
    withdrawn: Event = ("estate.dependency.withdrawn.v1", "dep_1", {})
    log = log_of("dependencies", dependency(1, "s-2"), dependency(2, "s-9"), withdrawn)
    faults = faults_of_ends(LISTED, {**LOGS, "dependencies": log})
    assert faults == ["dep_1 is listed 1 times, and declared 0"]


@pytest.mark.parametrize("leaked", [CREDENTIAL, TEXT])
def test_what_must_not_be_in_a_log_file_is_found_there(leaked: str, tmp_path: Path) -> None:
    hidden = Hidden.of(Told(credentials=[CREDENTIAL], texts=[TEXT]), ["a-password"])
    (tmp_path / "00000.log").write_text(leaked)
    (tmp_path / "quiet.log").write_text("nothing")
    assert shown_in_logs(tmp_path, hidden) == []
    (tmp_path / "registry.log").write_text(f"failed: {leaked}!")
    (fault,) = shown_in_logs(tmp_path, hidden)
    assert fault.endswith("is in registry.log")


def test_a_password_is_found_in_a_record_where_text_may_be() -> None:
    hidden = Hidden.of(Told(credentials=[CREDENTIAL], texts=[TEXT]), ["a-password"])
    assert hidden.shown_to_readers(f"{TEXT} a-password".encode(), "it") == ["a secret is in it"]
    assert hidden.shown_to_readers(TEXT.encode(), "it") == []
