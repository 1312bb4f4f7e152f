from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from syncd.config import (
    Address,
    Config,
    MethodName,
    find_config_path,
    ledger_path_despite_faults,
    load_config,
    parse_config,
)
from syncd.domain import TOLERANCES, Priority, Tolerance
from syncd.errors import ErrorCode, SyncdError

EXAMPLE = Path(__file__).parents[2] / "config" / "syncd.toml"


def faults_of(text: str) -> list[str]:
    with pytest.raises(SyncdError) as caught:
        parse_config(text, "test.toml")
    assert caught.value.code is ErrorCode.CONFIG_INVALID
    faults = caught.value.details["faults"]
    assert isinstance(faults, list)
    return faults


def test_the_example_is_valid_and_says_what_the_defaults_are() -> None:
    config = load_config(EXAMPLE)
    assert config.profiles == Config().profiles
    assert config.workers == Config().workers
    assert config.ledger == Config().ledger


def test_an_empty_file_is_a_configuration_that_watches_nothing() -> None:
    config = parse_config("", "test.toml")
    assert config.watch == ()
    assert config.profiles["default"].to_settings().tolerance == TOLERANCES["ebu-r37"]


def test_every_fault_is_reported_at_once_with_its_key() -> None:
    faults = faults_of(
        """
        colour = "red"
        [ledger]
        paht = "/x"
        [[watch]]
        path = "relative"
        settle_seconds = -1
        [workers]
        cpu_slots = 0
        [profiles.default]
        methods = ["guess"]
        """
    )
    for key in (
        "colour",
        "ledger.paht",
        "watch.0.path",
        "watch.0.settle_seconds",
        "workers.cpu_slots",
        "profiles.default.methods",
    ):
        assert any(fault.startswith(key) for fault in faults), key


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("wach = 3", "wach: unknown key; did you mean watch?"),
        ("colour = 3", "colour: unknown key"),
        ("[workers]\ncpu_slot = 3", "workers.cpu_slot: unknown key; did you mean cpu_slots?"),
        ("[[watch]]\npath = '/x'\nsettle = 1", "watch.0.settle: unknown key; did you mean settle_seconds?"),
        ("[profiles.p]\nmethod = []", "profiles.p.method: unknown key; did you mean methods?"),
        ("[profiles.p.tolerance]\nearly = 1\nearly_ms = 1\nlate_ms = 1", "profiles.p.tolerance.early: unknown key"),
        ("[[watch]]\nrecursive = true", "watch.0.path: is missing"),
        ("[watch]\npath = '/x'", "watch: must be written [[watch]], for there may be several"),
        ("ledger = 3", "ledger: must be a table, not 3"),
        ("[workers]\nmax_attempts = 1.5", "workers.max_attempts: must be a whole number, not 1.5"),
        ("[cache]\nmax_bytes = '8G'", 'cache.max_bytes: must be a whole number, not "8G"'),
        ("[workers]\ncpu_slots = 0", "workers.cpu_slots: must be 'auto' or at least 1, not 0"),
        ("[workers]\ngpu_memory_fraction = 2", "workers.gpu_memory_fraction: must be at most 1, not 2"),
        ("[workers]\nstall_seconds = inf", "workers.stall_seconds: must be a finite number, not inf"),
        ("[workers]\ndevices = [1.5]", "workers.devices.0: must be a whole number or text, in quotes, not 1.5"),
        ("[profiles.p]\nhtml = 'no way'", 'profiles.p.html: must be true or false, not "no way"'),
        ("[profiles.p]\nmethods = []", "profiles.p.methods: must have at least 1"),
        (
            "[profiles.p]\ntolerance = {early_ms = 0, late_ms = 1}",
            "profiles.p.tolerance.early_ms: must be more than 0, not 0",
        ),
        ("[log]\nlevel = 'loud'", "log.level: must be 'debug', 'info', 'warning' or 'error', not \"loud\""),
        ("[cache]\npath = 4", "cache.path: must be a path, in quotes, not 4"),
        ("[handover]\non_complete = 'x'", 'handover.on_complete: must be a list, in square brackets, not "x"'),
        ("[cache]\npath = 'x'", 'cache.path: must be an absolute path, not "x"'),
    ],
)
def test_a_fault_is_told_once_and_in_plain_words(text: str, fault: str) -> None:
    (told,) = faults_of(text)
    assert told.startswith(fault)


