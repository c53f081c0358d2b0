from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.registry.services.decider import SERVICE
from services.registry.services.routes import COMMANDS
from shared.audit.sealed_event import open_event
from shared.clock import new_id
from shared.commands.doors import Doors
from shared.contracts.envelope import parse_event
from shared.eventstore.batch import Batch, Head
from shared.eventstore.merkle import Frontier
from shared.eventstore.types import Loaded, PendingCommand
from shared.eventstore.view import BatchView, Cache, MissingError
from shared.messaging.submissions import Refusal
from shared.service.log_service import _record_reader
from tests.support.builders import CABINET
from tests.support.clock import NOON, HandClock

REGISTRATION: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "crm",
    "type": "estate.service.register.v1",
    "subject": "crm:77",
    "data": {"name": "Licence Finder", "kind": "component"},
}


def read(tree: Any) -> PendingCommand | Refusal:
    reader = _record_reader(Doors(COMMANDS, HandClock(), new_id), new_id)
    return reader(orjson.dumps(tree), CABINET, ())


def sealed(command: PendingCommand) -> bytes:
    """The bytes of the event that a command leads to in an empty log."""
    cache = Cache({SERVICE.kind: SERVICE})
    view = BatchView(cache, {})
    head = Head("registry", 1, 0, datetime(2026, 1, 1, tzinfo=UTC), Frontier(0, []))
    batch = Batch(head, view, {SERVICE.kind: SERVICE}, new_id, NOON, {})
    while not batch.results:
        try:
            batch.decide(command)
        except MissingError:
            for claim in view.missing_claims:
                cache.put_claim(claim, None)
            for stream in view.missing_streams:
                cache.put_state(stream, Loaded(SERVICE.initial, 0))
            view.add({}, {})
    return batch.events[0][6]


@pytest.mark.parametrize("sent", [{}, {"correlationid": "change-4711"}])
def test_a_record_becomes_an_event_that_the_verifier_takes(sent: dict[str, str]) -> None:
    command = read(REGISTRATION | sent)
    assert isinstance(command, PendingCommand)
    body = sealed(command)
    assert open_event(body).position == 1
    told = parse_event(body).origin.correlation_id
    assert told == sent.get("correlationid", told)
    assert told


def test_a_record_that_is_no_submission_is_refused_with_a_problem() -> None:
    refusal = read({"specversion": "1.0"})
    assert isinstance(refusal, Refusal)
    assert refusal.problem["type"] == "/problems/invalid-request"
