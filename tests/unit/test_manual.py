"""Manual pages that any man can show, and completion as shells ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PAGES = sorted((ROOT / "man").rglob("*.?"))
SYNCCTL = Path(sys.executable).parent / "syncctl"
needs_groff = pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not there (package groff-base).")


@needs_groff
def test_the_manual_pages_are_shown_without_a_warning() -> None:
    assert len(PAGES) > 20
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-Tutf8", "-K", "utf8", *PAGES], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_groff
def test_a_manual_page_reads_as_the_help_does() -> None:
    page = ROOT / "man" / "man1" / "syncctl-retry.1"
    shown = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", page], capture_output=True, text=True, check=True
    ).stdout
    for words in (
        "syncctl retry [OPTIONS] [ID]...",
        "--state STATE",
        "EXAMPLES",
        "syncctl retry --state failed",
        "EXIT STATUS",
    ):
        assert words in shown


def completed(shell: str, **words: str) -> list[str]:
    """What the shell is offered; the words are passed as its own script passes them."""
    environment = {**os.environ, "_SYNCCTL_COMPLETE": f"complete_{shell}", **words}
    done = subprocess.run([SYNCCTL], capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert "Traceback" not in done.stderr
    return done.stdout.split()


def test_completion_offers_commands_options_and_their_words() -> None:
    assert completed("bash", COMP_WORDS="syncctl list --st", COMP_CWORD="2") == ["--state"]
    assert completed("bash", COMP_WORDS="syncctl list --state que", COMP_CWORD="3") == ["queued"]


def test_zsh_and_fish_are_offered_the_same_with_what_it_does() -> None:
    assert '(("show":"Show one' in " ".join(completed("zsh", _TYPER_COMPLETE_ARGS="syncctl sh"))
    offered = completed("fish", _TYPER_COMPLETE_ARGS="syncctl sh", _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert offered[:2] == ["show", "Show"]


@pytest.mark.parametrize(("shell", "says"), [("zsh", "#compdef syncctl"), ("fish", "complete ")])
def test_each_shell_gets_the_script_that_the_page_names(shell: str, says: str) -> None:
    assert f"_SYNCCTL_COMPLETE=source_{shell} syncctl" in (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    environment = {**os.environ, "_SYNCCTL_COMPLETE": f"source_{shell}"}
    script = subprocess.run([SYNCCTL], capture_output=True, text=True, check=False, env=environment, timeout=60).stdout
    assert says in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not there.")
def test_bash_completes_by_the_script_itself() -> None:
    lines = (
        f'export PATH="{SYNCCTL.parent}:$PATH"',
        'eval "$(_SYNCCTL_COMPLETE=source_bash syncctl)"',
        "COMP_WORDS=(syncctl sh) COMP_CWORD=1 COMP_LINE='syncctl sh' COMP_POINT=10",
        "_syncctl_completion syncctl sh syncctl",
        'echo "${COMPREPLY[@]}"',
    )
    done = subprocess.run(["bash", "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "show"
