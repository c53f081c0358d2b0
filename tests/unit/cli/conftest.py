"""Owns the fixtures of the command line: a stand-in for the services, and running a command."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from cli.app import app
from tests.unit.cli.stand_in import KEY, StandIn, standing_in

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Keep the stand-in's log off the command's output, and leave logging as it was."""
    before, level = structlog.get_config(), logging.getLogger("aiokafka").level
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
    logging.getLogger("aiokafka").setLevel(level)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with standing_in() as running:
        yield running


@pytest.fixture
def state(stand_in: StandIn, tmp_path: Path) -> Path:
    folder = tmp_path / ".estate"
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "emitter.key").write_text(KEY + "\n")
    services = ("registry", "dependencies", "notifications")
    addresses: dict[str, object] = {
        **dict.fromkeys(services, stand_in.url),
        "kafka": None,
        "databases": {},
    }
    (folder / "addresses.json").write_text(json.dumps(addresses))
    return folder


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(state.parent)
    for name in ("URL_REGISTRY", "URL_DEPENDENCIES", "URL_NOTIFICATIONS", "KEY_FILE", "KEYS_FILE"):
        monkeypatch.delenv(f"ESTATE_{name}", raising=False)

    def invoke(*arguments: str, columns: int = 120, stdin: str | None = None) -> Result:
        environment = {"COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"}
        return CliRunner().invoke(app, arguments, env=environment, input=stdin)

    return invoke
