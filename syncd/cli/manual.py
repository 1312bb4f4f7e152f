"""What --help, the manual pages and docs/commands.md say of each command beside its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import syncd

STATUSES: Final[Mapping[int, str]] = {
    0: "all is well",
    1: "it failed, or something is wrong",
    2: "the command line or the configuration is wrong",
    3: "some jobs failed, or some rows of a batch were refused",
    4: "what was asked for does not exist",
    10: "there is no ledger yet",
    11: "the ledger is in use by another syncd",
    12: "the ledger was changed by a newer syncd",
}
"""Of syncd and of every syncctl command; a signal's are 128 and its number."""


@dataclass(frozen=True, slots=True)
class Example:
    """A command line, and what it is for."""

    line: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Manual:
    """One command's."""

    brief: str
    """For the list of commands: a few words."""
    examples: tuple[Example, ...]
    statuses: str = ""
    """What its exit statuses mean beyond the general ones: sentences; empty: no more than those."""

    @property
    def epilog(self) -> str:
        """As --help ends; \\b keeps the lines as they are."""
        lines = ["\b", "Examples:"]
        for example in self.examples:
            lines += [f"  {example.line}", f"      {example.purpose}"]
        return "\n".join(lines) + (f"\n\nExit status: {self.statuses}" if self.statuses else "")


