"""Owns holding what an estate answers against the second reading of its sources.

Must not import anything of what answers.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from tests.support.asking import Asker, by_unique, every_item
from tests.support.source_reading import Application, HandOver, Reading

HOME: Final = "Government Digital Service"
OTHER: Final = "HM Land Registry"
_KINDS: Final = {"infrastructure": "hosting"}
_NOT_OF_THE_SOURCE: Final = ("id", "position")

Node = tuple[str, str]


async def assert_day(asker: Asker, reading: Reading, day: date) -> None:
    """Everything that is listed and everything that is declared at the end of a day."""
    as_of = day.isoformat()
    ids = await organisation_ids(asker)
    answered = await asker.services(as_of=as_of)
    slugs = reading.repos.slugs()
    expected = {
        key: {"slug": slugs[key], **_service(key, application, ids)}
        for key, application in reading.repos.listed(day).items()
    }
    assert answered.keys() == expected.keys(), as_of
    for key, document in answered.items():
        assert _exactly(_of_source(document)) == _exactly(expected[key]), (as_of, key)
    edges = await asker.edges(as_of=as_of)
    assert Counter(map(_edge, edges)) == Counter(_edges(reading, day)), as_of


async def organisation_ids(asker: Asker) -> dict[str, str]:
    """The id of every organisation by the name its source has for it."""
    items = await every_item(asker.registry, "/v1/organisations", {})
    return {name: item["id"] for name, item in by_unique(items, "name").items()}


def _service(key: str, application: Application, ids: Mapping[str, str]) -> dict[str, Any]:
    roles = {}
    if application.team is not None:
        since = _instant(application.since["team"])
        roles["owning-team"] = _party(ids[application.team], application.team, since)
    if application.product_manager is not None:
        since = _instant(application.since["product_manager"])
        holder = f"contact:{application.product_manager}"
        roles["product-manager"] = _party(holder, None, since)
    attributes = {"govuk-repos": application.attributes} if application.attributes else {}
    return {
        "name": key,
        "kind": "component",
        "description": application.description,
        "phase": application.phase,
        "listed": True,
        "visibility": "internal",
        "organisation": _party(ids[HOME], HOME, _instant(application.first_seen)),
        "roles": roles,
        "successor": None,
        "aliases": [f"govuk-repos:{key}"],
        "attributes": attributes,
        "effective_from": _instant(application.changed_at),
    }


def _of_source(document: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in document.items() if name not in _NOT_OF_THE_SOURCE}
    for part in (kept, kept["organisation"], *kept["roles"].values()):
        for name in part.keys() & {"since", "effective_from"}:
            part[name] = _instant(datetime.fromisoformat(part[name]))
    return kept


def _party(holder: str, name: str | None, since: str) -> dict[str, Any]:
    return {"id": holder, "name": name, "since": since}


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _exactly(value: Any) -> str:
    """As text, for to Python `True == 1`."""
    return json.dumps(value, sort_keys=True, indent=1)


def _edges(reading: Reading, day: date | None) -> list[tuple[Node, Node, str, None]]:
    return [
        (origin, end, _KINDS.get(end[0], "uses-api"), None) for origin, end in reading.links(day)
    ]


def _edge(document: Mapping[str, Any]) -> tuple[Node, Node, str, str | None]:
    return (
        _node(document["from"]),
        _node(document["to"]),
        document["kind"],
        document["criticality"],
    )


def _node(end: Mapping[str, Any]) -> Node:
    assert (end["service"] is not None) == (end["form"] == "service")
    return end["form"], end["name"]


def events_expected(reading: Reading) -> dict[str, int]:
    """How long each log is after the import: two bodies and the teams come before the list."""
    organisations = 2 + len(reading.repos.teams())
    return {
        "registry": organisations + sum(reading.repos.events_by_row().values()),
        "dependencies": sum(reading.docker.events_by_row().values()),
    }


def assert_figures(figures: Mapping[str, Any], reading: Reading, as_of: date | None) -> None:
    """Every figure of the demo's report."""
    assert _plain_figures(figures) == _expected_figures(reading, as_of)
    _assert_sources(figures["sources"], reading)
    _assert_owners(figures["owners"], reading.repos.owners(as_of))
    _assert_hand_over(figures["largest_owner_change"], reading.repos.largest_hand_over(as_of))
    _assert_most(figures["most_depended_upon"], reading, as_of, "service", "unresolved")
    _assert_most(figures["most_depended_upon_infrastructure"], reading, as_of, "infrastructure")
    _assert_not_known(figures["not_known_then"], reading)
    _assert_verified(figures, reading)


def _plain_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in _expected_names()}


