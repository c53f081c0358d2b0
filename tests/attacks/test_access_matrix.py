"""Every operation, asked by every kind of caller, about what each organisation keeps."""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from shared.http.routes import Route
from tests.attacks.attacked_estate import (
    CALLERS,
    LOGS,
    ORGANISATIONS,
    STRANGERS,
    Answer,
    AttackedEstate,
    kind_of,
)
from tests.attacks.operations import (
    ALLOW,
    COMMANDS,
    OPERATIONS,
    READABLE,
    CommandCase,
    Rule,
    Target,
    described,
    expected_of_command,
    expected_of_read,
    expected_of_submission,
    filled,
    make_service,
    make_target,
    named,
    rule_of,
    submission,
)
from tests.attacks.wire import request, send

MOMENTS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"as_of": "2150-01-01"},
    {"known_at": "2150-01-01"},
)
ATTACKS: Final = Path(__file__).parents[2] / "docs" / "attacks.md"
OTHER_METHODS: Final = ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
PROBING: Final = ("admin", "a", "b", "operator", "nobody")


Attempting = Callable[[str, Target], Awaitable[str]]
Make = Callable[[AttackedEstate, str], Awaitable[Target]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept(estate: AttackedEstate) -> dict[str, Target]:
    """What each organisation keeps, never changed by an attack."""
    return {name: await make_target(estate, name) for name in ORGANISATIONS}


@pytest.mark.parametrize(("service", "route"), OPERATIONS, ids=named)
def test_every_route_is_expected_and_says_who_may_call_it(service: str, route: Route) -> None:
    rule = rule_of(service, route.operation_id)
    assert rule is not None, "say in operations.py who may call it, and how it is called"
    assert route.allow == ALLOW[rule]
    assert route.authenticate is (rule is not Rule.PAGE)


@pytest.mark.parametrize("case", COMMANDS, ids=named)
async def test_command_is_for_the_keeper(estate: AttackedEstate, case: CommandCase) -> None:
    service, command = described(case.operation)
    make = make_target if service == "dependencies" else make_service

    async def attempt(caller: str, target: Target) -> str:
        made = case.attempt(target)
        path = command.path.format_map(_Anything(made.reference or ""))
        answer = await estate.ask(service, "POST", path, as_=caller, body=made.body)
        return outcome(answer)

    wrong = []
    for keeper in ORGANISATIONS:
        expected = {one: expected_of_command(case, one, keeper) for one in CALLERS}
        wrong += await mismatches(estate, make, keeper, expected, attempt)
    assert wrong == []


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
@pytest.mark.parametrize("case", COMMANDS, ids=named)
async def test_submission_is_for_the_keeper(
    estate: AttackedEstate, case: CommandCase, batch: bool
) -> None:
    service, _ = described(case.operation)
    make = make_target if service == "dependencies" else make_service

    async def attempt(caller: str, target: Target) -> str:
        event = submission(case, case.attempt(target))
        body = [event] if batch else event
        answer = await estate.ask(service, "POST", "/v1/submissions", as_=caller, body=body)
        if batch and answer.status == 200:
            result = answer.document["results"][0]
            return kind_of(result.get("rejected")) or str(result["status"])
        return outcome(answer)

    wrong = []
    for keeper in ORGANISATIONS:
        expected = {one: expected_of_submission(case, one, keeper) for one in CALLERS}
        wrong += await mismatches(estate, make, keeper, expected, attempt)
    assert wrong == []


@pytest.mark.parametrize("case", COMMANDS, ids=named)
async def test_what_one_submission_may_do_the_next_in_its_batch_may_not(
    estate: AttackedEstate, case: CommandCase
) -> None:
    service, _ = described(case.operation)
    make = make_target if service == "dependencies" else make_service
    for caller in ("a", "b"):
        keepers = ("a", "b", "a", "b")
        targets = [await make(estate, keeper) for keeper in keepers]
        events = [submission(case, case.attempt(target)) for target in targets]
        answer = await estate.ask(service, "POST", "/v1/submissions", as_=caller, body=events)
        found = [
            kind_of(one.get("rejected")) or one["status"] for one in answer.document["results"]
        ]
        assert found == [expected_of_submission(case, caller, keeper) for keeper in keepers]


async def mismatches(
    estate: AttackedEstate, make: Make, keeper: str, expected: dict[str, str], attempt: Attempting
) -> list[tuple[str, str, str]]:
    """What did not come out as expected; whoever is refused leaves both logs as they were."""
    refused = [one for one in CALLERS if expected[one] != "accepted"]
    target = await make(estate, keeper)
    before = await estate.heads()
    found = {caller: await attempt(caller, target) for caller in refused}
    assert await estate.heads() == before
    for caller in expected.keys() - found.keys():
        found[caller] = await attempt(caller, await make(estate, keeper))
    return [(keeper, one, found[one]) for one in CALLERS if found[one] != expected[one]]


def outcome(answer: Answer) -> str:
    return "accepted" if answer.status in {200, 201} else answer.problem


class _Anything(dict[str, str]):
    """Gives one value for every name."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def __missing__(self, _name: str) -> str:
        return self._value


@pytest.mark.parametrize(("service", "route"), READABLE, ids=named)
async def test_read_is_for_every_key_and_without_one_tells_nothing_internal(
    estate: AttackedEstate, kept: dict[str, Target], service: str, route: Route
) -> None:
    wrong = []
    for keeper in ORGANISATIONS:
        path = filled(route, kept[keeper])
        for caller in CALLERS:
            expected = expected_of_read(service, route, caller)
            for moment in moments(route):
                found = await estate.ask(service, "GET", path, as_=caller, query=moment)
                leaks = caller == "nobody" and kept[keeper].service.encode() in found.body
                if found.status != expected or leaks:
                    wrong.append((keeper, caller, moment, found))
    assert wrong == []


def moments(route: Route) -> list[dict[str, str]]:
    known = route.query.model_fields if route.query is not None else {}
    return [moment for moment in MOMENTS if moment.keys() <= known.keys()]


@pytest.mark.parametrize("keeper", ORGANISATIONS)
async def test_stream_tells_every_key_of_every_organisation_and_strangers_of_none(
    estate: AttackedEstate, kept: dict[str, Target], keeper: str
) -> None:
    target = kept[keeper]
    log, _, position = target.positions.partition(":")
    query = {"after": f"{log}:{int(position) - 1}", "log": log}
    for caller in CALLERS:
        path = "/v1/changes/stream"
        found = await estate.ask("notifications", "GET", path, as_=caller, query=query)
        told = [json.loads(line) for line in re.findall(rb"(?m)^data: (.*)$", found.body)]
        if caller in STRANGERS:
            assert (found.status, told) == (401, []), caller
        else:
            assert [event["subject"] for event in told] == [target.service], caller


@pytest.mark.parametrize("service", LOGS)
async def test_what_came_of_a_submission_is_for_its_sender(
    estate: AttackedEstate, kept: dict[str, Target], service: str
) -> None:
    case = next(one for one in COMMANDS if described(one.operation)[0] == service)
    event = {**submission(case, case.attempt(kept["a"])), "id": service}
    assert (await estate.ask(service, "POST", "/v1/submissions", as_="a", body=event)).status == 200
    query = {"source": "matrix", "id": service}
    found = {
        one: await estate.ask(service, "GET", "/v1/submissions", as_=one, query=query)
        for one in CALLERS
    }
    assert found["a"].document["status"] == "accepted"
    assert found["b"].document == {**query, "status": "unknown"}
    refused = {one: answer.status for one, answer in found.items() if one not in {"a", "b"}}
    assert refused == {one: 401 if one in STRANGERS else 403 for one in refused}


@pytest.mark.parametrize(("service", "route"), OPERATIONS, ids=named)
async def test_no_other_method_reaches_an_operation(
    estate: AttackedEstate, kept: dict[str, Target], service: str, route: Route
) -> None:
    path = filled(route, kept["a"])
    before = await estate.heads()
    for caller in PROBING:
        key = estate.keys[caller]
        for method in untaken(service, route):
            answer = await send(estate.port(service), request(method, path, key=key))
            assert 400 <= answer.status < 500, (caller, method, answer)
    assert await estate.heads() == before


def untaken(service: str, route: Route) -> set[str]:
    """The methods that no operation at this path has."""
    taken = {one.method for name, one in OPERATIONS if name == service and one.path == route.path}
    return {*OTHER_METHODS, "GET", "POST"} - taken


@pytest.mark.parametrize(("service", "route"), READABLE, ids=named)
async def test_head_is_for_those_who_may_get(
    estate: AttackedEstate, kept: dict[str, Target], service: str, route: Route
) -> None:
    path = filled(route, kept["a"])
    for caller in CALLERS:
        answer = await estate.ask(service, "HEAD", path, as_=caller)
        got = expected_of_read(service, route, caller)
        assert answer.status == (405 if route.stream else got), (caller, answer)
        assert answer.body == b""


OVERRIDES: Final = (
    {"X-HTTP-Method-Override": "DELETE"},
    {"X-HTTP-Method": "POST"},
    {"X-Method-Override": "POST"},
    {"X-Original-URL": "/livez"},
    {"X-Rewrite-URL": "/livez"},
    {"X-Forwarded-User": "admin"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Actor": "admin"},
    {"X-Organisation": "OTHER"},
    {"Forwarded": "for=127.0.0.1;by=admin"},
    {"Cookie": "estate=admin; Authorization=admin"},
    {"Proxy-Authorization": "ADMIN"},
)


@pytest.mark.parametrize("headers", OVERRIDES, ids="-".join)
async def test_no_header_changes_who_calls_or_what_is_called(
    estate: AttackedEstate, kept: dict[str, Target], headers: dict[str, str]
) -> None:
    target = kept["a"]
    admin = f"Bearer {estate.keys['admin']}"
    sent = {
        name: value.replace("OTHER", estate.ids["a"]).replace("ADMIN", admin)
        for name, value in headers.items()
    }
    before = await estate.heads()
    path = f"/v1/services/{target.service}/retire"
    for caller, expected in (("b", 403), ("operator", 403), ("nobody", 401)):
        found = await estate.ask("registry", "POST", path, as_=caller, body={}, headers=sent)
        assert found.status == expected
    read = await estate.ask(
        "registry", "GET", f"/v1/services/{target.service}", as_="operator", headers=sent
    )
    assert read.status == 200
    assert await estate.heads() == before


SPELLINGS: Final = (
    "/v1/services/{id}/retire/",
    "//v1/services/{id}/retire",
    "/v1//services/{id}/retire",
    "/v1/./services/{id}/retire",
    "/v1/x/../services/{id}/retire",
    "/livez/../v1/services/{id}/retire",
    "/livez/%2e%2e/v1/services/{id}/retire",
    "/livez%2f..%2fv1/services/{id}/retire",
    "/%76%31/services/{id}/retire",
    "/v1/services/{id}/%72etire",
    "/V1/services/{id}/retire",
    "/v1/SERVICES/{id}/RETIRE",
    "/v1/services/{id}/retire;a=b",
    "/v1/services;/{id}/retire",
    "/v1/services/{id}/retire%00",
    "/v1/services/{id}%00/retire",
    "/v1/services/{id}/retire%20",
    "/v1/services/{id}%2fretire",
    "/v1\\services\\{id}\\retire",
    "/v1/services/{id}/retire.json",
    "/v1/services/{id}/retire#x",
    "/v1/services/%c0%ae%c0%ae/{id}/retire",
    "/v1/services/{id}%0d%0aX-A:%20b/retire",
    "http://estate/v1/services/{id}/retire",
    "http://admin@estate/v1/services/{id}/retire",
    "*",
    "v1/services/{id}/retire",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("caller", ["admin", "a", "b", "operator", "nobody"])
async def test_no_spelling_of_a_path_reaches_a_command(
    estate: AttackedEstate, kept: dict[str, Target], spelling: str, caller: str
) -> None:
    target = kept["a"]
    before = await estate.heads()
    raw = request(
        "POST", spelling.format(id=target.service), key=estate.keys[caller], body=b'{"reason":"x"}'
    )
    answer = await send(estate.port("registry"), raw)
    assert answer.status in {400, 401, 403, 404, 405}, answer
    assert await estate.heads() == before


@pytest.mark.parametrize("member", ["organisation", "actor", "version", "recorded_at", "is_admin"])
async def test_no_member_beyond_the_command_is_taken(
    estate: AttackedEstate, kept: dict[str, Target], member: str
) -> None:
    target = kept["a"]
    path = f"/v1/services/{target.service}/change-phase"
    before = await estate.heads()
    body = {"phase": "live", member: estate.ids["b"]}
    answer = await estate.ask("registry", "POST", path, as_="a", body=body)
    assert (answer.status, answer.document["errors"][0]["pointer"]) == (422, f"/{member}")
    event = submission(COMMANDS[0], COMMANDS[0].attempt(target))
    answer = await estate.ask(
        "registry", "POST", "/v1/submissions", as_="a", body={**event, member: "admin"}
    )
    assert (answer.status, answer.document["errors"][0]["pointer"]) == (422, f"/{member}")
    assert await estate.heads() == before


def test_matrix_is_as_large_as_it_says() -> None:
    kept = len(CALLERS) * len(ORGANISATIONS)
    commands = 3 * len(COMMANDS) * kept
    reads = sum(len(moments(route)) for _, route in READABLE) * kept
    probes = len(READABLE) * len(CALLERS)
    probes += sum(len(untaken(*operation)) for operation in OPERATIONS) * len(PROBING)
    said = ATTACKS.read_text(encoding="utf-8").replace("\n", " ")
    assert f"{commands:,} commands, {reads:,} reads, {probes:,} probes" in said