def test_a_folder_asks_only_for_profiles_that_exist() -> None:
    faults = faults_of('[[watch]]\npath = "/a"\nprofile = "gentle"\n[[watch]]\npath = "/a"\n')
    assert faults == ["watch.0.profile: there is no [profiles.gentle]", "watch.1.path: /a is named twice"]


@pytest.mark.parametrize(
    "key", ["[workers]\nstall_seconds", "[limits]\nmax_duration_seconds", "[[watch]]\nsettle_seconds"]
)
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_time_is_a_number_that_ends(key: str, value: str) -> None:
    assert any("finite" in fault for fault in faults_of(f"{key} = {value}\n"))


def test_a_fault_in_a_choice_is_told_under_its_key() -> None:
    for fault in faults_of("[profiles.default]\ntolerance = 'tight'\n"):
        assert fault.startswith("profiles.default.tolerance: ")


def test_an_unknown_profile_is_told_even_beside_other_faults() -> None:
    faults = faults_of("[ledger]\ncolour = 1\n[[watch]]\npath = '/a'\nprofile = 'gentle'\n")
    assert [fault.split(":")[0] for fault in faults] == ["ledger.colour", "watch.0.profile"]


@pytest.mark.parametrize("section", ["ledger", "cache"])
def test_paths_are_absolute(section: str) -> None:
    assert faults_of(f"[{section}]\npath = 'here'\n") == [f'{section}.path: must be an absolute path, not "here"']


def test_every_method_can_be_named_and_five_are_run_unless_others_are_named() -> None:
    named = ", ".join(repr(name) for name in get_args(MethodName))
    config = parse_config(f"[profiles.all]\nmethods = [{named}]\n", "t")
    assert config.profiles["all"].to_settings().methods == get_args(MethodName)
    assert config.profiles["default"].methods == ("correlation", "mfcc", "onset", "spectral", "speech")


def test_the_cache_lies_beside_the_ledger_unless_it_is_named() -> None:
    config = parse_config("[ledger]\npath = '/srv/syncd/ledger.db'\n", "t")
    assert config.features_folder == Path("/srv/syncd/cache/features")
    assert config.cache.max_bytes == 8 * 1024**3
    named = parse_config("[cache]\npath = '/var/cache/syncd'\nmax_bytes = 0\n", "t")
    assert named.features_folder == Path("/var/cache/syncd/features")
    assert named.cache.max_bytes == 0
    assert faults_of("[cache]\nmax_bytes = -1\n")[0].startswith("cache.max_bytes")


def test_text_that_is_not_toml_is_one_fault() -> None:
    assert faults_of("[ledger")[0].startswith("not TOML")
    assert "a section is begun once" in faults_of("[metrics]\n[log]\n[metrics]\n")[0]


@pytest.mark.parametrize("pattern", ["(", "(?P<title>.*)"])
def test_a_naming_rule_must_compile_and_have_its_groups(pattern: str) -> None:
    (fault,) = faults_of(f"[[watch]]\npath = '/a'\npatterns = ['{pattern}']\n")
    assert fault.startswith("watch.0.patterns")


def test_a_tolerance_may_be_the_users_own() -> None:
    config = parse_config("[profiles.default]\ntolerance = {early_ms = 10, late_ms = 20}\n", "test.toml")
    assert config.profiles["default"].to_settings().tolerance == Tolerance("custom", 10.0, 20.0)


def test_other_profiles_leave_the_default_one_in_place() -> None:
    config = parse_config("[profiles.quick]\nmethods = ['spectral']\n[[watch]]\npath = '/a'\npriority = 'high'\n", "t")
    assert set(config.profiles) == {"default", "quick"}
    assert config.watch[0].priority is Priority.HIGH


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(SyncdError, match="There is no configuration at"):
        load_config(tmp_path / "none.toml")


