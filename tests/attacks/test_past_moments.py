"""The past, asked by every caller: what another organisation kept, and what was not public."""

from dataclasses import dataclass, replace
from typing import Final

import pytest
import pytest_asyncio

from shared.http.routes import Route
from tests.attacks.attacked_estate import CALLERS, STRANGERS, AttackedEstate
from tests.attacks.operations import (
    COMMANDS,
    READABLE,
    CommandCase,
    Rule,
    Target,
    described,
    expected_of_command,
    filled,
    is_known,
    is_reflected,
    make_service,
    named,
    rule_of,
)

PUBLIC_READS: Final = [
    (service, route)
    for service, route in READABLE
    if rule_of(service, route.operation_id) is Rule.PUBLIC
]
ON_A_SERVICE: Final = [
    case
    for case in COMMANDS
    if case.operation.startswith("service_") and case.operation != "service_register"
]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a life: who kept the service, and whether everybody might see it."""

    as_of: str
    keeper: str
    public: bool

    def query(self, target: Target) -> dict[str, str]:
        """How it is asked for; without a date, as it was known when the service was registered."""
        return {"as_of": self.as_of} if self.as_of else {"known_at": target.positions}


LIFE: Final = (
    Moment("2001-06-01", "a", public=False),
    Moment("2002-06-01", "a", public=True),
    Moment("2003-06-01", "b", public=True),
    Moment("2004-06-01", "b", public=False),
    Moment("", "a", public=False),
)
NOW: Final = ("public", "internal")
"""A service that anybody may see again, and one that stayed internal."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lived(estate: AttackedEstate) -> dict[str, Target]:
    """Two services that went through that life, and what each depends on."""
    return {now: await live(estate, now) for now in NOW}


async def live(estate: AttackedEstate, now: str) -> Target:
    """Both ends of a dependency, since one internal end hides it."""
    start = "2001-01-01T00:00:00Z"
    target, other = [await make_service(estate, "a", effective_from=start) for _ in range(2)]
    for service in (other.service, target.service):
        for year, change, body in (
            (2002, "set-visibility", {"visibility": "public"}),
            (2003, "move", {"organisation": estate.ids["b"]}),
            (2004, "set-visibility", {"visibility": "internal"}),
            *([(2005, "set-visibility", {"visibility": "public"})] if now == "public" else []),
        ):
            body["effective_from"] = f"{year}-01-01T00:00:00Z"
            path = f"/v1/services/{service}/{change}"
            made = await estate.command("registry", path, body)
        await is_known(estate, service, made["positions"])
    edge = {"from": target.service, "to": {"service": other.service}, "kind": "network"}
    edge["effective_from"] = start
    made = await estate.command("dependencies", "/v1/dependencies", edge)
    await is_reflected(estate, f"/v1/dependencies/{made['id']}", made["positions"])
    return replace(target, dependency=made["id"])


@pytest.mark.parametrize("now", NOW)
@pytest.mark.parametrize("moment", LIFE, ids=lambda moment: moment.as_of)
@pytest.mark.parametrize(("service", "route"), PUBLIC_READS, ids=named)
async def test_the_past_is_for_every_key_and_without_one_of_what_was_and_is_public(
    estate: AttackedEstate,
    lived: dict[str, Target],
    service: str,
    route: Route,
    moment: Moment,
    now: str,
) -> None:
    target, is_list = lived[now], "{" not in route.path
    query = moment.query(target) | ({"limit": "200"} if is_list else {})
    seen = moment.public and now == "public"
    wrong = []
    for caller in CALLERS:
        path = filled(route, target)
        found = await estate.ask(service, "GET", path, as_=caller, query=query)
        told = target.service.encode() in found.body
        if caller == "nobody":
            answered = found.status == (200 if seen or is_list else 404)
            is_right = answered and (told == seen if is_list else told <= seen)
        elif caller in STRANGERS:
            is_right = found.status == 401 and not told
        else:
            is_right = found.status == 200
        if not is_right:
            wrong.append((caller, found))
    assert wrong == []


@pytest.mark.parametrize("now", NOW)
@pytest.mark.parametrize("moment", LIFE, ids=lambda moment: moment.as_of)
async def test_the_keeper_of_a_moment_is_the_one_of_then(
    estate: AttackedEstate, lived: dict[str, Target], moment: Moment, now: str
) -> None:
    target = lived[now]
    path, query = f"/v1/services/{target.service}", moment.query(target)
    for caller in ("a", "b", "auditor"):
        found = await estate.ask("registry", "GET", path, as_=caller, query=query)
        assert found.document["organisation"]["id"] == estate.ids[moment.keeper]


@pytest.mark.parametrize("case", ON_A_SERVICE, ids=named)
async def test_who_kept_a_service_then_may_not_change_what_was_then(
    estate: AttackedEstate, lived: dict[str, Target], case: CommandCase
) -> None:
    service, command = described(case.operation)
    made = case.attempt(lived["public"])
    path = command.path.format(service=made.reference)
    body = {**made.body, "effective_from": "2002-06-01T00:00:00Z"}
    before = await estate.heads()
    for caller in CALLERS:
        expected = expected_of_command(case, caller, keeper="b")
        if expected != "accepted":
            answer = await estate.ask(service, "POST", path, as_=caller, body=body)
            assert answer.problem == expected, caller
    assert await estate.heads() == before
