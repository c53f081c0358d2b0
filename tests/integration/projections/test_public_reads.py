"""What callers without a key are told, over real logs: public services, and no trace of others."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any, Final

from shared.contracts.events.services import (
    Role,
    RoleAssigned,
    ServiceAliasAdded,
    ServiceDetailsChanged,
    ServiceRetired,
    ServiceVisibilitySet,
    Visibility,
)
from shared.eventstore.types import NewEvent
from tests.integration.projections.both_services import HIDDEN, LISTS, World, open_to_all
from tests.support.builders import (
    CABINET,
    LICENCES,
    TEAM,
    dependency,
    event,
    organisation,
    service,
    team,
)
from tests.support.ids import numbered

OTHER: Final = numbered("svc_", 3)
THIRD: Final = numbered("svc_", 4)
PUBLIC: Final = Visibility.PUBLIC
NONE: Final = "00000000000000000000000000000000"
ABOUT_SERVICES: Final = {
    "registry": ("/v1/services/{}", "/v1/services/{}/history"),
    "dependencies": ("/v1/services/{}/upstream", "/v1/services/{}/downstream"),
}
CLOSED: Final = {
    "registry": (
        *("/v1/organisations", f"/v1/organisations/{CABINET}", "/v1/summary", "/v1/owners"),
        *("/v1/gaps", "/v1/log"),
    ),
    "dependencies": ("/v1/summary", "/v1/unresolved", "/v1/log"),
}


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def secret(**more: Any) -> NewEvent:
    """An internal service between the others in the order of slugs."""
    named = {"name": "Secret Scheme", "aliases": ("crm:secret",)} | more
    return service(HIDDEN, "secret-scheme", **named)


async def settle(world: World) -> None:
    """Three public services and an internal one, and what binds them."""
    registry, dependencies = world.logs["registry"], world.logs["dependencies"]
    await registry.append(organisation())
    await registry.append(team())
    await registry.append(service(visibility=PUBLIC, registrant=CABINET))
    await registry.append(secret())
    await registry.append(service(OTHER, "passports", visibility=PUBLIC))
    await registry.append(service(THIRD, "vehicles", visibility=PUBLIC))
    for role, holder in ((Role.OWNING_TEAM, TEAM), (Role.TECHNICAL_LEAD, "contact:c-204")):
        data = RoleAssigned(role=role, holder=holder, previous_holder=None)
        await registry.append(event(data))
    await registry.append(event(ServiceRetired(successor=HIDDEN)))
    for number, (from_, to) in enumerate(EDGES, 1):
        ends: dict[str, Any] = {"from": from_, "to": to}
        await dependencies.append(dependency(numbered("dep_", number), alias=None, **ends))


EDGES: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("licence-finder", {"service": "secret-scheme"}),
    ("secret-scheme", {"service": "passports"}),
    ("licence-finder", {"external": "Secret Scheme", "kind": "supplier"}),
    ("licence-finder", {"service": "crm:secret"}),
    ("licence-finder", {"service": "nobody-knows"}),
    (OTHER, {"service": "vehicles"}),
    ("licence-finder", {"service": "vehicles"}),
    ("vehicles", {"service": HIDDEN}),
)
SHOWN_EDGES: Final = [numbered("dep_", 6), numbered("dep_", 7)]


async def test_lists_are_of_public_services_alone_page_by_page(world: World) -> None:
    await settle(world)
    assert await world.listed("registry") == [LICENCES, OTHER, THIRD]
    assert await world.listed("dependencies") == SHOWN_EDGES
    assert await world.listed("dependencies", **{"from": "licence-finder"}) == SHOWN_EDGES[1:]
    status, whole = await world.ask("registry", "/v1/services", key="audit")
    assert (status, len(whole["items"])) == (200, 4)


FILTERS: Final[tuple[dict[str, str], ...]] = (
    {"visibility": "internal"},
    {"q": "secret"},
    {"organisation": "none"},
    {"organisation": "no-such-organisation"},
    {"owner": "no-such-team"},
    {"holder": "contact:c-204"},
    {"as_of": "2019-01-01"},
    {"known_at": "2019-01-01"},
    {"known_at": "registry:1"},
)


async def test_no_filter_brings_out_what_is_hidden(world: World) -> None:
    await settle(world)
    for query in FILTERS:
        page = await world.told("registry", "/v1/services", **query)
        assert (page["items"], page["next"]) == ([], None), query


async def test_public_service_is_shown_without_people_and_hidden_services(world: World) -> None:
    await settle(world)
    shown = await world.told("registry", "/v1/services/licence-finder")
    assert shown["roles"].keys() == {"owning-team"}
    assert shown["successor"] is None
    status, whole = await world.ask("registry", "/v1/services/licence-finder", key="audit")
    assert (status, whole["successor"]) == (200, HIDDEN)
    assert whole["roles"].keys() == {"owning-team", "technical-lead"}


MOMENTS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"as_of": "2150-01-01"},
    {"known_at": "2150-01-01"},
    {"known_at": "registry:4"},
)


async def test_internal_service_is_as_absent_as_one_that_never_was(world: World) -> None:
    await settle(world)
    for name, paths in ABOUT_SERVICES.items():
        for path, query in itertools.product(paths, MOMENTS):
            answers = [
                await world.missing(name, path.format(one), **query)
                for one in (*NOBODY, HIDDEN, "secret-scheme", "crm:secret")
            ]
            assert answers[1:] == answers[:-1]
    path = "/v1/dependencies/{}"
    answers = [
        await world.missing("dependencies", path.format(numbered("dep_", number)))
        for number in (99, 1, 2, 3, 4, 5, 8)
    ]
    answers += [
        await world.missing("dependencies", "/v1/dependencies", **{"from": name})
        for name in ("never-there", "secret-scheme", "nobody-knows")
    ]
    assert answers[1:] == answers[:-1]


NOBODY: Final = (f"svc_{NONE}", "never-there", "crm:never")


async def test_walks_go_by_public_services_alone(world: World) -> None:
    await settle(world)
    up = await world.told("dependencies", "/v1/services/licence-finder/upstream", depth="20")
    assert [one["end"]["service"] for one in up["items"]] == [THIRD]
    down = await world.told("dependencies", "/v1/services/passports/downstream", depth="20")
    assert down["items"] == []
    one = await world.told("dependencies", f"/v1/dependencies/{SHOWN_EDGES[0]}")
    assert (one["from"]["service"], one["to"]["service"]) == (OTHER, THIRD)


async def test_before_it_was_public_there_is_nothing_of_a_service(world: World) -> None:
    registry = world.logs["registry"]
    await registry.append(secret(at=day(1)))
    await registry.append(event(ServiceDetailsChanged(description="Secret"), HIDDEN, day(5)))
    await registry.append(event(ServiceVisibilitySet(visibility=PUBLIC), HIDDEN, day(10)))
    await registry.append(event(ServiceDetailsChanged(name="Open Scheme"), HIDDEN, day(20)))
    await registry.append(service(OTHER, "passports", at=day(1), visibility=PUBLIC))
    await world.logs["dependencies"].append(
        dependency(alias=None, at=day(2), to={"service": "passports"}, **{"from": HIDDEN})
    )
    for name, path in (
        ("registry", f"/v1/services/{HIDDEN}"),
        ("registry", f"/v1/services/{HIDDEN}/history"),
        ("dependencies", f"/v1/services/{HIDDEN}/upstream"),
        ("dependencies", f"/v1/dependencies/{numbered('dep_', 1)}"),
    ):
        assert (await world.ask(name, path))[0] == 200
        assert (await world.ask(name, path, as_of="2026-01-10"))[0] == 200
        await world.missing(name, path, as_of="2026-01-09")
        await world.missing(name, path, known_at="registry:2")
    assert await world.listed("registry", as_of="2026-01-09") == [OTHER]
    assert await world.listed("dependencies", as_of="2026-01-09") == []
    passports = "/v1/services/passports/downstream"
    assert (await world.told("dependencies", passports, as_of="2026-01-09"))["items"] == []
    _, history = await world.ask("registry", f"/v1/services/{HIDDEN}/history")
    assert [one["effective_from"][:10] for one in history["items"]] == ["2026-01-10", "2026-01-20"]


async def test_service_made_internal_again_vanishes_with_its_past(world: World) -> None:
    registry = world.logs["registry"]
    await settle(world)
    await registry.append(event(ServiceVisibilitySet(visibility=PUBLIC), HIDDEN))
    first = (await world.ask("registry", "/v1/services", limit="1"))[1]["next"]
    assert (await world.ask("registry", "/v1/services/secret-scheme"))[0] == 200
    _, former = await world.ask("registry", "/v1/services/licence-finder")
    assert former["successor"] == HIDDEN
    _, page = await world.ask("dependencies", "/v1/dependencies", limit="1")
    await registry.append(event(ServiceVisibilitySet(visibility=Visibility.INTERNAL), HIDDEN))
    for query in ({}, {"as_of": "2025-01-01"}, {"known_at": page["positions"]}):
        await world.missing("registry", "/v1/services/secret-scheme", **query)
        await world.missing("registry", "/v1/services/secret-scheme/history", **query)
        await world.missing("dependencies", "/v1/services/secret-scheme/upstream", **query)
        assert HIDDEN not in await world.listed("registry", **query)
        assert await world.listed("dependencies", **query) == SHOWN_EDGES
    rest = await world.told("registry", "/v1/services", cursor=first)
    assert [one["id"] for one in rest["items"]] == [OTHER, THIRD]
    rest = await world.told("dependencies", "/v1/dependencies", cursor=page["next"])
    assert [one["id"] for one in rest["items"]] == SHOWN_EDGES


async def test_history_shows_no_person_no_credential_no_reason(world: World) -> None:
    await settle(world)
    await world.logs["registry"].append(event(ServiceAliasAdded(alias="crm:1", reason="said so")))
    history = await world.told("registry", "/v1/services/licence-finder/history")
    shown = {"position", "version", "type", "effective_from", "recorded_at", "redacted", "data"}
    assert {frozenset(one) for one in history["items"]} == {frozenset(shown)}
    assert "said so" not in json.dumps(history)
    assert "registrant" not in history["items"][0]["data"]
    assert [one["data"].get("holder") for one in history["items"][1:3]] == [TEAM, None]
    assert history["items"][3]["data"] == {}


async def test_what_is_not_made_for_the_public_stays_closed(world: World) -> None:
    await settle(world)
    for name, paths in CLOSED.items():
        for path in paths:
            assert (await world.ask(name, path))[0] == 401
            assert (await world.ask(name, path, key="audit"))[0] == 200
    for name, path in LISTS.items():
        assert (await world.ask(name, path, key="forged"))[0] == 401


async def test_without_the_setting_everything_is_closed(world: World) -> None:
    await settle(world)
    for name, routes in world.routes.items():
        async with open_to_all(routes, public_reads=False) as caller:
            for route in routes:
                path = route.path.format(
                    service="licence-finder", organisation=CABINET, dependency=SHOWN_EDGES[0]
                )
                async with caller.get(path) as response:
                    assert response.status == 401, (name, path)
