"""Owns the table of commands, each loaded from its module when it is used, not before.

Must not import a command's module to list it, so that help is quick.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from rich.panel import Panel
from rich.table import Table
from typer.core import TyperGroup

from cli.terminal import show

ASK: Final = "Ask"
CHANGE: Final = "Change"
RUN: Final = "Run"
KEEP: Final = "Look after"


_INTRODUCTION: Final = """\
The registry of a public body's whole estate of services.

Tables are for people; --json is for programs, with every command
but up. Which version: --version.
Exit codes: 0 fine; 1 the answer is no, or something is wrong; 2 wrong use.
A local run is found through .estate/ (or --state), any other through
ESTATE_URL_REGISTRY, ESTATE_URL_DEPENDENCIES, ESTATE_URL_NOTIFICATIONS
and ESTATE_KEY_FILE (or --key-file)."""


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
    Command("keys", "cli.keys:app", "Issue, list and revoke keys, for Kafka too.", KEEP),
    Command("verify", "cli.audit_commands:verify", "Is every log whole and unchanged?", KEEP),
    Command("replay", "cli.audit_commands:replay", "Does history give what is served?", KEEP),
    Command("rebuild", "cli.audit_commands:rebuild", "Make a read model anew.", KEEP),
    Command("up", "cli.up:up", "Run a whole estate on this machine.", RUN),
    Command("import", "cli.demo.import_command:import_", "Import histories into a run.", RUN),
    Command("demo", "cli.demo.command:demo", "Run one, import ten years, ask about it.", RUN),
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

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the framework's signature.
        """Every name, in the order of the table."""
        return [command.name for command in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as above.
        """Load the command; None when there is no such name."""
        found = next((command for command in COMMANDS if command.name == cmd_name), None)
        return None if found is None else load(found)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as above.
        """Print the help from the table alone; the framework's own would load every command."""
        show(f"Usage: {ctx.command_path} COMMAND [--help] ...\n\n{_INTRODUCTION}\n")
        width = max(len(command.name) for command in COMMANDS)
        for panel in dict.fromkeys(command.panel for command in COMMANDS):
            rows = Table.grid(padding=(0, 2))
            rows.add_column(style="bold cyan", width=width)
            for command in COMMANDS:
                if command.panel == panel:
                    rows.add_row(command.name, command.summary)
            show(Panel(rows, title=panel, title_align="left", border_style="dim", width=80))


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        show(f"estate {version('estate-registry')}")
        raise typer.Exit


@app.callback()
def estate(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Ask the registry of a public body's whole estate of services, and look after it."""
