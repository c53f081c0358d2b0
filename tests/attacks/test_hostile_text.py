"""Hostile text through every member, parameter and header: kept as it is, or refused in place."""

import copy
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote_from_bytes

import pytest

from shared.http.routes import Route
from tests.attacks.attacked_estate import Answer, AttackedEstate, check_log_lines
from tests.attacks.operations import READABLE, described, filled, make_service, named
from tests.attacks.wire import request, send

TEXTS: Final = (
    *(
        "'; DROP SCHEMA log CASCADE; --",
        '" OR "1"="1',
        "$1",
        "\\",
        "%_%",
        "100%",
        "{{7*7}}",
        "~0/1",
    ),
    *("a\u202eb", "a\u2066b", "a\u200bb", "a\u200db", "\ufeffa", "a\u0301", "e" + "\u0301" * 300),
    *(
        "a\x00b",
        "\ud800",
        "a\udfffb",
        "a\r\nSet-Cookie: b=c",
        "a\nb",
        "a\tb",
        "a\x1b[2Jb",
        "a\x85b",
    ),
    *("x" * 10_240, "\U0001f3e2" * 300, "<script>alert(1)</script>", "=cmd|' /C calc'!A0", " ", ""),
    *("javascript:alert(1)", "../../etc/passwd", "null", "\U000e0041\U000e0042", "\uffff", "a:b"),
)
DROPPED: Final = ("attributes", "unset", 0)
"""Unsetting what is not set changes nothing, so it is not kept."""
FREE: Final = ("name", "description", "reason", "slug", "aliases", "attributes")
"""Members that are kept as they are; others name something that must be there."""
_SERVICE: Final = {"name": "n", "description": "d", "reason": "r"}
_ATTRIBUTES: Final = {"source": "s", "set": {"k": "v"}, "unset": ["u"]}
BODIES: Final[dict[str, dict[str, Any]]] = {
    "organisation_register": {
        "name": "n",
        "kind": "team",
        "slug": "s",
        "parent": "KEEPER",
        "aliases": ["a:b"],
        "reason": "r",
        "effective_from": "e",
    },
    "organisation_rename": {"name": "n", "reason": "r"},
    "service_register": {
        **_SERVICE,
        "kind": "api",
        "organisation": "KEEPER",
        "slug": "s",
        "phase": "live",
        "visibility": "public",
        "aliases": ["a:b"],
        "attributes": _ATTRIBUTES,
    },
    "service_change_details": {**_SERVICE, "kind": "api", "attributes": _ATTRIBUTES},
    "service_move": {"organisation": "KEEPER", "reason": "r"},
    "service_change_phase": {"phase": "live", "reason": "r"},
    "service_delist": {"reason": "r"},
    "service_reinstate": {"reason": "r"},
    "service_retire": {"successor": "s", "reason": "r"},
    "service_add_alias": {"alias": "a:b", "reason": "r"},
    "service_set_visibility": {"visibility": "public", "reason": "r"},
    "service_assign_role": {
        "role": "technical-lead",
        "holder": "contact:c",
        "previous_holder": "contact:p",
        "reason": "r",
    },
    "service_vacate_role": {"role": "technical-lead", "holder": "contact:c", "reason": "r"},
    "dependency_declare": {
        "from": "f",
        "to": {"external": "e", "kind": "other"},
        "kind": "data",
        "criticality": "low",
        "reason": "r",
    },
    "dependency_change": {"kind": "data", "criticality": "low", "reason": "r"},
    "dependency_withdraw": {"reason": "r"},
}


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a body holds text."""
    if isinstance(tree, str):
        yield at
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if at else ()
    if not isinstance(tree, str):
        for part, value in pairs:
            yield from places(value, (*at, part))


def replaced(tree: Any, at: tuple[Any, ...], text: str) -> Any:
    changed = copy.deepcopy(tree)
    node = changed
    for part in at[:-1]:
        node = node[part]
    node[at[-1]] = text
    return changed


def value_at(tree: Any, at: tuple[Any, ...]) -> Any:
    for part in at:
        tree = tree[part] if isinstance(tree, list) else tree.get(part)
    return tree


@pytest.mark.parametrize("operation", BODIES)
def test_every_member_of_a_command_is_tried(operation: str) -> None:
    _, command = described(operation)
    fields = {field.alias or name for name, field in command.body.model_fields.items()}
    assert fields <= BODIES[operation].keys()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", BODIES)
async def test_text_is_kept_as_it_is_or_refused_with_its_place(
    estate: AttackedEstate, operation: str
) -> None:
    service, command = described(operation)
    target = (await make_service(estate, "a")).service
    edge = {"from": target, "to": {"external": "e", "kind": "other"}, "kind": "data"}
    dependency = (await estate.command("dependencies", "/v1/dependencies", edge))["id"]
    path = command.path.format_map(
        {"service": target, "organisation": estate.ids["a"], "dependency": dependency}
    )
    sent = json.dumps(BODIES[operation]).replace("KEEPER", estate.ids["a"])
    good = {name: value for name, value in json.loads(sent).items() if name != "effective_from"}
    for at in places(json.loads(sent)):
        for text in TEXTS:
            body = replaced(good, at, text)
            answer = await estate.ask(
                service, "POST", path, body=json.dumps(body).encode("utf-8", "surrogatepass")
            )
            if answer.status in {200, 201}:
                await check_kept(estate, service, answer, at, text)
            else:
                check_refused(answer, at, text)


async def check_kept(
    estate: AttackedEstate, log: str, answer: Answer, at: tuple[Any, ...], text: str
) -> None:
    """What the log holds is what was sent."""
    if at[0] not in FREE or at == DROPPED or not answer.document["events"]:
        return
    position = int(answer.document["events"][0]["position"].rpartition(":")[2])
    query = {"after": f"{log}:{position - 1}", "log": log, "limit": "1", "wait_s": "20"}
    page = (await estate.ask("notifications", "GET", "/v1/changes", query=query)).document
    data = page["items"][0]["event"]["data"]
    kept = data.get("aliases") if at[0] == "aliases" else value_at(data, at)
    assert text in kept if at[0] == "aliases" else kept == text, (at, text, data)


def check_refused(answer: Answer, at: tuple[Any, ...], text: str) -> None:
    """A refusal names the place, and repeats nothing of the text."""
    assert 400 <= answer.status < 500, (at, text, answer)
    if answer.problem in {"invalid-request", "malformed-json"}:
        pointers = {fault["pointer"] for fault in answer.document["errors"]}
        wanted = "".join(f"/{part}" for part in at)
        assert any(wanted.startswith(pointer) for pointer in pointers), (at, text, answer)
    if len(text) > 12:
        assert text.encode("utf-8", "surrogatepass") not in answer.body


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("service", "route"), READABLE, ids=named)
async def test_parameter_is_read_or_refused(
    estate: AttackedEstate, service: str, route: Route
) -> None:
    target = await make_service(estate, "a")
    path = filled(route, target)
    fields = route.query.model_fields if route.query is not None else {}
    for name in [field.alias or name for name, field in fields.items()] or ["unknown"]:
        for text in TEXTS:
            raw = quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")
            wire = request("GET", f"{path}?{name}={raw}", key=estate.keys["operator"])
            answer = await send(estate.port(service), wire, whole=False)
            assert 200 <= answer.status < 500, (name, text, answer)


@pytest.mark.parametrize(
    "header",
    ["X-Correlation-Id", "Idempotency-Key", "If-Match", "Last-Event-ID", "Accept", "User-Agent"],
)
async def test_header_is_read_or_refused_and_stays_in_its_line(
    estate: AttackedEstate, header: str
) -> None:
    target = (await make_service(estate, "a")).service
    for text in (*TEXTS, "\x1b]0;a\x07", '"}\n{"event":"forged"', "x" * 70):
        for service, method, path, body in (
            ("registry", "POST", f"/v1/services/{target}/delist", b"{}"),
            ("notifications", "GET", "/v1/changes", b""),
        ):
            key = estate.keys["a"]
            wire = request(method, path, key=key, body=body, headers={header: text})
            answer = await send(estate.port(service), wire)
            assert 200 <= answer.status < 500, (header, text, answer)
            assert b"Set-Cookie" not in answer.head
    for process in estate.local.services.values():
        check_log_lines(process.log_path.read_bytes(), estate.canaries)
