"""The documentation says what the code does: nothing is left out, nothing leads nowhere, and what it shows works."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from syncd.cli.app import application
from syncd.cli.manual import MANUALS, STATUSES
from syncd.config import parse_config
from syncd.daemon import argument_parser
from syncd.devices.health import Change
from syncd.domain import JobState, MethodStatus, OrphanReason, Priority, Role, SegmentKind, Verdict
from syncd.errors import ErrorCode, error_exit_code
from syncd.ledger.records import AttemptOutcome
from syncd.supervisor import estimate
from syncd.watch.naming import NameRules
from tests.docs import commands
from tests.docs.configuration import keys
from tests.docs.pages import DOCS, ROOT, generated

PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
ALL = "".join(TEXTS.values())
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
VERBS = commands.verbs()
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(*kinds: str) -> list[Any]:
    """Every block of code of these kinds, with a name for it."""
    return [
        pytest.param(text, id=f"{name_of(page)}-{number}")
        for page in PAGES
        for number, (kind, text) in enumerate(BLOCK.findall(TEXTS[page]))
        if kind in kinds
    ]


# --- what is made from the code ---------------------------------------------------------------------------------------


def test_what_is_generated_is_as_the_code_has_it() -> None:
    stale = [
        name_of(path)
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run: .venv/bin/python -m tests.docs --write"
    assert set((ROOT / "man").rglob("*.?")) == {path for path in generated() if path.suffix in {".1", ".8"}}


# --- nothing is left out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", keys())
def test_every_key_is_documented_and_stands_in_the_starting_file(key: str) -> None:
    section, _, name = key.rpartition(".")
    if section == "profiles.tolerance":  # A table within a key.
        assert f"{name} = " in TEXTS[DOCS / "configuration.md"]
        return
    assert f"| `{key}` |" in TEXTS[DOCS / "configuration.md"]
    _, _, rest = (ROOT / "config" / "syncd.toml").read_text(encoding="utf-8").partition(f"[{section}")
    assert re.search(rf"^(# )?{name} = ", re.split(r"^\[", rest, flags=re.MULTILINE)[0], re.MULTILINE)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_is_documented(code: ErrorCode) -> None:
    assert f"| `{code.value}` |" in TEXTS[DOCS / "errors.md"]
    assert error_exit_code(code) in STATUSES


@pytest.mark.parametrize("command", [commands.syncd(), commands.syncctl(), *VERBS], ids=lambda one: one.name)
def test_every_command_and_option_is_documented_and_its_help_suffices(command: commands.Command) -> None:
    section = re.split(rf"^##+ {re.escape(command.name)}$", TEXTS[DOCS / "commands.md"], flags=re.MULTILINE)[1]
    section = re.split(r"^##+ ", section, flags=re.MULTILINE)[0]
    for option, says in (*command.arguments, *command.options):
        assert option == "-h, --help" or f"`{option}`".replace("|", "\\|") in section
        assert says.endswith((".", "]"))
    assert command.name in {"syncd", "syncctl"} or command.verb in MANUALS
    assert command.name == "syncctl" or command.examples


def test_the_list_of_commands_fits_a_terminal() -> None:
    assert [verb for verb, manual in MANUALS.items() if len(manual.brief) > 50] == []
    assert set(MANUALS) == {command.verb for command in VERBS}


def events() -> set[str]:
    """What is told in the log, by name."""
    found = {change.value for change in Change}
    for text in (path.read_text(encoding="utf-8") for path in (ROOT / "syncd").rglob("*.py")):
        for node in ast.walk(ast.parse(text)) if "\nlog = " in text else ():
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log")), args=[ast.Constant(value=str(name)), *_]):
                    found.add(name)
    return found


def test_every_event_of_the_log_is_documented_and_no_other() -> None:
    page, known = TEXTS[DOCS / "log.md"], events()
    assert sorted(name for name in known if f"`{name}`" not in page) == []
    told = re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)))
    assert set(told) <= known


def stages() -> set[str]:
    """Of a job, as it tells them live."""
    phases = (*estimate._BEFORE_METHODS, *estimate._METHODS.values(), *estimate._AFTER_METHODS, *estimate._END)
    named = {stage for phase in (*phases, *estimate._MODELS.values()) for stage in phase.stages}
    return named | {f"decode_{role}" for role in Role} | {"start", "decode"}


@pytest.mark.parametrize("stage", sorted(stages()))
def test_every_stage_is_documented(stage: str) -> None:
    assert f"`{stage}`" in TEXTS[DOCS / "questions" / "a-job-is-stuck.md"]


@pytest.mark.parametrize(
    "words", [JobState, Verdict, OrphanReason, SegmentKind, AttemptOutcome, MethodStatus, Priority]
)
def test_every_word_of_the_ledger_and_the_report_is_documented(words: type[StrEnum]) -> None:
    assert [word.value for word in words if f"`{word.value}`" not in ALL] == []


# --- nothing leads nowhere --------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """As hosts of Markdown make them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.is_file(), target
        assert not anchor or anchor in anchors(other), target


