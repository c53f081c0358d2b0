"""Owns the rules that the source as a whole keeps."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.described import Described, services
from services.dependencies.read_models.projection import GRAPH
from services.registry.read_models.projection import ESTATE
from shared.commands.command import COMMANDERS
from shared.contracts.events import EVENT_MODELS
from shared.failpoints import POINTS
from shared.http.routes import ANYONE, Access, Route

ROOT = Path(__file__).parents[2]
FOLDERS = ("services", "shared", "cli", "deploy", "tests", "benchmarks", "docs")
CODE = ("services", "shared", "cli", "deploy")
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "core"}
ENVIRONMENT_READERS = {
    # Children of ours are given our environment; nothing is read from it.
    "deploy/local/keeper.py",
    "deploy/local/keeper_link.py",
    "deploy/local/system_user.py",
    "cli/local_estate.py",
}
SYSTEM_PAGES = {
    "/healthz",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/style.css",
    "/problems",
    "/problems/{slug}",
}
MAX_LINES = 400


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_of_secrets_is_tracked() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - no input.
    named = {Path(line).name for line in listed.stdout.splitlines()}
    assert not named & {".env", "keys.json", "admin.key"}
    assert ".gitignore" in named


def test_import_contracts_hold() -> None:
    # In a process of its own: it disables every logger of the process that it runs in.
    config = Path(__file__).with_name("import_contracts.ini")
    command = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run(  # noqa: S603 - our own tool and file.
        [command, "--config", config, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_every_service_that_owns_data_is_in_the_import_contracts() -> None:
    config = Path(__file__).with_name("import_contracts.ini").read_text()
    for folder in (ROOT / "services").glob("*/bootstrap.py"):
        assert f"\n    services.{folder.parent.name}\n" in config


def test_no_module_has_two_owners() -> None:
    long = {
        named(path): len(path.read_text().splitlines())
        for path in modules(*FOLDERS)
        if not path.name.startswith("test_")
    }
    assert {path: lines for path, lines in long.items() if lines > MAX_LINES} == {}


def test_no_module_is_named_after_nothing() -> None:
    parts = {part for path in modules(*FOLDERS) for part in path.relative_to(ROOT).parts}
    assert {part for part in parts if part.removesuffix(".py").strip("_") in BANNED} == set()


@pytest.mark.parametrize("path", list(modules(*CODE)), ids=named)
def test_a_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "a module opens with what it owns"


def test_only_config_modules_look_at_the_environment() -> None:
    found = {
        named(path)
        for path in modules(*CODE)
        if path.name != "config.py" and re.search(r"os\.(environ|getenv)\b", path.read_text())
    }
    assert found <= ENVIRONMENT_READERS


def test_only_the_clock_asks_the_machine_for_the_time() -> None:
    asked = re.compile(r"datetime\.(now|utcnow|today)\(|date\.today\(|time\.time\(|uuid[147]\(")
    found = {
        named(path) for path in modules("services", "shared") if asked.search(path.read_text())
    }
    assert found <= {"shared/clock.py"}


def test_only_migrations_and_read_models_shape_tables() -> None:
    ddl = re.compile(r"\b(CREATE|ALTER|DROP) (TABLE|INDEX|TRIGGER)\b")
    found = {
        named(path)
        for path in modules("services", "shared")
        if ddl.search(path.read_text()) and "projections" not in path.parts
    }
    assert found <= {"shared/database/migrate.py"}


def each_service() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("service", services(), ids=lambda one: one.name)


def own_routes(service: Described) -> list[Route]:
    return [route for route in service.routes if route.path not in SYSTEM_PAGES]


@each_service()
def test_every_address_served_is_a_route_with_a_rule(service: Described) -> None:
    served = {
        (one.method, resource.canonical)
        for resource in service.app.router.resources()
        for one in resource
        if one.method != "HEAD"
    }
    assert served == {(route.method, route.path) for route in service.routes}
    for route in service.routes:
        assert isinstance(route.allow, Access) or route.allow, route.path


@each_service()
def test_nothing_but_the_system_s_pages_is_for_anyone(service: Described) -> None:
    for route in own_routes(service):
        assert route.allow is not ANYONE, route.path
        assert route.authenticate, route.path
    for route in service.routes:
        if route.path in SYSTEM_PAGES:
            assert route.method == "GET"


PUBLIC_READS = {
    "registry": {"list_services", "get_service", "get_service_history"},
    "dependencies": {"list_dependencies", "get_dependency", "get_upstream", "get_downstream"},
}


@each_service()
def test_nothing_is_read_without_a_key_but_what_is_named_here(service: Described) -> None:
    public = {route.operation_id for route in own_routes(service) if route.public is not None}
    assert public == PUBLIC_READS.get(service.name, set())
    assert all(route.closed().public is None for route in service.routes)


@each_service()
def test_what_changes_the_estate_is_for_commanders_only(service: Described) -> None:
    changing = [route for route in own_routes(service) if route.method != "GET"]
    for route in changing:
        assert isinstance(route.allow, frozenset), route.path
        assert route.allow <= COMMANDERS, route.path
    commands = {command.path: command.allow for command in service.commands}
    rules = {route.path: route.allow for route in changing if route.path != "/v1/submissions"}
    assert rules == commands


@each_service()
def test_a_command_on_something_takes_an_etag_and_lives_below_it(service: Described) -> None:
    routes = {route.path: route for route in own_routes(service) if route.method == "POST"}
    for command in service.commands:
        kind = command.name.split(".")[1]
        assert command.path.startswith(f"/v1/{kind}s".replace("dependencys", "dependencies"))
        assert routes[command.path].takes_if_match is not command.creates
        verb = command.name.split(".")[2].replace("_", "-")
        assert command.creates or command.path.endswith(f"/{verb}")


def test_every_failpoint_is_reached_somewhere() -> None:
    called = re.compile(r"\breach\(\"([a-z_.]+)\"\)")
    found = [
        point
        for path in modules("shared", "services")
        for point in called.findall(path.read_text())
    ]
    assert sorted(found) == sorted(POINTS)


def test_every_event_is_taken_up_by_the_read_models_of_its_own_service() -> None:
    for event_type in EVENT_MODELS:
        own = GRAPH if event_type.startswith("estate.dependency.") else ESTATE
        assert event_type in own.handlers, f"{event_type} is missing in {own.name}"


def test_every_handler_of_a_read_model_is_for_an_event_that_exists() -> None:
    for projection in (ESTATE, GRAPH):
        assert set(projection.handlers) <= set(EVENT_MODELS)


def test_every_command_leads_to_an_event_of_its_own_kind() -> None:
    kinds = {event_type.split(".")[1] for event_type in EVENT_MODELS}
    for service in services():
        for command in service.commands:
            _, kind, _, version = command.name.split(".")
            assert (kind in kinds, version) == (True, "v1"), command.name