def _expected_names() -> list[str]:
    return [
        *("as_of", "services_known", "services_listed", "services_delisted"),
        *("services_without_owner", "organisations", "unowned_on_a_past_day"),
        *("product_managers", "dependencies", "dependencies_on", "resolved_ends"),
        *("unresolved_ends", "ends"),
    ]


def _expected_figures(reading: Reading, as_of: date | None) -> dict[str, Any]:
    known, listed = reading.repos.at(as_of), reading.repos.listed(as_of)
    links, ends = reading.links(as_of), reading.ends(as_of)
    figures = (
        *(as_of and as_of.isoformat(), len(known), len(listed), len(known) - len(listed)),
        sum(one.team is None for one in listed.values()),
        len(_organisations(reading, as_of)),
        _unowned(reading),
        [_product_managers(reading, day) for day in (date(2017, 12, 31), date(2018, 1, 31))],
        len(links),
        dict(Counter(form for _origin, (form, _name) in links)),
        ends["service"],
        ends["unresolved"],
        dict(ends),
    )
    return dict(zip(_expected_names(), figures, strict=True))


def _organisations(reading: Reading, day: date | None) -> set[str]:
    """The teams, the body that keeps them since the first row, and one that came today."""
    home = {"Government Digital Service"} if reading.repos.at(day) else set()
    return reading.repos.teams(day) | home | ({"HM Land Registry"} if day is None else set())


def _unowned(reading: Reading) -> dict[str, Any]:
    first = reading.repos.rows[0]["date"].date()
    day = max(first, date(2017, 6, 30))
    slugs = reading.repos.slugs()
    listed = reading.repos.listed(day)
    unowned = sorted(slugs[key] for key, one in listed.items() if one.team is None)
    return {"date": day.isoformat(), "services": len(unowned), "first": unowned[:5]}


def _product_managers(reading: Reading, day: date) -> dict[str, Any]:
    listed = reading.repos.listed(day).values()
    people = [one.product_manager for one in listed if one.product_manager is not None]
    return {
        "date": day.isoformat(),
        "services_listed": len(listed),
        "with_product_manager": len(people),
        "people": len(set(people)),
    }


def _assert_sources(sources: Mapping[str, Any], reading: Reading) -> None:
    assert sources.keys() == {"govuk-repos", "govuk-docker"}
    for name, history in (("govuk-repos", reading.repos), ("govuk-docker", reading.docker)):
        by_row = history.events_by_row()
        source = sources[name]
        assert source["rows"] == len(history.rows)
        assert source["events"] == sum(by_row.values())
        assert source["rows_without_event"] == sum(count == 0 for count in by_row.values())
        reasons = source["rows_without_event_by_reason"]
        assert sum(reasons.values()) == source["rows_without_event"]


def _assert_owners(owners: list[dict[str, Any]], expected: Counter[str]) -> None:
    counts = [one["services"] for one in owners]
    assert counts == sorted(expected.values(), reverse=True)[:10]
    assert all(expected[one["name"]] == one["services"] for one in owners)
    assert len({one["name"] for one in owners}) == len(owners)


def _assert_hand_over(change: Mapping[str, Any] | None, expected: HandOver | None) -> None:
    if change is None or expected is None:
        assert (change, expected) == (None, None)
        return
    main = change["main_hand_over"]
    times, pairs = expected.main[change["commit"]]
    assert change["services"] == expected.services
    assert date.fromisoformat(change["date"]) in expected.days
    assert main["services"] == times
    assert (main["from"], main["to"]) in pairs


def _assert_most(
    answered: Mapping[str, Any] | None, reading: Reading, as_of: date | None, *forms: str
) -> None:
    dependents = reading.dependents(*forms, day=as_of)
    if answered is None:
        assert not dependents
        return
    assert answered["dependents"] == max(dependents.values())
    assert dependents[answered["name"]] == answered["dependents"]


def _assert_not_known(answered: Mapping[str, Any], reading: Reading) -> None:
    assert answered["answer"] == "not-known-then"
    first = reading.repos.rows[0]["date"].date()
    slugs = reading.repos.slugs()
    assert answered["service"] in {slugs[key] for key in reading.repos.at(first)}


def _assert_verified(figures: Mapping[str, Any], reading: Reading) -> None:
    expected = events_expected(reading)
    assert figures["verify"]["ok"] is True
    assert {log: one["position"] for log, one in figures["logs"].items()} == expected
    for log in figures["verify"]["logs"]:
        assert log["checked"] == log["checked_topic_position"] == expected[log["log"]]
        assert log["root"] == figures["logs"][log["log"]]["root"]
        assert (log["first_fault"], log["redacted"]) == (None, 0)
    assert figures["positions"] == {
        "registry": f"registry:{expected['registry']}",
        "dependencies": f"dependencies:{expected['dependencies']},registry:{expected['registry']}",
    }
