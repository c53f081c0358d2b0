"""Every list page by page, cursors where they do not belong, and what never was or was not then."""

import itertools
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pytest
from jsonschema_rs import Draft202012Validator

from cli.asking import segment
from shared.contracts.events.dependencies import DependencyWithdrawn
from shared.contracts.events.services import (
    Phase,
    Role,
    RoleAssigned,
    ServiceAliasAdded,
    ServicePhaseChanged,
    Visibility,
)
from shared.http.client import ApiClient
from shared.http.openapi import openapi_document
from tests.integration.projections.both_services import World
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
from tests.unit.http.sample_service import INFO

AUDIT: Final = "audit"
OTHER: Final = numbered("svc_", 3)
ODD_ALIAS: Final = "govuk-docker:a\\b->(root)/r %2F#?é"
LINK_ALIAS: Final = "docker:licence-finder->(root)/redis"
LATER: Final = datetime(2150, 1, 1, tzinfo=UTC)
NEVER: Final = "0" * 32
NOTHING: Final = "registry:0,dependencies:0"
LISTS: Final[tuple[tuple[str, str, dict[str, str]], ...]] = (
    ("registry", "/v1/services", {}),
    ("registry", "/v1/services", {"listed": "all"}),
    ("registry", "/v1/services", {"as_of": "2025-01-01"}),
    ("registry", "/v1/organisations", {}),
    ("registry", "/v1/services/licence-finder/history", {}),
    ("registry", "/v1/services/licence-finder/history", {"as_of": "2025-01-01"}),
    ("registry", "/v1/services/licence-finder/history", {"known_at": "registry:7"}),
    ("dependencies", "/v1/dependencies", {}),
    ("dependencies", "/v1/dependencies", {"from": "licence-finder"}),
    ("dependencies", "/v1/dependencies", {"to": "nginx-proxy"}),
    ("dependencies", "/v1/unresolved", {}),
)


async def settle(world: World) -> None:
    """A small estate with something of every kind, and of the future."""
    registry, dependencies = world.logs["registry"], world.logs["dependencies"]
    public = Visibility.PUBLIC
    await registry.append(organisation())
    await registry.append(team())
    await registry.append(service(visibility=public, aliases=(ODD_ALIAS,)))
    await registry.append(service(OTHER, "passports", visibility=public))
    await registry.append(service(numbered("svc_", 4), "vehicles"))
    for role, holder in ((Role.OWNING_TEAM, TEAM), (Role.TECHNICAL_LEAD, "contact:c-204")):
        data = RoleAssigned(role=role, holder=holder, previous_holder=None)
        await registry.append(event(data))
    owner = RoleAssigned(role=Role.OWNING_TEAM, holder="contact:c-7", previous_holder=None)
    await registry.append(event(owner, OTHER))
    await registry.append(event(ServicePhaseChanged(phase=Phase.BETA), at=LATER))
    await registry.append(event(ServiceAliasAdded(alias="crm:1", reason="said so")))
    ends: tuple[dict[str, str], ...] = (
        {"external": "nginx-proxy", "kind": "infrastructure"},
        {"external": "redis", "kind": "infrastructure"},
        {"service": "passports"},
        {"service": "not-there"},
        {"service": "nginx-proxy"},
    )
    for number, to in enumerate(ends, 1):
        alias = LINK_ALIAS if number == 1 else None
        link = dependency(numbered("dep_", number), alias=alias, to=to)
        await dependencies.append(link)
    more: dict[str, Any] = {"from": "passports", "to": ends[0]}
    await dependencies.append(dependency(numbered("dep_", 6), alias=None, **more))


async def ask(world: World, name: str, path: str, key: str | None = AUDIT, **query: str) -> Any:
    status, document = await world.ask(name, path, key=key, **query)
    assert status == 200, document
    return document


async def pages(
    world: World, name: str, path: str, key: str | None, limit: int, query: dict[str, str]
) -> list[list[Any]]:
    found, cursor = list[list[Any]](), dict[str, str]()
    while True:
        page = await ask(world, name, path, key, limit=str(limit), **query, **cursor)
        found.append(page["items"])
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


