"""Owns the table of commands, each loaded from its module when it is used, not before.

Must not import a command's module to list it, so that help is quick.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

ASK: Final = "Ask"
CHANGE: Final = "Change"
RUN: Final = "Run"
KEEP: Final = "Look after"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its function or `typer.Typer` as `module:name`, and its line in the help."""

    name: str
    target: str
    summary: str
    panel: str


COMMANDS: Final = (
    Command("services", "cli.estate_commands:services", "Which services are there?", ASK),
    Command("show", "cli.service_commands:describe", "What is this service?", ASK),
    Command("history", "cli.service_commands:history", "How did it come to be so?", ASK),
    Command("depends", "cli.service_commands:depends", "What depends on what?", ASK),
    Command("owners", "cli.estate_commands:owners", "Who owns how much?", ASK),
    Command("unowned", "cli.estate_commands:unowned", "What has no owner?", ASK),
    Command("organisations", "cli.estate_commands:organisations", "Who is there?", ASK),
    Command("gaps", "cli.estate_commands:gaps", "What is missing in the map?", ASK),
    Command("summary", "cli.estate_commands:summary", "How does the estate stand?", ASK),
    Command("submit", "cli.submit:submit", "Send changes, over HTTP or Kafka.", CHANGE),
    Command("tail", "cli.tail:tail", "What changed, and what changes now?", ASK),
    Command("status", "cli.status:status", "Do the services work, and keep up?", KEEP),
    Command("log", "cli.status:log", "Where do the logs end?", KEEP),
    Command("keys", "cli.keys:app", "Issue, list and revoke keys.", KEEP),
)
"""A new command is one line here."""


def load(command: Command) -> Any:
    """Import a command's module and make the command.

    Raises: ImportError, AttributeError.
    """
    module, _, name = command.target.partition(":")
    target = getattr(import_module(module), name)
    if isinstance(target, typer.Typer):
        made: Any = typer.main.get_group(target)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command()(target)
        made = typer.main.get_command(alone)
    made.name = command.name
    made.rich_help_panel = command.panel
    return made


class LazyGroup(TyperGroup):
    """The root command: knows every name, loads only the command that runs."""

    _helping = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name, in the order of the table."""
        return [*(command.name for command in COMMANDS), *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; for the help only its line."""
        found = next((command for command in COMMANDS if command.name == cmd_name), None)
        if found is None:
            return super().get_command(ctx, cmd_name)
        return _line(found) if self._helping else load(found)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help from the table alone."""
        self._helping = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._helping = False


def _line(command: Command) -> Any:
    return TyperCommand(command.name, help=command.summary, rich_help_panel=command.panel)


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def estate() -> None:
    """The registry of a public body's whole estate of services.

    Tables are for people; [bold]--json[/bold] is for programs. Exit codes: 0 fine, 1 the answer is
    no or something is wrong, 2 wrong use. A local run is found through .estate/, others through
    ESTATE_URL_REGISTRY, ESTATE_URL_DEPENDENCIES, ESTATE_URL_NOTIFICATIONS and ESTATE_KEY_FILE.
    """
