import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.commands.doors import SubmissionId
from shared.eventstore.types import PendingCommand
from shared.messaging.lane import MAX_SUBMISSION_BYTES, read_record
from shared.messaging.submissions import (
    Headers,
    Refusal,
    name_submission,
    problem_text,
    submission_key,
)

ORGANISATION = "org_" + "0" * 32
SOURCES = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)
IDS = st.from_regex(r"[\x21-\x7e]{1,200}", fullmatch=True)


def never(_raw: bytes, _organisation: str, _headers: Headers) -> PendingCommand | Refusal:
    raise AssertionError("a record that cannot be read must not get here")


@given(SOURCES, IDS, SOURCES, IDS)
def test_no_two_submissions_share_a_key(one: str, first: str, other: str, second: str) -> None:
    same = submission_key(ORGANISATION, one, first) == submission_key(ORGANISATION, other, second)
    assert same == ((one, first) == (other, second))


@given(st.binary(max_size=200))
def test_any_bytes_have_a_name_or_none(raw: bytes) -> None:
    name = name_submission(raw)
    for text in (name.source, name.id):
        assert text is None or "\x00" not in text


def test_a_submission_is_named_as_far_as_it_can_be_read() -> None:
    assert name_submission(b'{"source":"crm","id":"7"}').id == "7"
    name = name_submission(b'{"source":"Not A Source","id":["7"]}')
    assert (name.source, name.id) == (None, None)


@pytest.mark.parametrize(
    "data",
    [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"1.5",
        b"9" * 5000,
        b'"\\ud800"',
        b'{"a":1,"a":2}',
        b'"\xff"',
    ],
)
def test_a_submission_is_named_even_where_its_data_are_no_strict_json(data: bytes) -> None:
    name = name_submission(b'{"source":"crm","id":"7","data":' + data + b"}")
    assert (name.source, name.id) == ("crm", "7")


@pytest.mark.parametrize("raw", [b"[" * 900_000, b'{"source":"crm","id":"7","data":' + b"[" * 9000])
def test_what_is_nested_too_deep_has_no_name(raw: bytes) -> None:
    assert name_submission(raw).id is None


@given(st.one_of(IDS, st.text(st.characters(codec="ascii"), max_size=201)))
def test_an_id_is_read_from_a_record_as_the_door_takes_it(text: str) -> None:
    raw = orjson.dumps({"source": "crm", "id": text})
    try:
        TypeAdapter(SubmissionId).validate_python(text)
    except ValidationError:
        assert name_submission(raw).id is None
    else:
        assert name_submission(raw).id == text


@pytest.mark.parametrize("raw", [None, b"", b"a\x00b", b"x" * (MAX_SUBMISSION_BYTES + 1)])
def test_what_no_service_could_read_is_refused_before_it_tries(raw: bytes | None) -> None:
    assert isinstance(read_record(raw, ORGANISATION, (), never), Refusal)


def test_a_reader_that_fails_refuses_its_record_alone() -> None:
    assert isinstance(read_record(b"{}", ORGANISATION, (), never), Refusal)


def test_a_problem_that_cannot_be_written_is_replaced() -> None:
    assert orjson.loads(problem_text({"type": "/problems/x"})) == {"type": "/problems/x"}
    assert orjson.loads(problem_text({"title": "\ud800"}))["type"] == "/problems/submission-refused"
