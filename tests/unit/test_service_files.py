from __future__ import annotations

from pathlib import Path

import pytest

from syncd.cli.service_files import (
    Fate,
    Installation,
    decide,
    is_as_placed,
    next_commands,
    service_files,
    why_hidden,
    why_unreachable,
    writable_folders,
)
from syncd.config import Config, parse_config

OPT = Installation(Path("/opt/syncd/bin"))


def text_of(installation: Installation, name: str) -> str | None:
    (found,) = [file.text for file in service_files(installation) if file.path.name == name]
    return found


def test_the_unit_names_the_program_and_the_configuration_wherever_they_lie() -> None:
    unit = text_of(Installation(Path("/usr/lib/syncd/bin"), Path("/srv/etc/s.toml")), "syncd.service") or ""
    assert "\nExecStart=/usr/lib/syncd/bin/syncd --config /srv/etc/s.toml\n" in unit
    assert "\nExecReload=/usr/lib/syncd/bin/syncd --check --config /srv/etc/s.toml\n" in unit
    assert "/opt/syncd" not in unit
    assert "/etc/syncd/syncd.toml" not in unit


@pytest.mark.parametrize(
    ("has_gpu", "has_models", "drop_ins"),
    [(False, False, set()), (False, True, {"50-models.conf"}), (True, True, {"50-gpu.conf"})],
)
def test_which_drop_ins_lie_beside_it_follows_from_the_host(
    has_gpu: bool, has_models: bool, drop_ins: set[str]
) -> None:
    files = service_files(Installation(OPT.programs, has_gpu=has_gpu, has_models=has_models))
    beside = {file.path.name for file in files if file.path.parent.name == "syncd.service.d" and file.text is not None}
    assert beside == drop_ins


def configured(text: str) -> Installation:
    return Installation(OPT.programs, config=parse_config(text, "syncd.toml"))


def test_every_folder_that_the_configuration_writes_to_is_admitted_once() -> None:
    installation = configured(
        """
        [ledger]
        path = "/data/syncd/ledger.db"
        [[watch]]
        path = "/srv/drop/here"
        [[watch]]
        path = "/mnt/delivery"
        [[watch]]
        path = "/mnt/delivery/late"
        [[watch]]
        path = '/mnt/50 % "off" \\'
        [reports]
        done = "/srv/done"
        fallback = "/var/lib/syncd/reports"
        """
    )
    drop_in = text_of(installation, "50-folders.conf") or ""
    assert drop_in.splitlines()[2:] == [
        "[Service]",
        'ReadWritePaths="-/data/syncd"',
        r'ReadWritePaths="-/mnt/50 %% \"off\" \\"',
        'ReadWritePaths="-/mnt/delivery"',
        'ReadWritePaths="-/srv/done"',
    ]


def test_a_folder_that_no_unit_could_name_or_see_is_left_out_of_it() -> None:
    installation = configured('watch = [{path = "/mnt/a\\n[Service]\\nUser=root"}, {path = "/home/ann/dubs"}]')
    assert text_of(installation, "50-folders.conf") is None
    assert [why_hidden(folder) is None for folder in writable_folders(installation.config or Config())] == [False] * 2


@pytest.mark.parametrize(
    ("text", "drop_ins"),
    [
        ("", set()),
        ('metrics.listen = "127.0.0.1:9419"', {"50-metrics.conf"}),
        ("ai.allow_download = true", {"50-hub.conf"}),
    ],
)
def test_the_network_is_opened_as_far_as_the_configuration_asks(text: str, drop_ins: set[str]) -> None:
    beside = {
        file.path.name
        for file in service_files(configured(text))
        if file.path.parent.name == "syncd.service.d" and file.text is not None
    }
    assert beside == drop_ins


def test_the_starting_configuration_is_valid_with_its_first_line() -> None:
    config = parse_config(text_of(OPT, "syncd.toml") or "", "syncd.toml")
    assert [str(section.path) for section in config.watch] == ["/srv/drop"]


def test_every_file_is_recognised_as_placed_until_a_character_of_it_changes() -> None:
    for file in service_files(OPT):
        if file.text is not None:
            assert is_as_placed(file.text)
            assert not is_as_placed(file.text + "\n")
            assert not is_as_placed(file.text.replace("syncd", "Syncd", 1))


OLD, NEW, EDITED = (
    text_of(Installation(Path(folder)), "syncd.service") for folder in ("/opt/a/bin", "/opt/b/bin", "/c")
)
EDITED = f"{EDITED}# by hand\n"


@pytest.mark.parametrize(
    ("present", "wanted", "force", "fate"),
    [
        (None, NEW, False, Fate.PLACED),
        (NEW, NEW, True, Fate.UNCHANGED),
        (OLD, NEW, False, Fate.UPDATED),
        (EDITED, NEW, False, Fate.KEPT),
        (EDITED, NEW, True, Fate.REPLACED),
        ("[Service]\n", NEW, False, Fate.KEPT),
        (OLD, None, False, Fate.REMOVED),
        (EDITED, None, False, Fate.KEPT),
        (EDITED, None, True, Fate.REMOVED),
    ],
)
def test_only_what_nobody_edited_is_replaced_without_force(
    present: str | None, wanted: str | None, force: bool, fate: Fate
) -> None:
    assert decide(present, wanted, force=force) is fate


@pytest.mark.parametrize(
    "path", ["/root/venv/bin", "/home/ann/venv/bin", "/run/user/0/x", "/opt/my venv/bin", "/opt/%h", "bin"]
)
def test_a_program_that_the_service_could_not_reach_is_told(path: str) -> None:
    assert why_unreachable(Path(path))


def test_a_program_in_opt_or_usr_is_reached() -> None:
    assert why_unreachable(Path("/opt/syncd/bin")) is None
    assert why_unreachable(Path("/usr/lib/python3.11/site-packages")) is None


def test_for_an_image_the_next_commands_name_its_root() -> None:
    assert all("--root=/mnt/image " in command for command in next_commands(Path("/mnt/image")))
    assert "daemon-reload" in next_commands(Path("/"))[1]


def test_folders_that_files_are_moved_to_are_made_before_the_service_is_started() -> None:
    _, made, started = next_commands(Path("/"), [Path("/srv/done"), Path("/srv/not done")])
    assert made == "install -d -o syncd -g syncd -m 2775 /srv/done '/srv/not done'"
    assert "restart" in started