LEDGER = '[ledger]\npath = "/data/ledger.db"\n'


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"{LEDGER}[workers]\ncpu_slots = 0\n", "/data/ledger.db"),
        (f"{LEDGER}kep_days = 3\n", "/data/ledger.db"),
        (f"{LEDGER}[workers\n", "/data/ledger.db"),
        (f'[[watch]]\npath = "/srv\n{LEDGER}', "/data/ledger.db"),
        ("[workers]\ncpu_slots = 0\n", "/var/lib/syncd/ledger.db"),
        ("[workers\n# of the ledger\n", "/var/lib/syncd/ledger.db"),
        ('[legder]\npath = "/data/ledger.db"\n', None),
        ('[ledger]\npaht = "/data/ledger.db"\n', None),
        ('[ledger]\npath = "data/ledger.db"\n', None),
        ('[ledger]\npath = "/data/ledger.db\n', None),
        ('[ledger\npath = "/data/ledger.db"\n', None),
        (f"{LEDGER}{LEDGER}", None),
        (f"{LEDGER}[workers]\nledger.path = 3 4\n", None),
        ("ledger = 3\n", None),
    ],
)
def test_beside_faults_the_ledger_is_found_where_the_file_says_so_for_certain(
    text: str, path: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "syncd.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SyncdError):
        load_config(file)
    assert ledger_path_despite_faults(file) == (None if path is None else Path(path))


def test_of_a_file_that_is_not_there_no_ledger_is_known(tmp_path: Path) -> None:
    assert ledger_path_despite_faults(tmp_path / "none.toml") is None


def test_the_option_goes_before_the_variable_and_that_before_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_CONFIG", "/from/variable.toml")
    assert find_config_path(Path("/given.toml")) == Path("/given.toml")
    assert find_config_path(None) == Path("/from/variable.toml")
    monkeypatch.delenv("SYNCD_CONFIG")
    assert find_config_path(None) == Path("/etc/syncd/syncd.toml")


def test_the_ledger_keeps_everything_unless_told_otherwise() -> None:
    assert (Config().ledger.keep_days, Config().ledger.keep_jobs) == (0, 0)
    (fault,) = faults_of("[ledger]\nkeep_days = -1\n")
    assert fault.startswith("ledger.keep_days: ")


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:9419", Address("127.0.0.1", 9419)),
        ("127.1.2.3:1", Address("127.1.2.3", 1)),
        ("localhost:65535", Address("127.0.0.1", 65_535)),
        ("[::1]:9419", Address("::1", 9419)),
        ("", None),
    ],
)
def test_metrics_are_served_on_loopback_or_not_at_all(listen: str, address: Address | None) -> None:
    assert parse_config(f"[metrics]\nlisten = '{listen}'\n", "t").metrics.address == address


@pytest.mark.parametrize(
    "listen",
    [
        "0.0.0.0:9419",
        "[::]:9419",
        "192.168.1.2:9419",
        "example.org:9419",
        ":9419",
        "9419",
        "127.0.0.1",
        "[::1]",
        "*:9419",
    ],
)
def test_an_address_that_others_could_reach_is_refused(listen: str) -> None:
    (fault,) = faults_of(f"[metrics]\nlisten = '{listen}'\n")
    assert fault.startswith("metrics.listen: ")
    assert "no address of this machine alone" in fault


@pytest.mark.parametrize("port", ["0", "65536", "-1", "", "http", "9419 ", "\u0669"])
def test_a_port_is_a_number_that_can_be_listened_on(port: str) -> None:
    (fault,) = faults_of(f"[metrics]\nlisten = '127.0.0.1:{port}'\n")
    assert "needs a port from 1 to 65535" in fault


def test_a_command_is_named_by_an_absolute_path_and_has_its_time() -> None:
    config = parse_config("[handover]\non_complete = ['/bin/true', '$(x)']\n", "t")
    assert config.handover.on_complete == ("/bin/true", "$(x)")
    assert config.handover.on_complete_seconds == 30.0
    assert Config().handover.on_complete == ()
    assert faults_of("[handover]\non_complete = ['notify']\n") == [
        "handover.on_complete: the program must be an absolute path"
    ]
    assert faults_of("[handover]\non_complete_seconds = 0\n")[0].startswith("handover.on_complete_seconds")


@pytest.mark.parametrize("key", ["done", "failed"])
@pytest.mark.parametrize("folder", ["/srv/drop", "/srv/drop/done", "/srv/drop/../drop/x", "/srv"])
def test_files_are_moved_out_of_every_watched_folder_and_into_none(key: str, folder: str) -> None:
    (fault,) = faults_of(f"[[watch]]\npath = '/srv/drop'\n[reports]\n{key} = '{folder}'\n")
    assert fault == f"reports.{key}: {folder} and the watched folder /srv/drop lie one in the other"


def test_a_folder_beside_the_watched_one_takes_what_is_moved() -> None:
    config = parse_config("[[watch]]\npath = '/srv/drop'\n[reports]\ndone = '/srv/dropped'\n", "t")
    assert config.reports.done == Path("/srv/dropped")
