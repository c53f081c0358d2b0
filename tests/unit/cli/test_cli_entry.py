"""Checks the command as a process: its entry, its help, pipes, and the table of commands."""

import json
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from cli.app import COMMANDS, Command, load
from cli.terminal import plain
from tests.unit.cli.stand_in import CHANGES, SERVICES

ROOT = Path(__file__).parents[3]


def estate(folder: Path, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **more.pop("given", {})}
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(  # noqa: S603 - our own command.
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, **more
    )


def test_the_process_answers_in_json(state: Path) -> None:
    result = estate(state.parent, "services", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["items"] == SERVICES
    assert result.stderr == ""


def test_in_a_pipe_each_row_is_one_line_without_colour(state: Path) -> None:
    result = estate(state.parent, "services")
    assert len(result.stdout.splitlines()) == 2 + len(SERVICES) + 1
    assert "\x1b" not in result.stdout


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    result = estate(tmp_path, "services")
    assert result.returncode == 2
    assert "make demo" in result.stderr
    assert "Traceback" not in result.stderr


def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_tail_tells_where_to_go_on(state: Path) -> None:
    command = [sys.executable, "-m", "cli", "tail", "--follow"]
    # A run in the background may have been started deaf to interrupts; its children would be too.
    with subprocess.Popen(  # noqa: S603 - our own command.
        command,
        preexec_fn=hear_interrupts,  # noqa: PLW1509 - it only sets a signal.
        cwd=state.parent,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in CHANGES]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert "service role assigned" in lines[-1]
    assert process.returncode == 130
    assert "--after 2" in errors
    assert "Traceback" not in errors


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys, cli.app\n"
        "try: cli.app.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'pydantic', 'aiokafka', 'markdown_it'} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    result = subprocess.run(  # noqa: S603 - our own command.
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for command in COMMANDS:
        assert f" {command.name} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_of_the_table_can_be_loaded(command: Command) -> None:
    loaded = load(command)
    assert loaded.name == command.name
    assert loaded.help


def test_every_command_but_up_answers_programs() -> None:
    mute = {command.name for command in COMMANDS if not _answers_programs(load(command))}
    assert mute == {"up"}


def _answers_programs(loaded: Any) -> bool:
    commands = getattr(loaded, "commands", {"": loaded}).values()
    return all(any("--json" in option.opts for option in one.params) for one in commands)


def test_the_command_tells_its_version(tmp_path: Path) -> None:
    result = estate(tmp_path, "--version")
    assert (result.returncode, result.stdout) == (0, f"estate {version('estate-registry')}\n")


def test_verify_where_nothing_runs_is_told_in_a_sentence(tmp_path: Path) -> None:
    addresses = {
        "kafka": {"bootstrap": "127.0.0.1:9"},
        "databases": {"registry": "postgresql://a@127.0.0.1:9/registry"},
    }
    (tmp_path / ".estate").mkdir()
    (tmp_path / ".estate" / "addresses.json").write_text(json.dumps(addresses))
    result = estate(tmp_path, "verify")
    assert result.returncode == 1
    assert "Kafka does not answer at 127.0.0.1:9" in result.stderr
    assert "make demo" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_a_database_that_was_not_given_is_told_by_its_variable(tmp_path: Path) -> None:
    given = {
        "REGISTRY_DATABASE_DSN": "postgresql://a@127.0.0.1:9/registry",
        "ESTATE_KAFKA_BOOTSTRAP": "127.0.0.1:9",
    }
    result = estate(tmp_path, "replay", "graph", given=given)
    assert result.returncode == 2
    assert "Set DEPENDENCIES_DATABASE_DSN" in result.stderr
    assert "Traceback" not in result.stderr


CANARY = "canary-7d1f"
WRONG = {
    "ESTATE_URL_REGISTRY": CANARY,
    "ESTATE_URL_DEPENDENCIES": f"ftp://x:{CANARY}",
    "ESTATE_URL_NOTIFICATIONS": f"http://user:{CANARY}@127.0.0.1:9",
    "ESTATE_KEY_FILE": f"/nonexistent/{CANARY}",
    "ESTATE_KAFKA_BOOTSTRAP": "abc",
    "ESTATE_KAFKA_SECURITY_PROTOCOL": CANARY,
    "REGISTRY_DATABASE_DSN": CANARY,
}


@pytest.mark.parametrize("command", [("status",), ("verify",), ("keys", "list")])
def test_every_wrong_setting_is_named_at_once(command: tuple[str, ...], tmp_path: Path) -> None:
    result = estate(tmp_path, *command, given=WRONG)
    assert result.returncode == 2
    first, *found, last = result.stderr.splitlines()
    assert first == "Wrong use: The configuration is wrong:"
    assert sorted(line.split(":")[0].strip() for line in found) == sorted(WRONG)
    assert "docs/configuration.md" in last
    assert CANARY not in result.stdout + result.stderr


def test_a_local_run_is_not_begun_with_wrong_settings(tmp_path: Path) -> None:
    given = {"ESTATE_POSTGRES_DSN": CANARY, "ESTATE_KAFKA_BOOTSTRAP": "abc"}
    result = estate(tmp_path, "up", given=given)
    assert result.returncode == 2
    assert all(f"  {variable}: is not" in result.stderr for variable in given)
    assert CANARY not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_state_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in ("up", "demo"):
        result = estate(tmp_path, command, "--state", "file/state")
        assert result.returncode == 1
        assert "Cannot write the state folder" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_given_kafka_that_does_not_answer_is_told_at_once(tmp_path: Path) -> None:
    given = {
        "ESTATE_POSTGRES_DSN": "postgresql://a:hidden@127.0.0.1:9/postgres",
        "ESTATE_KAFKA_BOOTSTRAP": "127.0.0.1:9",
    }
    result = estate(tmp_path, "up", given=given)
    assert result.returncode == 1
    assert "Failed: Kafka at 127.0.0.1:9 does not answer" in result.stderr
    assert "unset it" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_plain_text_is_one_line_without_controls() -> None:
    assert plain("a\tb\r\nc\x00\x1b[31m\u200b\u2066d\ud800") == "a b c[31md"
    assert plain("Ünïcode — stays") == "Ünïcode — stays"
    assert plain(None) == "-"
