"""Instants and ids: one strict form."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import SystemClock, end_of_day, format_instant, new_id, parse_instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T09:30:00",
        "2026-01-31 09:30:00Z",
        "2026-01-31t09:30:00z",
        "2026-01-31T09:30Z",
        "2026-01-31T09:30:00-00:00",
        "2026-01-31T09:30:60Z",
        "2026-01-31T24:00:00Z",
        "2026-02-30T09:30:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-01-31T09:30:00.1234567Z",
        "2026-01-31T09:30:00+0100",
        "2026-W05-6T09:30:00Z",
        "\u0662026-01-31T09:30:00Z",
        "2026-01-31T09:30:00Z\n",
        "2" * 100_000,
    ],
)
def test_doubtful_instants_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is not|has)") as refused:
        parse_instant(text)
    assert text[10:] == "" or text not in str(refused.value)


def test_an_offset_is_turned_into_utc() -> None:
    instant = parse_instant("2026-03-29T01:30:00.5+01:00")
    assert instant == datetime(2026, 3, 29, 0, 30, 0, 500_000, UTC)
    assert format_instant(instant) == "2026-03-29T00:30:00.500000Z"


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001
def test_an_instant_survives_writing_and_reading(naive: datetime) -> None:
    instant = naive.replace(tzinfo=UTC)
    text = format_instant(instant)
    assert parse_instant(text) == instant
    assert len(text) == 27


def test_other_zones_are_written_in_utc_and_none_is_refused() -> None:
    summer = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=1)))
    assert format_instant(summer) == "2026-07-01T11:00:00.000000Z"
    with pytest.raises(ValueError, match="without a time zone"):
        format_instant(datetime(2026, 7, 1))  # noqa: DTZ001


def test_a_day_ends_with_its_last_microsecond() -> None:
    assert format_instant(end_of_day(date(2026, 3, 31))) == "2026-03-31T23:59:59.999999Z"


def test_the_system_clock_is_aware_and_monotonic() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.monotonic() <= clock.monotonic()


def test_ids_carry_their_prefix_and_never_repeat() -> None:
    ids = [new_id("svc_") for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    assert all(len(i) == 36 and i.startswith("svc_") for i in ids)
