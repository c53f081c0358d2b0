"""Owns how the demo's answers look to people, and what it suggests to try.

Must not ask anything.
"""

from pathlib import Path
from typing import Any, Final

from rich.text import Text

from cli.demo.sources import Plan
from cli.local_estate import LocalEstate
from cli.terminal import cell, show, show_line, table

CHECKPOINT_NAME: Final = "checkpoint.json"
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
    _heading("Try this, in another terminal")
    for line in _lines(estate, figures):
        show_line(Text(line))


def _lines(estate: LocalEstate, figures: dict[str, Any]) -> list[str]:
    registry = estate.services["registry"].url
    notifications = estate.services["notifications"].url
    state = _relative(estate.state_dir)
    option = "" if state == ".estate" else f" --state {state}"
    service = figures["not_known_then"]["service"]
    command = f"{registry}/v1/services/{service}/change-phase"
    body = """-H 'Content-Type: application/json' -d '{"phase": "live"}'"""

    def estate_command(words: str) -> str:
        return f".venv/bin/estate {words}{option}"

    def curl(role: str, flags: str, rest: str) -> str:
        key = _relative(estate.key_path(role))
        return f'curl -s{flags}H "Authorization: Bearer $(cat {key})" {rest}'

    return [
        estate_command("owners"),
        estate_command("services --owner none --as-of 2017-06-30"),
        estate_command(f"history {service}"),
        estate_command("depends publishing-api --by --depth 2"),
        estate_command(f"verify --against {_relative(estate.state_dir / CHECKPOINT_NAME)}"),
        curl("operator", "", f"'{registry}/v1/services/{service}?as_of=2024-01-01'"),
        curl("integrator", "N", f"'{notifications}/v1/changes/stream'  # Ctrl-C ends it"),
        "# Refused, since another organisation keeps the service:",
        curl("other-emitter", "", f"{body} {command}"),
    ]


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _heading(text: str) -> None:
    show(Text(f"\n{text}", style="bold"))