async def test_pages_of_any_size_are_the_answer_in_one(world: World) -> None:
    await settle(world)
    for (name, path, query), key in itertools.product(LISTS, (AUDIT, None)):
        if key is None and path in {"/v1/organisations", "/v1/unresolved"}:
            continue
        if key is None and query.get("to"):
            continue
        whole = (await ask(world, name, path, key, limit="200", **query))["items"]
        for limit in (1, 2, 3):
            found = await pages(world, name, path, key, limit, query)
            place = (path, query, key, limit)
            assert list(itertools.chain.from_iterable(found)) == whole, place
            assert all(len(page) == limit for page in found[:-1]), place
            assert found[-1] or len(found) == 1, place


async def test_history_without_as_of_shows_what_takes_effect_later_on_every_page(
    world: World,
) -> None:
    await settle(world)
    path = f"/v1/services/{LICENCES}/history"
    whole = (await ask(world, "registry", path))["items"]
    assert [one["effective_from"][:4] for one in whole] == ["2020", "2020", "2020", "2150", "2020"]
    found = await pages(world, "registry", path, AUDIT, 1, {})
    assert [one for page in found for one in page] == whole
    first = await ask(world, "registry", path, limit="2")
    await world.logs["registry"].append(event(ServicePhaseChanged(phase=Phase.LIVE)))
    rest = await ask(world, "registry", path, cursor=first["next"])
    assert first["items"] + rest["items"] == whole


async def test_cursor_of_another_list_is_refused(world: World) -> None:
    await settle(world)
    cursors = {}
    for name, path, query in LISTS:
        page = await ask(world, name, path, limit="1", **query)
        cursors[list_of(path, query)] = page["next"]
    assert all(cursors.values())
    for (made, cursor), (name, path, query) in itertools.product(cursors.items(), LISTS):
        status, answer = await world.ask(name, path, key=AUDIT, cursor=cursor, **query)
        if made == list_of(path, query):
            assert status == 200, (made, path, query)
        else:
            assert (status, answer["type"]) == (400, "/problems/bad-query"), (made, path, query)
            assert answer["errors"][0]["pointer"] == "/cursor"


def list_of(path: str, query: dict[str, str]) -> tuple[object, ...]:
    """What a cursor belongs to: the moment is in the cursor itself."""
    return path, *((k, v) for k, v in query.items() if k not in {"as_of", "known_at"})


ABSENT: Final = (
    ("registry", "/v1/services/{}", f"svc_{NEVER}"),
    ("registry", "/v1/services/{}/history", f"svc_{NEVER}"),
    ("registry", "/v1/organisations/{}", f"org_{NEVER}"),
    ("dependencies", "/v1/services/{}/upstream", f"svc_{NEVER}"),
    ("dependencies", "/v1/services/{}/downstream", f"svc_{NEVER}"),
    ("dependencies", "/v1/dependencies/{}", f"dep_{NEVER}"),
    ("dependencies", "/v1/dependencies?from={}", f"svc_{NEVER}"),
    ("dependencies", "/v1/dependencies?to={}", f"svc_{NEVER}"),
)
PRESENT: Final = (
    ("registry", "/v1/services/{}", LICENCES),
    ("registry", "/v1/services/{}/history", LICENCES),
    ("registry", "/v1/organisations/{}", CABINET),
    ("dependencies", "/v1/services/{}/upstream", LICENCES),
    ("dependencies", "/v1/services/{}/downstream", LICENCES),
    ("dependencies", "/v1/services/{}/downstream", "not-there"),
    ("dependencies", "/v1/dependencies/{}", numbered("dep_", 1)),
    ("dependencies", "/v1/dependencies?from={}", LICENCES),
    ("dependencies", "/v1/dependencies?to={}", "nginx-proxy"),
    ("dependencies", "/v1/dependencies?to={}", "redis"),
)


async def test_what_never_was_is_told_from_what_was_not_yet(world: World) -> None:
    await settle(world)
    then = (
        {"as_of": "2019-01-01"},
        {"known_at": "2019-01-01"},
        {"known_at": "registry:0,dependencies:0"},
    )

    async def problem(name: str, path: str, query: dict[str, str]) -> tuple[int, str]:
        bare, _, more = path.partition("?")
        given = query | dict([more.split("=")] if more else [])
        status, document = await world.ask(name, bare, key=AUDIT, **given)
        return status, document.get("type", "").rpartition("/")[2]

    for name, path, reference in ABSENT:
        for query in ({}, *then):
            found = await problem(name, path.format(reference), query)
            assert found == (404, "not-found"), (path, query)
    for name, path, reference in PRESENT:
        assert await problem(name, path.format(reference), {}) == (200, ""), path
        for query in then:
            found = await problem(name, path.format(reference), query)
            assert found == (404, "not-known-then"), (path, query)


