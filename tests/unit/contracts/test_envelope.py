import hashlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.canonical import canonical_bytes
from shared.contracts.envelope import leaf_of, parse_event, seal, stream_of
from shared.contracts.events import (
    EVENT_MODELS,
    UnknownEventVersionError,
    current_type_and_data,
    read_data,
)
from shared.contracts.events.services import ServiceVisibilitySet
from shared.contracts.names import Position
from tests.support.golden import GOLDEN

BODY = (GOLDEN / "estate.service.registered.v1.json").read_bytes()
SALTS = st.binary(min_size=16, max_size=16)


def attributes() -> dict[str, Any]:
    tree: dict[str, Any] = orjson.loads(BODY)
    for name in ("data", "datasalt", "datahash"):
        del tree[name]
    return tree


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    tree = orjson.loads(BODY)
    change(tree)
    return canonical_bytes(tree)


def test_a_sealed_event_is_read_back_whole() -> None:
    event = parse_event(BODY)
    tree = orjson.loads(BODY)
    assert event.body == BODY
    assert event.data == tree["data"]
    assert event.where == Position("registry", int(tree["position"]), 1)
    assert event.stream == f"service-{tree['subject']}"
    assert event.effective_at.isoformat() == "2026-01-31T09:00:00+00:00"
    assert event.recorded_at.isoformat() == "2026-02-01T10:11:12.131415+00:00"
    assert event.origin.actor == tree["actor"]
    assert event.origin.credential_id == tree["credentialid"]
    assert event.origin.organisation == tree["organisation"]
    assert event.origin.door == "kafka"
    assert event.origin.correlation_id == tree["correlationid"]
    assert event.origin.causation_id == tree["causationid"]


@given(SALTS, st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9)))
def test_the_leaf_covers_the_event_without_content_and_the_hash_covers_that(
    salt: bytes, data: dict[str, int]
) -> None:
    body, leaf = seal(attributes(), data, salt)
    tree = orjson.loads(body)
    assert tree["data"] == data
    assert tree["datahash"] == hashlib.sha256(salt + canonical_bytes(data)).hexdigest()
    bare = {k: v for k, v in tree.items() if k not in {"data", "datasalt"}}
    assert leaf == hashlib.sha256(b"\x00" + canonical_bytes(bare)).digest() == leaf_of(body)
    assert leaf_of(canonical_bytes(bare)) == leaf, "redaction must not change the leaf"


@given(SALTS, SALTS)
def test_the_salt_is_part_of_what_the_leaf_vouches_for(one: bytes, other: bytes) -> None:
    _, first = seal(attributes(), {"a": 1}, one)
    _, second = seal(attributes(), {"a": 1}, other)
    assert (first == second) == (one == other)


@pytest.mark.parametrize("name", sorted(attributes()))
def test_every_attribute_is_part_of_the_leaf(name: str) -> None:
    assert leaf_of(changed(lambda tree: tree.update({name: "other"}))) != leaf_of(BODY)
    assert leaf_of(changed(lambda tree: tree.pop(name))) != leaf_of(BODY)


def test_a_redacted_event_is_read_without_data() -> None:
    redacted = parse_event(changed(lambda tree: (tree.pop("data"), tree.pop("datasalt"))))
    assert redacted.data is None
    assert read_data(redacted) is None


def test_an_event_of_nobody_s_organisation_is_read() -> None:
    event = parse_event(changed(lambda tree: tree.pop("organisation")))
    assert event.origin.organisation is None


NOT_READ = {"organisation", "specversion", "datacontenttype"}


@pytest.mark.parametrize("name", sorted(set(attributes()) - NOT_READ))
def test_what_lacks_an_attribute_is_no_event(name: str) -> None:
    with pytest.raises(ValueError, match="not an event of this envelope"):
        parse_event(changed(lambda tree: tree.pop(name)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b"\xff",
        changed(lambda tree: tree.update(position="x")),
        changed(lambda tree: tree.update(position=None)),
        changed(lambda tree: tree.update(time="yesterday")),
        changed(lambda tree: tree.update(recordedtime=7)),
        changed(lambda tree: tree.update(source=7)),
        changed(lambda tree: tree.update(source="registry")),
        changed(lambda tree: tree.update(source="other/registry")),
    ],
)
def test_what_is_no_event_of_ours_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - every way of being wrong has its own words.
        parse_event(body)


def test_the_stream_is_kind_and_subject() -> None:
    assert stream_of("estate.service.role_assigned.v1", "svc_1") == "service-svc_1"


def of_type(event_type: str, data: object) -> bytes:
    return changed(lambda tree: tree.update(type=event_type, data=data))


def test_the_old_visibility_is_read_as_today_s() -> None:
    for public, visibility in ((True, "public"), (False, "internal")):
        data = {"public": public, "reason": "r", "later": 1}
        event = parse_event(of_type("estate.service.visibility_set.v1", data))
        kind, current = current_type_and_data(event)
        assert kind == "estate.service.visibility_set.v2"
        assert current == {"visibility": visibility, "reason": "r", "later": 1}
        read = read_data(event)
        assert isinstance(read, ServiceVisibilitySet)
        assert read.visibility == visibility
        assert event.data == data, "reading must not change what is stored"


def test_an_unknown_version_of_a_known_fact_stops_its_reader() -> None:
    for kind in ("estate.service.visibility_set.v3", "estate.service.moved.v2"):
        with pytest.raises(UnknownEventVersionError):
            read_data(parse_event(of_type(kind, {})))


def test_an_unknown_fact_is_passed_over() -> None:
    assert read_data(parse_event(of_type("estate.service.merged_into.v1", {"x": 1}))) is None


def test_data_that_does_not_fit_its_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="name"):
        read_data(parse_event(of_type("estate.service.registered.v1", {"slug": "x"})))


@pytest.mark.parametrize("event_type", sorted(EVENT_MODELS))
def test_what_a_newer_writer_adds_is_kept_and_does_not_disturb(event_type: str) -> None:
    tree = orjson.loads((GOLDEN / f"{event_type}.json").read_bytes())
    more = tree["data"] | {"added_later": {"x": [1]}}
    data = EVENT_MODELS[event_type].model_validate(more)
    assert data.to_json() == more


def test_what_a_newer_writer_adds_to_an_end_does_not_disturb() -> None:
    model = EVENT_MODELS["estate.dependency.declared.v1"]
    for end in ({"service": "a"}, {"external": "A", "kind": "supplier"}):
        tree = {"from": "x", "kind": "data", "to": end | {"added_later": 1}}
        read: Any = model.model_validate(tree)
        assert read.to.model_dump(mode="json") == end


def test_silence_is_absent_rather_than_null() -> None:
    model = EVENT_MODELS["estate.service.delisted.v1"]
    assert model.model_validate({"reason": None, "corrects": []}).to_json() == {}
    full = {"reason": "r", "corrects": [3]}
    assert model.model_validate(full).to_json() == full
