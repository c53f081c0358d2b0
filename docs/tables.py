"""Owns the text of each generated section, made from the code that it is about.

Must not say anything that the code does not; words that it lacks are in meanings.py.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, get_args

import orjson
from prometheus_client.registry import Collector
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cli.app import COMMANDS
from cli.config import DatabaseVariables, EstateVariables
from deploy.local.config import LauncherVariables, SystemVariables
from docs.described import Described, services
from docs.meanings import VARIABLES
from services.notifications.changes.limits import FeedLimits
from shared.commands.command import CommandType
from shared.configuration.reading import Settings
from shared.contracts.events import EVENT_MODELS
from shared.contracts.events.model import EventData
from shared.contracts.events.upcasters import UPCASTERS
from shared.eventstore.writer import WriterLimits
from shared.http.problems import problem_kinds
from shared.http.routes import Access, Route
from shared.http.server import ServerLimits
from shared.messaging.intake import IntakeLimits
from shared.messaging.relay import RelayLimits
from shared.messaging.topic_feed import TopicFeedLimits
from shared.observability.metrics import HELP
from shared.projections.follower import RunnerLimits
from shared.projections.read_models import ReadLimits
from shared.service.config import EstateSettings

_LIMITS: Final = (
    ("Log writer", WriterLimits),
    ("Relay", RelayLimits),
    ("Intake", IntakeLimits),
    ("Feed from Kafka", TopicFeedLimits),
    ("Projection runner", RunnerLimits),
    ("Reads of a projection", ReadLimits),
    ("HTTP server", ServerLimits),
    ("Change feed", FeedLimits),
)
_SYSTEM: Final = "System"
_BASE_FIELDS: Final = ("reason", "corrects")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(part) for part in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """A text as code; nothing for nothing."""
    return f"`{text}`" if text else ""


# Environment variables.


def _field_rows(prefix: str, fields: Mapping[str, FieldInfo], shown: str) -> Iterator[list[str]]:
    for name, info in fields.items():
        given = "required" if info.is_required() else _default(info)
        yield [code(f"{prefix}{name}".upper()), given, VARIABLES[f"{shown}{name}".upper()]]


def _default(info: FieldInfo) -> str:
    return "" if info.default in {None, ""} else code(str(info.default))


def service_settings() -> str:
    """Variables of each service alone."""
    rows: list[list[str]] = []
    for service in services():
        prefix = service.settings.prefix
        rows += _field_rows(prefix, service.settings.model_fields, "<SERVICE>_")
        rows += _field_rows(prefix, service.owner_settings.model_fields, "<SERVICE>_")
    return table(("Variable", "Default", "Meaning"), rows)


def estate_settings() -> str:
    """Variables that every service reads."""
    rows = _field_rows("ESTATE_", EstateSettings.model_fields, "ESTATE_")
    return table(("Variable", "Default", "Meaning"), rows)


def _variables(*models: type[Settings]) -> str:
    names = sorted(model.variable(field) for model in models for field in model.model_fields)
    return table(("Variable", "Meaning"), [[code(name), VARIABLES[name]] for name in names])


def cli_settings() -> str:
    """Variables that the command line reads."""
    return _variables(EstateVariables, DatabaseVariables)


def launcher_settings() -> str:
    """Variables that the launcher of local backing services reads."""
    return _variables(LauncherVariables, SystemVariables)


def limits() -> str:
    """Bounds that are set in code."""
    rows = [
        [part, code(one.name), str(one.default), code(kind.__module__.replace(".", "/") + ".py")]
        for part, kind in _LIMITS
        for one in dataclasses.fields(kind)
    ]
    return table(("Part", "Bound", "Value", "Set in"), rows)


# HTTP.


_WORDS: Final = {
    Access.ANYONE: "anyone",
    Access.AUTHENTICATED: "any key",
    Access.PUBLIC_OR_AUTHENTICATED: "any key; of public services anyone, where allowed",
}


def _who(route: Route) -> str:
    if isinstance(route.allow, Access):
        return _WORDS[route.allow]
    return ", ".join(sorted(role.value for role in route.allow))


def _parameters(model: type[BaseModel] | None) -> str:
    names = [] if model is None else [i.alias or n for n, i in model.model_fields.items()]
    return ", ".join(code(name) for name in names)


def read_routes() -> str:
    """Every read of every service."""
    rows = [
        [
            service.name,
            code(f"GET {route.path}"),
            _parameters(route.query),
            _who(route),
            route.summary,
        ]
        for service in services()
        for route in service.routes
        if route.method == "GET" and route.tag != _SYSTEM
    ]
    return table(("Service", "Route", "Parameters", "Who", "Answers"), rows)


def system_routes() -> str:
    """The pages that every service has."""
    routes = services()[0].routes
    rows = [[code(f"GET {route.path}"), route.summary] for route in routes if route.tag == _SYSTEM]
    return table(("Route", "Answers"), rows)


# Commands, events.


def _all_commands() -> Iterator[tuple[Described, CommandType[Any]]]:
    for service in services():
        for command in service.commands:
            yield service, command


def commands() -> str:
    """Every command: its HTTP route and its type as a submission."""
    rows = [
        [
            service.name,
            code(command.name),
            code(f"POST {command.path}"),
            _members(command.body, ("reason",)),
            command.summary,
        ]
        for service, command in _all_commands()
    ]
    head = ("Service", "Submission type", "HTTP", "Members (* required)", "Effect")
    return table(head, rows)


def _members(model: type[BaseModel], left_out: Sequence[str]) -> str:
    names = [
        code(info.alias or name) + ("*" if info.is_required() else "")
        for name, info in model.model_fields.items()
        if name not in left_out
    ]
    return ", ".join(names) or "none"


def example(command: CommandType[Any]) -> dict[str, Any]:
    """A submission of this type."""
    kind, verb = command.name.removeprefix("estate.").removesuffix(".v1").split(".")
    return {
        "specversion": "1.0",
        "id": f"2026-01-31/{kind}/{verb}",
        "source": "my-department",
        "type": command.name,
        "subject": f"my-department:{kind}-1",
        "time": "2026-01-31T09:00:00Z",
        "correlationid": "change-4711",
        "data": dict(command.example),
    }


def submission_examples() -> str:
    """One submission of every type."""
    parts = []
    for service, command in _all_commands():
        text = orjson.dumps(example(command), option=orjson.OPT_INDENT_2).decode()
        parts.append(f"`{command.name}` (to {service.name}):\n\n```json\n{text}\n```")
    return "\n\n".join(parts)


def event_types() -> str:
    """Every type of event that is in a log."""
    logs = {command.name.split(".")[1]: service.name for service, command in _all_commands()}
    rows = [
        [logs[name.split(".")[1]], code(name), _members(model, _BASE_FIELDS), _doc(model)]
        for name, model in EVENT_MODELS.items()
    ]
    rows += [
        [logs[old.split(".")[1]], code(old), "", f"Read as {code(new)}."]
        for old, (new, _convert) in UPCASTERS.items()
    ]
    return table(("Log", "Type", "Data (* required)", "Meaning"), rows)


def _doc(model: type[EventData]) -> str:
    return (inspect.getdoc(model) or "").partition("\n")[0]


def event_values() -> str:
    """The closed sets of values in events."""
    found: dict[str, str] = {}
    for model in EVENT_MODELS.values():
        for info in model.model_fields.values():
            for kind in (info.annotation, *get_args(info.annotation)):
                if inspect.isclass(kind) and issubclass(kind, StrEnum):
                    values = ", ".join(code(one.value) for one in kind)
                    found[f"{kind.__module__.rpartition('.')[2]}: {kind.__name__}"] = values
    return table(("Set", "Values"), sorted(found.items()))


# Problems, metrics, the command line.


def problems() -> str:
    """Every kind of problem that an answer can report."""
    services()  # Each service defines its own when it is imported.
    rows = [
        [str(kind.status), code(kind.slug), kind.title, kind.advice, _seconds(kind.retry_after_s)]
        for kind in sorted(problem_kinds(), key=lambda one: (one.status, one.slug))
    ]
    return table(("Status", "Slug", "Title", "What to do", "Retry-After"), rows)


def _seconds(value: int | None) -> str:
    return "" if value is None else f"{value} s"


def metrics() -> str:
    """Every metric, its labels, and who exports it."""
    exported: dict[str, list[Described]] = {}
    labels: dict[str, Sequence[str]] = {}
    kinds: dict[str, str] = {}
    for service in services():
        # The library offers no other way to learn the labels of what has no sample yet.
        for collector, names in service.metrics.registry._collector_to_names.items():  # noqa: SLF001
            for name in HELP.keys() & set(names):
                exported.setdefault(name, []).append(service)
                labels[name], kinds[name] = _labels(collector), _kind(collector)
    rows = [
        [
            code(name),
            kinds.get(name, ""),
            ", ".join(code(label) for label in labels.get(name, ())),
            ", ".join(service.name for service in exported.get(name, ())) or "not exported yet",
            text,
        ]
        for name, text in HELP.items()
    ]
    return table(("Metric", "Type", "Labels", "Exported by", "Meaning"), rows)


def _labels(collector: Collector) -> Sequence[str]:
    return tuple(getattr(collector, "_labelnames", ()))


def _kind(collector: Collector) -> str:
    return str(getattr(collector, "_type", ""))


def cli_commands() -> str:
    """Every command of the command line."""
    rows = [[code(f"estate {one.name}"), one.summary, one.panel] for one in COMMANDS]
    return table(("Command", "What it answers or does", "Group"), rows)


SECTIONS: Final[Mapping[str, Callable[[], str]]] = {
    "cli-commands": cli_commands,
    "cli-settings": cli_settings,
    "commands": commands,
    "estate-settings": estate_settings,
    "event-types": event_types,
    "event-values": event_values,
    "launcher-settings": launcher_settings,
    "limits": limits,
    "metrics": metrics,
    "problems": problems,
    "read-routes": read_routes,
    "service-settings": service_settings,
    "submission-examples": submission_examples,
    "system-routes": system_routes,
}
"""Each generated section by the name in its mark."""