async def test_log_that_nobody_knows_is_refused(world: World) -> None:
    await settle(world)
    for name, path in (("registry", "/v1/services"), ("dependencies", "/v1/dependencies")):
        status, answer = await world.ask(name, path, key=AUDIT, known_at="nolog:1")
        assert (status, answer["errors"][0]["pointer"]) == (400, "/known_at")
        assert (await ask(world, name, path, known_at="registry:9,dependencies:6"))["items"]


async def test_whatever_names_a_thing_names_it_in_an_address(world: World) -> None:
    await settle(world)
    odd = f"/v1/services/{segment(ODD_ALIAS)}"
    for name, path in (
        ("registry", odd),
        ("registry", f"{odd}/history"),
        ("dependencies", f"{odd}/upstream"),
    ):
        assert await ask_raw(world, name, path)
    found = await ask_raw(world, "registry", odd)
    assert found["id"] == LICENCES
    link = f"/v1/dependencies/{segment(LINK_ALIAS)}"
    assert (await ask_raw(world, "dependencies", link))["version"] == 1


async def ask_raw(world: World, name: str, path: str) -> Any:
    """Ask with a path as it is written, by the client that the command line uses."""
    await world.ask(name, "/v1/log", key=AUDIT)
    async with ApiClient(str(world.callers[name]._base_url), AUDIT) as client:
        return (await client.get(path)).json()


async def test_services_are_listed_by_an_owner_that_is_a_contact(world: World) -> None:
    await settle(world)
    page = await ask(world, "registry", "/v1/services", owner="contact:c-7")
    assert [one["id"] for one in page["items"]] == [OTHER]
    assert (await world.told("registry", "/v1/services", owner="contact:c-7"))["items"] == []


async def test_what_depends_on_something_is_listed_by_its_name(world: World) -> None:
    await settle(world)

    async def ids(key: str | None = AUDIT, **query: str) -> list[str]:
        page = await ask(world, "dependencies", "/v1/dependencies", key, **query)
        return [one["id"] for one in page["items"]]

    links = [numbered("dep_", number) for number in range(1, 7)]
    assert await ids(to="nginx-proxy") == [links[0], links[4], links[5]]
    assert await ids(to="nginx-proxy", **{"from": "passports"}) == [links[5]]
    assert await ids(to="redis") == [links[1]]
    assert await ids(to=OTHER) == await ids(to="passports") == [links[2]]
    assert await ids(None, to="passports") == [links[2]]
    await world.missing("dependencies", "/v1/dependencies", to="redis")
    await world.missing("dependencies", "/v1/dependencies", to="not-there")
    before = await ask(world, "dependencies", "/v1/dependencies")
    await world.logs["dependencies"].append(event(DependencyWithdrawn(), links[1]))
    assert await ids(to="redis") == []
    assert await ids(to="redis", known_at=before["positions"]) == [links[1]]


async def test_names_not_registered_are_counted_and_paged(world: World) -> None:
    await settle(world)
    page = await ask(world, "dependencies", "/v1/unresolved", limit="1")
    assert (page["count"], [one["name"] for one in page["items"]]) == (2, ["nginx-proxy"])
    rest = await ask(world, "dependencies", "/v1/unresolved", cursor=page["next"])
    assert (rest["count"], [one["name"] for one in rest["items"]]) == (2, ["not-there"])


ASKED: Final[dict[str, str]] = {
    "service": "licence-finder",
    "organisation": "cabinet-office",
    "dependency": numbered("dep_", 3),
}


@pytest.mark.parametrize("key", [AUDIT, None])
async def test_real_answers_are_as_the_document_says(world: World, key: str | None) -> None:
    await settle(world)
    for name, routes in world.routes.items():
        document = orjson.loads(orjson.dumps(openapi_document(routes, INFO)))
        for route in routes:
            if key is None and route.public is None:
                continue
            operation = document["paths"][route.path]["get"]
            content = operation["responses"]["200"]["content"]["application/json"]
            schema = {**content["schema"], "components": document["components"]}
            path = route.path.format(**ASKED)
            moments: tuple[dict[str, str], ...] = ({}, {"as_of": "2025-01-01"})
            for query in moments if route.query is not None else moments[:1]:
                answer = await ask(world, name, path, key, **query)
                Draft202012Validator(schema).validate(answer)
                strangely = {**answer, "stranger": 1}
                assert not Draft202012Validator(schema).is_valid(strangely), path
