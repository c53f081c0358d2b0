import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.names import (
    MAX_SLUG_LENGTH,
    Position,
    is_alias,
    is_id,
    is_slug,
    parse_positions,
    slugify,
)
from shared.contracts.topics import (
    EVENT_TOPIC_CONFIG,
    MAX_EVENT_BYTES,
    events_topic,
    newest_publication,
    rejections_topic,
    submissions_topic,
    submitting_organisation,
)
from tests.support.builders import CABINET, LICENCES


def test_an_id_has_its_prefix_and_32_hexadecimal_digits() -> None:
    assert is_id(LICENCES, "svc")
    for text in (LICENCES[:-1], LICENCES + "0", LICENCES.upper(), "svc_" + "g" * 32, "", "svc_"):
        assert not is_id(text, "svc")
    assert not is_id(LICENCES, "org")
    assert not is_id(LICENCES + "\n", "svc")


@pytest.mark.parametrize("text", ["a", "a-b", "0", "x" * MAX_SLUG_LENGTH])
def test_a_slug(text: str) -> None:
    assert is_slug(text)


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "a--b", "A", "a_b", "é", "a\n", "x" * (MAX_SLUG_LENGTH + 1)]
)
def test_no_slug(text: str) -> None:
    assert not is_slug(text)


@pytest.mark.parametrize(
    "text", ["a:b", "govuk-teams:#platform-health", "x:a:b c/é", "0:" + "x" * 200]
)
def test_an_alias(text: str) -> None:
    assert is_alias(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a:",
        ":b",
        "A:b",
        "a_b:c",
        "a:\x00",
        "a:\x85",
        "a:b\n",
        "a:\u202eb",
        "a:\u200b",
        "a:\u00a0b",
        "a:\ud800",
        "a:" + "x" * 201,
        "a" * 65 + ":b",
        "contact:c-204",
    ],
)
def test_no_alias(text: str) -> None:
    assert not is_alias(text)


@given(st.text(max_size=150))
def test_a_name_gives_a_slug_or_nothing(name: str) -> None:
    slug = slugify(name)
    assert slug == "" or is_slug(slug)


def test_slugs_are_what_people_expect() -> None:
    assert slugify("  Find a Licence: GOV.UK! ") == "find-a-licence-gov-uk"
    assert slugify("x" * 99 + " yz") == "x" * 99
    assert slugify("—") == ""


POSITIONS = st.builds(
    Position,
    st.text("abcxyz", min_size=1, max_size=8),
    st.integers(0, 10**18 - 1),
    st.integers(1, 10**9 - 1),
)


@given(st.lists(POSITIONS, min_size=1, max_size=4, unique_by=lambda one: one.log))
def test_positions_are_read_as_they_are_written(positions: list[Position]) -> None:
    assert parse_positions(",".join(map(str, positions))) == tuple(positions)


def test_the_first_timeline_is_not_written() -> None:
    assert str(Position("registry", 123)) == "registry:123"
    assert str(Position("registry", 123, 2)) == "registry@2:123"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "registry",
        "registry:",
        "registry:01",
        "registry:-1",
        "registry:1,",
        "registry:1, dependencies:2",
        "registry:1,registry:2",
        "registry@0:1",
        "registry@:1",
        "Registry:1",
        "registry:" + "9" * 19,
        "registry:\u0661",
        "registry:1\n",
    ],
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        parse_positions(text)


def test_topics_are_named_by_log_and_immutable_id() -> None:
    assert events_topic("registry", 2) == "estate.registry.events.2"
    assert submissions_topic("registry", CABINET) == f"estate.registry.submissions.{CABINET}"
    assert rejections_topic("registry", CABINET) == f"estate.registry.rejections.{CABINET}"


def test_highest_number_is_the_newest_publication() -> None:
    topics = [events_topic("registry", number) for number in (2, 10, 9)]
    others = [
        events_topic("dependencies", 11),
        *(f"estate.registry.events.{end}" for end in ("", "x", "011", "0", "1_2", "+12", "١٢")),
        "estate.registry.events.12.old",
        submissions_topic("registry", CABINET),
    ]
    assert newest_publication("registry", [*topics, *others]) == 10
    assert newest_publication("registry", others) == 0


def test_who_submits_is_read_from_the_topic_of_this_service_only() -> None:
    topic = submissions_topic("registry", CABINET)
    assert submitting_organisation(topic, "registry") == CABINET
    for other in (
        submissions_topic("dependencies", CABINET),
        rejections_topic("registry", CABINET),
        topic + "x",
        "x" + topic,
        topic.upper(),
        "estate.registry.submissions.",
        "estate.registry.submissions.cabinet-office",
        topic + "\n",
    ):
        assert submitting_organisation(other, "registry") is None


def test_an_event_of_the_largest_size_fits_into_its_topic_and_is_kept_for_ever() -> None:
    assert int(EVENT_TOPIC_CONFIG["max.message.bytes"]) >= 2 * MAX_EVENT_BYTES
    assert EVENT_TOPIC_CONFIG["retention.ms"] == EVENT_TOPIC_CONFIG["retention.bytes"] == "-1"
    assert EVENT_TOPIC_CONFIG["cleanup.policy"] == "delete"
