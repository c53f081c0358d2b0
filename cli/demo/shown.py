"""Owns how the demo's answers look to people, and what it suggests to try.

Must not ask anything.
"""

import json
import sys
from pathlib import Path
from shlex import quote
from typing import Any, Final

from rich.text import Text

from cli.demo.sources import Plan
from cli.local_estate import LocalEstate
from cli.terminal import cell, show, show_line, table

CHECKPOINT_NAME: Final = "checkpoint.json"
_CLOUDEVENT: Final = "-H 'Content-Type: application/cloudevents+json'"
_ROLES: Final = ("admin", "emitter", "other-emitter", "integrator", "operator", "auditor")


def show_answers(figures: dict[str, Any], plan: Plan) -> None:
    """The questions of a head of service, answered."""
    when = f"on {figures['as_of']}" if figures["as_of"] else "today"
    _heading(f"The estate {when}")
    answers = table("Question", "Answer")
    for question, answer in _answers(figures):
        answers.add_row(cell(question), cell(answer))
    show(answers)
    _heading(f"Owners with most applications {when}")
    owners = table("Team", "Applications")
    for owner in figures["owners"]:
        owners.add_row(cell(owner["name"]), cell(owner["services"]))
    show(owners)
    _heading(f"What was read, up to {plan.last_day}")
    sources = table("Source", "Rows", "Events", "Rows without an event")
    for name, source in figures["sources"].items():
        counts = (name, source["rows"], source["events"], source["rows_without_event"])
        sources.add_row(*map(cell, counts))
        reasons = source["rows_without_event_by_reason"]
        for reason in sorted(reasons, key=reasons.__getitem__, reverse=True):
            sources.add_row("", "", "", cell(f"{reasons[reason]} {reason}"))
    show(sources)


def _answers(figures: dict[str, Any]) -> list[tuple[str, object]]:
    unowned = figures["unowned_on_a_past_day"]
    rows = [
        ("Applications listed", figures["services_listed"]),
        ("Known but no longer listed", figures["services_delisted"]),
        ("Listed without an owning team", figures["services_without_owner"]),
        (f"Without an owning team on {unowned['date']}", unowned["services"]),
    ]
    for day in figures["product_managers"]:
        question = f"Had a product manager on {day['date']}"
        rows.append((question, f"{day['with_product_manager']} of {day['services_listed']}"))
    rows += _largest(figures["largest_owner_change"])
    for key, what in (
        ("most_depended_upon", "Application most depended upon"),
        ("most_depended_upon_infrastructure", "Infrastructure most depended upon"),
    ):
        if figures[key]:
            rows.append(
                (what, f"{figures[key]['name']} ({figures[key]['dependents']} depend on it)")
            )
    then = figures["not_known_then"]
    ends = f"{figures['resolved_ends']} resolved, {figures['unresolved_ends']} unresolved"
    rows += [
        ("Dependencies declared", figures["dependencies"]),
        ("Ends that are services", ends),
        (f"What we knew of {then['service']} on {then['known_at']}", then["answer"]),
    ]
    return rows


def _largest(change: dict[str, Any] | None) -> list[tuple[str, object]]:
    if change is None:
        return []
    main = change["main_hand_over"]
    return [
        ("Largest change of owning team", f"{change['services']} on {change['date']}"),
        (_part(change), f"{main['services']}: {main['from']} to {main['to']}"),
    ]


def _part(change: dict[str, Any]) -> str:
    is_most = change["main_hand_over"]["services"] * 2 > change["services"]
    return "  most of it one team renamed" if is_most else "  its largest part"


def show_next_steps(estate: LocalEstate, figures: dict[str, Any]) -> None:
    """Positions, roots, the verdict, addresses, keys, and lines to paste."""
    _heading("Verified")
    logs = table("Log", "Position", "Root", "Verdict")
    for log in figures["verify"]["logs"]:
        verdict = "whole" if log["first_fault"] is None else str(log["first_fault"])
        logs.add_row(cell(log["log"]), cell(log["position"]), cell(log["root"]), cell(verdict))
    show(logs)
    _heading("Addresses and keys")
    where = table("What", "Where")
    for name, process in estate.services.items():
        where.add_row(cell(name), cell(f"{process.url}  (documentation: {process.url}/docs)"))
    where.add_row(cell("Kafka"), cell(estate.backing.kafka.bootstrap))
    for role in _ROLES:
        where.add_row(cell(f"key of the {role}"), cell(_relative(estate.key_path(role))))
    if figures["checkpoint"]:
        where.add_row(cell("checkpoint"), cell(_relative(Path(figures["checkpoint"]))))
    show(where)
    _heading("Try this, in another terminal, in this folder")
    for line in lines_to_paste(estate, figures):
        show_line(cell(line))


def lines_to_paste(estate: LocalEstate, figures: dict[str, Any]) -> list[str]:
    """Questions for a shell in this folder, and remarks on them; each line works by itself."""
    registry = estate.services["registry"].url
    notifications = estate.services["notifications"].url
    submissions = f"{registry}/v1/submissions"
    state = _pasted(estate.state_dir)
    option = "" if state == ".estate" else f" --state {state}"
    command = _pasted(Path(sys.executable).with_name("estate"))
    service = figures["not_known_then"]["service"]
    needed = [figures[f"most_depended_upon{what}"] for what in ("", "_infrastructure")]

    def ask(words: str) -> str:
        return f"{command} {words}{option}"

    def curl(role: str, rest: str) -> str:
        return f'curl -sH "Authorization: Bearer $(cat {_pasted(estate.key_path(role))})" {rest}'

    return [
        ask("owners"),
        ask("services --owner none --as-of 2017-06-30"),
        ask(f"history {service}"),
        *(ask(f"depends {quote(one['name'])} --by") for one in needed if one),
        ask(f"verify --against {_pasted(estate.state_dir / CHECKPOINT_NAME)}"),
        curl("operator", f"'{registry}/v1/services/{service}?as_of=2024-01-01'"),
        "# Refused, since another organisation keeps the service:",
        curl("other-emitter", f"{_CLOUDEVENT} -d {quote(_refused(service))} {submissions}"),
        "# Goes on until Ctrl-C:",
        curl("integrator", f"-N '{notifications}/v1/changes/stream'"),
    ]


def _refused(service: str) -> str:
    """A submission about a service that its sender does not keep."""
    submission = {
        "specversion": "1.0",
        "id": "try-1",
        "source": "first-steps",
        "type": "estate.service.change_phase.v1",
        "subject": service,
        "data": {"phase": "live"},
    }
    return json.dumps(submission)


def _pasted(path: Path) -> str:
    """A path as a shell takes it."""
    return quote(_relative(path))


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _heading(text: str) -> None:
    show(Text(f"\n{text}", style="bold"))
