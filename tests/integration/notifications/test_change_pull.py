"""Pulling the change feed: nothing missed, nothing twice, however the logs grow and lag."""

import asyncio
from typing import Any

import aiohttp
import pytest

from services.notifications.changes.limits import FeedLimits
from services.notifications.read_models.cursor import parse_cursor
from tests.integration.notifications.conftest import Serve
from tests.integration.notifications.hand_fed import (
    ORGANISATIONS,
    SERVICES,
    HandFed,
    at,
    by_log,
    place_of,
    positions,
    random_filter,
    seeded,
)
from tests.support.sse import KEY


async def pull(caller: aiohttp.ClientSession, **parameters: Any) -> dict[str, Any]:
    query = {name: str(value) for name, value in parameters.items() if value is not None}
    async with caller.get("/v1/changes", params=query, headers=KEY) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == 200, document
        return document


@pytest.mark.parametrize("seed", range(25))
async def test_pages_together_are_every_wanted_event_once_in_order_of_its_log(
    seed: int, estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    chance = seeded(seed)
    wanted = random_filter(chance)
    cursor: str | None = None
    seen: list[tuple[str, int]] = []
    for _ in range(40):
        estate.grow(chance, chance.randrange(8))
        for log in chance.sample(list(estate.logs), chance.randrange(3)):
            await estate.apply(log, chance.randint(0, estate.backlog(log)))
        limit = chance.choice((1, 2, 3, 7, 200))
        page = await pull(caller, after=cursor, limit=limit, **wanted)
        items = page["items"]
        assert len(items) <= limit
        if items and chance.random() < 0.3:  # Only part of the page was dealt with.
            items = items[: chance.randint(1, len(items))]
            cursor = items[-1]["cursor"]
        else:
            cursor = page["next"]
        seen += [place_of(item["event"]) for item in items]
    await estate.apply_all()
    while True:
        page = await pull(caller, after=cursor, limit=50, **wanted)
        seen += [place_of(item["event"]) for item in page["items"]]
        cursor = page["next"]
        if not page["items"]:
            break
    assert by_log(seen) == positions(estate.expected(wanted))


async def test_short_page_leads_to_the_heads_and_a_full_one_over_what_it_left_out(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    for number in range(10):
        service = SERVICES[number % 2]
        estate.record("registry", "estate.service.painted.v1", service, {}, services={service})
    await estate.apply_all()

    page = await pull(caller, service=SERVICES[0], limit=2)
    assert [item["position"] for item in page["items"]] == ["registry:1", "registry:3"]
    assert parse_cursor(page["next"])["registry"].position == 4

    page = await pull(caller, service=SERVICES[0], after=page["next"], limit=50)
    assert [item["position"] for item in page["items"]] == [
        "registry:5",
        "registry:7",
        "registry:9",
    ]
    assert parse_cursor(page["next"])["registry"].position == 10
    assert page["positions"] == "dependencies:0,registry:10"
    assert page["lag_ms"] == 0


async def test_items_hold_the_event_as_it_is_stored(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    estate.grow(seeded(1), 20)
    await estate.apply_all()
    async with caller.get("/v1/changes", headers=KEY) as response:
        raw = await response.read()
    for recorded in (*estate.logs["registry"], *estate.logs["dependencies"]):
        assert b'"event":' + recorded.event.body + b"}" in raw


async def test_cursor_may_be_written_as_positions(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    estate.grow(seeded(2), 30)
    await estate.apply_all()
    page = await pull(caller, after="dependencies:2,registry:3", limit=200)
    found = by_log([place_of(item["event"]) for item in page["items"]])
    assert (found["registry"][0], found["dependencies"][0]) == (4, 3)
    page = await pull(caller, after="registry:3", limit=200)
    assert by_log([place_of(item["event"]) for item in page["items"]])["dependencies"][0] == 1


async def test_logs_are_merged_by_time_of_recording(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    estate.grow(seeded(3), 60)
    await estate.apply_all()
    page = await pull(caller, limit=200)
    times = [item["event"]["recordedtime"] for item in page["items"]]
    assert len(times) == 60
    assert times == sorted(times)


async def test_service_is_found_by_any_of_its_names_and_so_are_its_dependencies(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    service, dependency = SERVICES[0], "dep_" + "0" * 32
    data = {"slug": "maps", "aliases": ["source:one"], "organisation": ORGANISATIONS[0]}
    estate.record("registry", "estate.service.registered.v1", service, data)
    estate.record("registry", "estate.service.alias_added.v1", service, {"alias": "source:two"})
    ends = {"from": "source:two", "to": {"service": "elsewhere"}, "kind": "data"}
    estate.record("dependencies", "estate.dependency.declared.v1", dependency, ends)
    estate.record("dependencies", "estate.dependency.withdrawn.v1", dependency, {})
    estate.record("dependencies", "estate.dependency.withdrawn.v1", "dep_" + "1" * 32, {})
    await estate.apply_all()

    for name in (service, "maps", "source:one", "source:two"):
        page = await pull(caller, service=name)
        found = [item["position"] for item in page["items"]]
        assert found == ["registry:1", "registry:2", "dependencies:1", "dependencies:2"], name
    page = await pull(caller, service="elsewhere")
    assert [item["position"] for item in page["items"]] == ["dependencies:1", "dependencies:2"]


async def test_organisation_is_found_by_its_slug(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    organisation = ORGANISATIONS[1]
    slug = {"slug": "the-office"}
    estate.record("registry", "estate.organisation.registered.v1", organisation, slug)
    estate.record(
        "registry", "estate.service.painted.v1", SERVICES[0], {}, organisation=organisation
    )
    estate.record("registry", "estate.service.painted.v1", SERVICES[0], {})
    await estate.apply_all()
    page = await pull(caller, organisation="the-office")
    assert [item["position"] for item in page["items"]] == ["registry:1", "registry:2"]


async def test_page_ends_before_it_grows_too_large(estate: HandFed, serve_feed: Any) -> None:
    for _ in range(30):
        data = {"text": "x" * 300_000}
        estate.record("registry", "estate.service.painted.v1", SERVICES[0], data)
    await estate.apply_all()
    async with serve_feed() as (feed, caller):
        page = await pull(caller, limit=200)
        size = sum(len(item["event"]["data"]["text"]) for item in page["items"])
        assert 0 < size <= feed.limits.page_bytes
        count = len(page["items"])
        while page["items"]:
            page = await pull(caller, after=page["next"], limit=200)
            count += len(page["items"])
    assert count == 30


async def test_waiting_pull_answers_when_a_wanted_event_comes_and_not_before(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    waiting = asyncio.create_task(pull(caller, service=SERVICES[1], wait_s=20))
    for _ in range(5):
        estate.record("registry", "estate.service.painted.v1", SERVICES[0], {})
        await estate.apply_all()
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    estate.record("registry", "estate.service.painted.v1", SERVICES[1], {})
    await estate.apply_all()
    page = await asyncio.wait_for(waiting, 10)
    assert [item["position"] for item in page["items"]] == ["registry:6"]


async def test_waiting_pull_that_gets_nothing_tells_how_far_it_looked(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    waiting = asyncio.create_task(pull(caller, service=SERVICES[1], wait_s=1))
    estate.record("registry", "estate.service.painted.v1", SERVICES[0], {})
    await estate.apply_all()
    page = await asyncio.wait_for(waiting, 10)
    assert page["items"] == []
    assert parse_cursor(page["next"])["registry"].position == 1


async def test_unknown_values_find_nothing(estate: HandFed, caller: aiohttp.ClientSession) -> None:
    estate.grow(seeded(4), 10)
    await estate.apply_all()
    for wanted in ({"type": "estate.no.such.v1"}, {"service": "nobody"}):
        page = await pull(caller, **wanted)
        assert page["items"] == []


MALFORMED = (
    "after=",
    "after=registry",
    "after=registry:-1",
    "after=elsewhere:1",
    "after=registry:1,registry:2",
    "after=cmVnaXN0cnk6MQ==",
    "after=cmVnaXN0cnk6MR",
    "after=////",
    "type=",
    "type=estate.*.v1",
    "type=estate..service",
    "type=a,,b",
    "type=" + ",".join(["a"] * 21),
    "service=no%20name",
    "organisation=A",
    "log=Registry",
    "log=elsewhere",
    "log=registry,elsewhere",
    "limit=0",
    "limit=201",
    "wait_s=31",
    "wait_s=-1",
    "wait_s=1.5",
    "known_at=2026-01-01",
)


async def test_malformed_parameters_are_refused(caller: aiohttp.ClientSession) -> None:
    for path in ("/v1/changes", "/v1/changes/stream"):
        for query in MALFORMED:
            async with caller.get(f"{path}?{query}", headers=KEY) as response:
                assert response.status == 400, query
                assert (await response.json())["type"] == "/problems/bad-query"


async def test_cursor_further_on_than_was_read_here_waits_and_repeats_nothing(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    estate.grow(seeded(5), 40)
    await estate.apply("registry", 2)
    waiting = asyncio.create_task(pull(caller, after="registry:5", log="registry", limit=1))
    await estate.apply_all()
    assert (await waiting)["items"][0]["position"] == "registry:6"


async def test_cursor_beyond_the_end_is_refused_before_anything_is_missed(
    estate: HandFed, serve_feed: Serve
) -> None:
    estate.grow(seeded(6), 5)
    await estate.apply_all()
    async with serve_feed(FeedLimits(ahead_wait_s=0.05)) as (_feed, caller):
        for path in ("/v1/changes", "/v1/changes/stream"):
            query = {"after": "registry:999"}
            async with caller.get(path, params=query, headers=KEY) as response:
                assert response.status == 410
                assert "beyond what is known here" in (await response.json())["detail"]


async def test_cursor_of_a_history_that_was_restored_away_is_refused(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    for _ in range(3):
        estate.record("registry", "estate.service.painted.v1", SERVICES[0], {})
    estate.timeline = 2
    for _ in range(3):
        estate.record("registry", "estate.service.painted.v1", SERVICES[1], {})
    await estate.apply_all()

    page = await pull(caller, after=at("registry", 3))
    assert [item["position"] for item in page["items"]] == [f"registry@2:{n}" for n in (4, 5, 6)]
    page = await pull(caller, after=page["items"][0]["cursor"])
    assert page["items"][0]["position"] == "registry@2:5"
    # Skipping what is filtered out, the cursor names the timeline of where it stands.
    estate.record("registry", "estate.service.painted.v1", SERVICES[2], {})
    estate.record("registry", "estate.service.painted.v1", SERVICES[2], {})
    await estate.apply_all()
    page = await pull(caller, service=SERVICES[2], limit=1)
    assert (await pull(caller, after=page["next"]))["items"][0]["position"] == "registry@2:8"
    for foreign in (at("registry", 5), at("registry", 9), at("registry", 2, 2)):
        for path in ("/v1/changes", "/v1/changes/stream"):
            query = {"after": foreign}
            async with caller.get(path, params=query, headers=KEY) as response:
                assert response.status == 410
                assert (await response.json())["type"] == "/problems/foreign-cursor"


async def test_feed_is_for_those_who_prove_who_they_are(caller: aiohttp.ClientSession) -> None:
    for path in ("/v1/changes", "/v1/changes/stream"):
        async with caller.get(path) as response:
            assert response.status == 401