def test_the_index_names_every_page() -> None:
    index = DOCS / "index.md"
    named = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", TEXTS[index])}
    assert [name_of(page) for page in DOCS.rglob("*.md") if page.resolve() not in named | {index.resolve()}] == []


HOSTS = frozenset({"github.com", "127.0.0.1", "storage.googleapis.com"})


def test_pages_named_by_commands_and_files_of_the_service_exist() -> None:
    sources = [*(ROOT / "syncd").rglob("*.py"), *(ROOT / "systemd").iterdir(), *(ROOT / "syncd").rglob("*.json")]
    named = {name for path in sources for name in re.findall(r"docs/[a-z/-]+\.md", path.read_text(encoding="utf-8"))}
    assert len(named) > 3
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_nothing_is_named_that_readers_do_not_have() -> None:
    """Addresses are those of projects that are spoken of, and examples' own; files lie where a host keeps them."""
    hosts = {address.partition(":")[0] for address in re.findall(r"https?://([^/\s)>`\"'<]+)", ALL)}
    assert hosts <= HOSTS, sorted(hosts - HOSTS)
    assert re.findall(r"(?<![\w./-])/(?:root/\w|tmp/\w)[\w./-]*", ALL) == []


# --- what is shown works ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", blocks("toml"))
def test_configurations_that_are_shown_are_valid(text: str) -> None:
    parse_config(text, "the page")


@pytest.mark.parametrize("text", blocks("json"))
def test_json_that_is_shown_is_json(text: str) -> None:
    json.loads(text)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_that_is_shown_is_yaml(text: str) -> None:
    assert yaml.safe_load(text)


def test_every_block_says_what_it_is() -> None:
    kinds = {kind for page in PAGES for kind, _ in BLOCK.findall(TEXTS[page])}
    assert kinds <= {"toml", "json", "jsonc", "yaml", "ini", "sh"}


def test_the_naming_rule_that_is_shown_reads_the_names_beside_it() -> None:
    page = TEXTS[DOCS / "configuration.md"]
    (text,) = [text for kind, text in BLOCK.findall(page) if kind == "toml" and "patterns" in text]
    rules = NameRules(patterns=parse_config(text, "the page").watch[0].patterns)
    read = [rules.parse(name) for name in ("Film-OV.wav", "Film-VF-fr.wav")]
    assert all(name in page for name in ("`Film-OV.wav`", "`Film-VF-fr.wav`"))
    assert [(one.title, one.role, one.language) for one in read if one] == [
        ("Film", Role.MASTER, None),
        ("Film", Role.DUB, "fr"),
    ]


class Parsed(Exception):
    """The command line was understood; nothing was done."""


@pytest.fixture(scope="module")
def idle_syncctl() -> Any:
    """The real app, whose commands do nothing but say that they were reached."""

    def reached(*_: Any, **__: Any) -> None:
        raise Parsed

    def silence(command: Any) -> None:
        for one in getattr(command, "commands", {}).values():
            silence(one)
        if not getattr(command, "commands", {}):
            command.callback = reached

    root = typer.main.get_command(application())
    silence(root)
    return root


def command_lines(text: str) -> Iterator[list[str]]:
    """The calls of our own programs in a block for the shell, without what goes before them."""
    for line in text.splitlines():
        for part in re.split(r"&&|\|\||[|;>]", re.sub(r"(^|\s)#.*$", "", line)):
            words = shlex.split(part)
            while words and (words[0] == "sudo" or "=" in words[0]):
                words = words[3:] if words[1:2] == ["-u"] else words[1:]
            if words and Path(words[0]).name in {"syncctl", "syncd", "make"}:
                yield [Path(words[0]).name, *words[1:]]


@pytest.mark.parametrize("text", blocks("sh"))
def test_commands_that_are_shown_are_understood(text: str, idle_syncctl: Any) -> None:
    if shutil.which("bash"):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for program, *arguments in command_lines(text):
        if program == "make":
            assert arguments[0] in MAKE_TARGETS
        elif program == "syncd":
            assert isinstance(argument_parser().parse_args(arguments), argparse.Namespace)
        elif arguments != ["models"]:
            with pytest.raises(Parsed):
                idle_syncctl(arguments, prog_name="syncctl", standalone_mode=False)


def test_command_lines_are_found_behind_what_goes_before_them() -> None:
    text = "sudo -u syncd /opt/x/bin/syncctl show 1 && A=b syncd --check  # syncctl none\ncd /x\n"
    assert list(command_lines(text)) == [["syncctl", "show", "1"], ["syncd", "--check"]]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    known = {command.verb: {left for left, _ in command.options} for command in VERBS}
    for line in re.findall(r"[`'‘](syncctl [a-z][^`'\n]*)[`']", TEXTS[page]):
        words = [word for word in line.split()[1:] if word != "COMMAND"]
        verb = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
        assert verb or not words, line
        options = {name for left in known.get(verb or "", ()) for name in re.findall(r"--[a-z-]+", left)}
        assert {word for word in words if re.fullmatch(r"--[a-z-]+", word)} <= options, line