MANUALS: Final[Mapping[str, Manual]] = {
    "list": Manual(
        "List jobs, or files without a partner.",
        (
            Example("syncctl list", "The newest fifty."),
            Example("syncctl list --state failed --state quarantined --since 2d", "What failed of late."),
            Example("syncctl list --review --verdict offset", "Offsets that a person should check."),
            Example("syncctl list --orphans", "Files that wait for a partner, and why."),
        ),
    ),
    "show": Manual(
        "Show one job: report, attempts, history.",
        (
            Example("syncctl show 12", "All that is known of job 12; of a failed attempt also where its worker stood."),
            Example("syncctl show 12 --json", "The same for programs, with the whole report."),
        ),
        "4 there is no such job.",
    ),
    "watch": Manual(
        "Follow what is running, live.",
        (
            Example("syncctl watch", "What runs and the latest jobs, until Ctrl-C."),
            Example("syncctl watch 12", "Job 12 until it ends."),
        ),
        "3 the job failed or was quarantined, 4 there is no such job.",
    ),
    "submit": Manual(
        "Enqueue a pair whatever the files are called.",
        (
            Example("syncctl submit reel1.mov reel1_french.wav --language fr", "A pair with names of its own."),
            Example("syncctl submit film.mxf film.mxf --master-track 0 --dub-track 2", "Two tracks of one file."),
            Example("syncctl submit --batch season2.csv --profile quick", "Many pairs; rows may say otherwise."),
            Example("syncctl submit a.wav b.wav --force", "Measure again what was measured."),
        ),
        "1 the pair was refused (its error says why), 3 some rows of a batch were refused.",
    ),
    "retry": Manual(
        "Start ended jobs anew.",
        (
            Example("syncctl retry 12", "A new job for job 12, which failed."),
            Example("syncctl retry --state failed", "All that failed and were not retried yet."),
            Example("syncctl retry --state failed --code DISK_FULL --since 1d", "Of those what a full disk did today."),
            Example("syncctl retry 12 --force", "Also one that was completed."),
        ),
        "2 a job has not ended, or was completed and --force was not given; 4 there is no such job. Then no job is "
        "retried.",
    ),
    "cancel": Manual(
        "Call jobs off.",
        (
            Example("syncctl cancel 12 13", "Whether they wait or run; what has ended stays as it is."),
            Example("syncctl cancel --state queued --title 'Harbour'", "All that wait of a programme."),
        ),
        "4 one of the jobs does not exist; then none is called off.",
    ),
    "priority": Manual(
        "Rank waiting jobs anew.",
        (
            Example("syncctl priority 12 --to high", "It goes before normal and low ones."),
            Example("syncctl priority --state queued --language de --to high", "All that wait in a language."),
        ),
        "4 one of the jobs does not exist; then none is ranked.",
    ),
    "pause": Manual(
        "Start no more jobs for now.",
        (Example("syncctl pause", "Before work on a disk or a network, say; 'syncctl resume' goes on."),),
    ),
    "resume": Manual("Go on after a pause.", (Example("syncctl resume", "Waiting jobs are started again."),)),
    "prune": Manual(
        "Remove ended jobs from the ledger.",
        (
            Example("syncctl prune --older-than 365", "All that ended more than a year ago."),
            Example("syncctl prune --older-than 90 --keep 10000", "Of those of three months, never the newest 10,000."),
        ),
    ),
    "rebuild": Manual(
        "Make the ledger anew from the reports.",
        (Example("sudo -u syncd syncctl rebuild", "As the service's user, after 'systemctl stop syncd'."),),
        "1 a watched folder could not be read, 11 the daemon runs.",
    ),
    "stats": Manual(
        "How much was done, how long it took.",
        (
            Example("syncctl stats", "Of the last seven days."),
            Example("syncctl stats --since 24h --json", "Of the last day, for programs."),
            Example("syncctl stats --profile music --since 4w", "Of one profile, in four weeks."),
        ),
    ),
    "analyze": Manual(
        "Measure one pair here and now.",
        (
            Example("syncctl analyze master.wav dub.wav", "The report as text; nothing is written."),
            Example("syncctl analyze master.wav dub.wav --json", "The report as the sidecar would have it."),
        ),
        "1 there is no answer: the report's error says why. A verdict of any kind is 0.",
    ),
    "schema": Manual(
        "Print the JSON Schema of the report.",
        (
            Example("syncctl schema", "Of the report beside each dub."),
            Example("syncctl schema list", "Of what 'syncctl list --json' prints."),
        ),
    ),
    "devices": Manual(
        "List the CPU and the GPUs.",
        (Example("syncctl devices", "As the daemon saw them last; asked here and now if it does not run."),),
    ),
    "doctor": Manual(
        "Check the installation, and say what to do.",
        (
            Example("sudo -u syncd syncctl doctor", "With the rights of the service, which are those that count."),
            Example("syncctl doctor --json", "For a monitoring system."),
        ),
        "1 something is wrong; warnings alone are 0.",
    ),
    "install-service": Manual(
        "Place systemd's unit and a configuration.",
        (
            Example("sudo syncctl install-service", "Places the files, and says which commands are left."),
            Example("syncctl install-service --print --gpu", "Only shows them, as for a host with GPUs."),
            Example("syncctl install-service --root image --bin /opt/syncd/bin", "Into an image that is being built."),
        ),
        "2 the caller is not root, or the service could not reach its program.",
    ),
    "models": Manual(
        "Models: which there are, whether they work.",
        (Example("syncctl models", "The same as 'syncctl models list'."),),
    ),
    "models list": Manual(
        "Which are configured, and are they there.",
        (Example("syncctl models list", "One line a model; nothing is loaded."),),
    ),
    "models check": Manual(
        "Whether the files are whole.",
        (
            Example("syncctl models check", "Reads the files whole and tells their checksums."),
            Example("syncctl models check --load --device cuda", "Loads them on the GPU, and lets them hear."),
        ),
        "1 a model that a profile asks for cannot be had.",
    ),
    "models warm": Manual(
        "Load every model once.",
        (Example("sudo -u syncd syncctl models warm", "Fetched where that is allowed, so that no job has to wait."),),
        "1 a model that a profile asks for cannot be had.",
    ),
    "models convert": Manual(
        "Make the YAMNet file that syncd reads.",
        (
            Example(
                "syncctl models convert yamnet.h5 /var/lib/syncd/models/yamnet.safetensors",
                "Then 'systemctl restart syncd'.",
            ),
        ),
        "2 the weights cannot be read or are others.",
    ),
    "export": Manual(
        "Jobs and timelines for other programs.",
        (Example("syncctl export jobs --output jobs.csv", "For a spreadsheet."),),
    ),
    "export jobs": Manual(
        "All jobs, as CSV or JSON lines.",
        (
            Example("syncctl export jobs --since 30d --output november.csv", "A month's, for a spreadsheet."),
            Example("syncctl export jobs --format jsonl --verdict no_match", "One JSON document a line."),
        ),
        "2 the file exists already (it is left alone), 1 it cannot be written.",
    ),
    "export timeline": Manual(
        "A job's timeline: EDL, OTIO, MIDI, CSV.",
        (
            Example("syncctl export timeline 12 --output film.edl", "Where each piece of the dub belongs."),
            Example("syncctl export timeline 12 --format midi -o film.mid", "Markers for Pro Tools or Reaper."),
        ),
        "4 there is no such job, or its report places nothing; 2 the file exists already.",
    ),
}


def docs_folder() -> Path:
    """The documentation: inside the installed package, or beside it in a checkout."""
    package = Path(syncd.__file__).parent
    shipped = package / "share" / "docs"
    return shipped if shipped.is_dir() else package.parent / "docs"
