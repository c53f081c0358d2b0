"""Owns the two forms of a verification's result: JSON for programs, a table for people.

Must not judge anything.
"""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from shared.audit.findings import Fault, LogReport


def report_json(reports: Sequence[LogReport]) -> dict[str, Any]:
    """The result as JSON values; `ok` is whether no log has a fault."""
    return {
        "ok": all(report.first_fault is None for report in reports),
        "logs": [_log_json(report) for report in reports],
    }


def _log_json(report: LogReport) -> dict[str, Any]:
    return {
        "log": report.log,
        "timeline": report.timeline,
        "position": report.position,
        "root": report.root.hex(),
        "first_fault": None if report.first_fault is None else _fault_json(report.first_fault),
        "checked": report.checked,
        "redacted": report.redacted,
        "checked_topic_position": report.topic_position,
    }


def _fault_json(fault: Fault) -> dict[str, Any]:
    return {"position": fault.position, "reason": fault.reason, "detail": fault.detail}


def report_table(reports: Sequence[LogReport]) -> Table:
    """The result as a table, one line a log."""
    table = Table("Log", "Events checked", "Root", "Topic", "Result")
    for report in reports:
        topic = "not read" if report.topic_position is None else f"to {report.topic_position:,}"
        checked = f"{report.checked:,}"
        if report.redacted:
            checked += f" ({report.redacted:,} redacted)"
        table.add_row(report.log, checked, report.root.hex()[:16], topic, _verdict(report))
    return table


def _verdict(report: LogReport) -> Text:
    fault = report.first_fault
    if fault is None:
        return Text("ok", style="green")
    where = "" if fault.position is None else f" at {report.log}:{fault.position}"
    return Text.assemble((fault.reason + where, "bold red"), f": {fault.detail}")
