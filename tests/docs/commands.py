"""The commands as their own --help has them: for docs/commands.md and the manual pages."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from syncd.cli.app import application
from syncd.cli.manual import MANUALS, STATUSES, Example
from syncd.cli.schema import shapes
from syncd.daemon import argument_parser
from tests.docs.wording import NOTE, linked, table

Row = tuple[str, str]


@dataclass(frozen=True)
class Command:
    """One command, or a group of them."""

    name: str
    """``syncctl list``."""
    usage: str
    help: tuple[str, ...]
    """Paragraphs."""
    arguments: tuple[Row, ...]
    options: tuple[Row, ...]
    examples: tuple[Example, ...] = ()
    statuses: str = ""
    is_group: bool = False

    @property
    def verb(self) -> str:
        return self.name.partition(" ")[2]


def syncctl() -> Command:
    """The program itself, with the options that go before any command."""
    return _read(typer.main.get_command(application()), "syncctl", None)


def verbs() -> tuple[Command, ...]:
    """All commands of syncctl, those of groups behind them, in the order of --help."""
    root: Any = typer.main.get_command(application())
    return tuple(_verbs(root, "syncctl", _context(root, "syncctl", None)))


def _verbs(group: Any, name: str, context: Any) -> Iterator[Command]:
    for verb, command in group.commands.items():
        yield _read(command, f"{name} {verb}", context)
        if hasattr(command, "commands"):
            yield from _verbs(command, f"{name} {verb}", _context(command, verb, context))


HELP = "-h, --help"


def _context(command: Any, name: str, parent: Any) -> Any:
    return command.make_context(name, [], parent=parent, resilient_parsing=True)


def _read(command: Any, name: str, parent: Any) -> Command:
    context = _context(command, name.rpartition(" ")[2], parent)
    arguments, options = [], []
    for param in command.params:
        record = param.get_help_record(context)
        if record is None:
            continue
        left, right = record
        if param.param_type_name == "argument":
            arguments.append((re.sub(r" <.*>$", "", left), _plain(right)))
        else:
            options.append((left, _plain(right)))
    options += [(HELP, "Show this message and exit.")]
    verb = name.partition(" ")[2]
    manual = MANUALS.get(verb)
    return Command(
        name=name,
        usage=" ".join([name, *command.collect_usage_pieces(context)]).replace("{", "").replace("}", ""),
        help=tuple(" ".join(part.split()) for part in (command.help or "").split("\n\n")),
        arguments=tuple(arguments),
        options=tuple(options),
        examples=manual.examples if manual else (),
        statuses=manual.statuses if manual else "",
        is_group=hasattr(command, "commands"),
    )


def _plain(text: str) -> str:
    """Bounds as people say them; that something is required says the usage."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(-?\d+)<=x<=(\d+)", r"\1 to \2", text)
    return text.replace("  [required]", "").replace(" [required]", "")


def syncd() -> Command:
    """The daemon."""
    parser = argument_parser()
    options = tuple(
        (
            ", ".join(action.option_strings)
            + (f" {action.metavar or '|'.join(map(str, action.choices or ()))}" if action.nargs != 0 else ""),
            str(action.help),
        )
        for action in parser._actions
        if action.help is not argparse.SUPPRESS
    )
    return Command(
        "syncd", "syncd [OPTIONS]", (str(parser.description),), (), options, DAEMON_EXAMPLES, DAEMON_STATUSES
    )


DAEMON_EXAMPLES = (
    Example("syncd --config /etc/syncd/syncd.toml", "In the foreground, as the unit starts it."),
    Example("syncd --check", "Try the configuration, and name every fault."),
    Example("syncd --once --config my.toml", "Measure what lies in the folders, and end."),
)
DAEMON_STATUSES = (
    "1 it could not start or go on (its last line says why), or --once was broken off, met a missing folder or a "
    "paused ledger; 2 the configuration is wrong; 3 with --once: a job failed; 11 another syncd has the ledger; "
    "12 a newer syncd has changed it."
)
SIGNALS: tuple[Row, ...] = (
    ("TERM, INT", "Start no more jobs, hand running ones back, and end within five seconds; a second one: at once."),
    ("HUP", "Take a changed configuration over, all or nothing."),
)

HEAD = """\
# Commands

`syncd` is the daemon; `syncctl` looks into its ledger and steers its jobs. Both say the same with `--help`, and as
manual pages (`man syncctl`, `man syncctl-list`; [installing](installing.md#commands-manual-pages-completion) says how
`man` finds them).

Every command takes `--config FILE`; without it `$SYNCD_CONFIG` counts, then `/etc/syncd/syncd.toml`. Every command
takes `--json`, unless it writes a format of its own: one document on one line, in the shape that [JSON](json.md) has.
People who call them are in the service's group (`syncd`).

Commands that change something (`submit`, `retry`, `cancel`, `priority`, `pause`, `resume`, `prune`) leave a request in
the ledger, which the daemon carries out within a second. If it does not run, the request is kept and carried out when
it does; `prune` then does it itself.

## Exit statuses

The same for all; [errors](errors.md) has the codes behind them. A signal ends a command with 128 and its number
(Ctrl-C: 130).

"""


def page() -> str:
    """docs/commands.md."""
    parts = [NOTE.format("syncd/cli"), HEAD]
    parts.append(table(("status", "means"), [(f"`{number}`", what) for number, what in STATUSES.items()]))
    parts += [_section(syncd(), level=2), "\nSignals:\n\n", table(("signal", "does"), list(SIGNALS))]
    parts.append(_section(syncctl(), level=2))
    shaped: dict[str, str] = {}
    for name in shapes()["commands"]:
        shaped.setdefault(name.split(" --")[0], name)
    parts += [
        _section(verb, level=2 if verb.name.count(" ") == 1 else 3, shaped=shaped.get(verb.verb)) for verb in verbs()
    ]
    return "".join(parts)


def _section(command: Command, *, level: int, shaped: str | None = None) -> str:
    parts = [f"\n{'#' * level} {command.name}\n\n"]
    parts += [f"{paragraph}\n\n" for paragraph in command.help]
    parts.append(f"    {command.usage}\n\n")
    rows = [(f"`{left}`", linked(right)) for left, right in (*command.arguments, *command.options) if left != HELP]
    if rows:
        parts.append(table(("option", "does"), rows) + "\n")
    if command.examples:
        width = max(len(example.line) for example in command.examples) + 2
        lines = "".join(f"{example.line:<{width}}# {example.purpose}\n" for example in command.examples)
        parts.append(f"```sh\n{lines}```\n\n")
    if command.statuses:
        parts.append(f"Exit status: {command.statuses}\n\n")
    if shaped:
        option = shaped.removeprefix(command.verb).strip() if "--format" in shaped else "--json"
        parts.append(f"`{option}`: [its shape](json.md#syncctl-{shaped.replace(' ', '-')}).\n")
    return "".join(parts).rstrip("\n") + "\n"
