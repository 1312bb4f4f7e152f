"""The configuration: one TOML file, checked whole before anything starts.

Unknown keys are refused, and every fault is reported at once with its key.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from syncd.domain import TOLERANCES, AnalysisSettings, Priority, Tolerance
from syncd.errors import ErrorCode, SyncdError

DEFAULT_CONFIG_PATH: Final = Path("/etc/syncd/syncd.toml")
CONFIG_VARIABLE: Final = "SYNCD_CONFIG"
_BRANCHES: Final = frozenset({"CustomTolerance", "int", "str"})

MethodName = Literal["correlation", "mfcc", "onset", "spectral", "chunked", "speech", "chroma"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    if "\0" in str(path):
        raise ValueError("must not contain a NUL character")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


class LedgerSection(_Section):
    """[ledger]: where jobs are recorded."""

    path: AbsolutePath = Path("/var/lib/syncd/ledger.db")
    """The SQLite file; on a local disk. Backups lie beside it."""
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """For how long ended jobs are kept; 0: for ever. Those of files that still lie there are always kept."""
    keep_jobs: Annotated[int, Field(ge=0, le=2**31)] = 0
    """How many ended jobs are kept; with `keep_days` too, the newest so many however old. 0: all."""


class WatchSection(_Section):
    """[[watch]]: one folder into which people drop files."""

    path: AbsolutePath
    """The folder."""
    recursive: bool = True
    """Whether folders below it count too."""
    settle_seconds: Annotated[float, Field(ge=0.0, le=3600.0)] = 5.0
    """How long a file must lie unchanged before it counts as complete."""
    orphan_after_seconds: Annotated[float, Field(ge=0.0)] = 3600.0
    """After how long a file without partner is listed as an orphan."""
    rescan_seconds: Annotated[float, Field(ge=1.0, le=3600.0)] = 60.0
    """How often the whole folder is read again, for what events missed; large ones less often, so that it takes no
    more than some 2 % of a core."""
    incomplete_after_seconds: Annotated[float, Field(ge=0.0)] = 300.0
    """After how long an empty file, or one shorter than its header promises, is passed on as it is, to fail by name."""
    polling: Literal["auto", "always", "never"] = "auto"
    """Whether to poll instead of listening for events; auto: on network and FUSE file systems."""
    patterns: tuple[str, ...] = ()
    """Extra naming rules: regular expressions with the groups title, role and lang."""
    profile: str = "default"
    """The profile of the jobs found here."""
    priority: Priority = Priority.NORMAL
    """The priority of the jobs found here."""

    @field_validator("patterns")
    @classmethod
    def _compilable(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                groups = re.compile(pattern).groupindex
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
            if not {"title", "role"} <= set(groups):
                raise ValueError(f"{pattern!r} needs the named groups title and role")
        return patterns


class CustomTolerance(_Section):
    """A tolerance of the user's own."""

    early_ms: Annotated[float, Field(gt=0.0)]
    late_ms: Annotated[float, Field(gt=0.0)]


class ProfileSection(_Section):
    """[profiles.NAME]: how jobs are analysed."""

    methods: Annotated[tuple[MethodName, ...], Field(min_length=1)] = (
        "correlation",
        "mfcc",
        "onset",
        "spectral",
        "speech",
    )
    """Which methods are run."""
    ai: Literal["off", "auto", "wav2vec2", "yamnet", "spectral-embedding"] = "off"
    """Which model confirms them."""
    tolerance: Literal["ebu-r37", "itu-bt1359", "atsc-is191"] | CustomTolerance = "ebu-r37"
    """What still counts as in sync."""
    confidence_threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    """Below it the report asks for a person's look."""
    html: bool = True
    """Whether a page is written beside the JSON report."""

    def to_settings(self) -> AnalysisSettings:
        """The values as a job keeps them."""
        tolerance = (
            Tolerance("custom", self.tolerance.early_ms, self.tolerance.late_ms)
            if isinstance(self.tolerance, CustomTolerance)
            else TOLERANCES[self.tolerance]
        )
        return AnalysisSettings(self.methods, tolerance, self.confidence_threshold, self.ai, self.html)


class AiSection(_Section):
    """[ai]: where models lie."""

    wav2vec2: str = "/var/lib/syncd/models/wav2vec2-base"
    """A directory, or a hub name if downloads are allowed."""
    yamnet: AbsolutePath = Path("/var/lib/syncd/models/yamnet.safetensors")
    """What `syncctl models convert` makes of the published weights."""
    allow_download: bool = False
    """Whether models may be fetched from the hub."""


class WorkersSection(_Section):
    """[workers]: what measures, and within which limits."""

    devices: Literal["auto", "cpu"] | tuple[int | str, ...] = "auto"
    """auto, cpu, or a list of GPU indices or UUIDs."""
    gpu_memory_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75
    """The share of each card's memory that syncd may use."""
    cpu_slots: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """How many jobs may run on the CPU at once; auto: half the cores."""
    stall_seconds: Annotated[float, Field(ge=1.0)] = 120.0
    """After how long without progress a worker counts as hung."""
    job_seconds: Annotated[float, Field(ge=1.0)] = 7200.0
    """After how long a job is ended whatever it does."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a job is tried when the machinery fails."""


class LimitsSection(_Section):
    """[limits]: what is refused."""

    max_queued: Annotated[int, Field(ge=1)] | None = None
    """Jobs waiting at most; further pairs wait in their folder until there is room."""
    max_file_bytes: Annotated[int, Field(ge=1)] | None = None
    """A larger file gets a failed job."""
    max_duration_seconds: Annotated[float, Field(gt=0.0)] | None = None
    """A longer programme gets a failed job."""


class CacheSection(_Section):
    """[cache]: where workers keep scratch files and features."""

    path: AbsolutePath | None = None
    """The folder; on a disk, not in memory. None: `cache` beside the ledger."""
    max_bytes: Annotated[int, Field(ge=0)] = 8 << 30
    """How much the features of masters may take; 0: none are kept. Scratch files are not counted."""


class ReportsSection(_Section):
    """[reports]: where reports go besides their media's folder."""

    fallback: AbsolutePath | None = None
    """Where reports go when the media's folder cannot be written to."""
    done: AbsolutePath | None = None
    """Where the files of completed jobs are moved; None: they stay."""
    failed: AbsolutePath | None = None
    """Where those of failed and quarantined jobs are moved; None: they stay."""
    index: bool = True
    """Whether every watched folder has a page that lists its reports, `index.sync.html`."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address of loopback, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MetricsSection(_Section):
    """[metrics]: Prometheus."""

    listen: str = ""
    """Address and port on loopback; empty: off."""

    @field_validator("listen")
    @classmethod
    def _on_loopback(cls, listen: str) -> str:
        parse_address(listen)
        return listen

    @property
    def address(self) -> Address | None:
        """Where metrics are served; None: nowhere."""
        return parse_address(self.listen)


def parse_address(listen: str) -> Address | None:
    """``127.0.0.1:9419``, ``[::1]:9419`` or ``localhost:9419``; None where it is empty. Raises `ValueError`."""
    if not listen:
        return None
    host, colon, port = listen.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not (colon and is_loopback):
        raise ValueError(f"{listen!r} is no address of this machine alone, such as 127.0.0.1:9419 or [::1]:9419")
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
        raise ValueError(f"{listen!r} needs a port from 1 to 65535 behind the colon")
    return Address(host, int(port))


class LogSection(_Section):
    """[log]: what is told."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class HandoverSection(_Section):
    """[handover]: what is run for a job that has ended."""

    on_complete: tuple[str, ...] = ()
    """The command and its arguments, without a shell; empty: none."""
    on_complete_seconds: Annotated[float, Field(gt=0.0, le=86_400.0)] = 30.0
    """How long it may take."""

    @field_validator("on_complete")
    @classmethod
    def _runnable(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if argv and not argv[0].startswith("/"):
            raise ValueError("the program must be an absolute path")
        if any("\0" in argument for argument in argv):
            raise ValueError("must not contain a NUL character")
        return argv


class Config(_Section):
    """The whole file."""

    ledger: LedgerSection = LedgerSection()
    watch: tuple[WatchSection, ...] = ()
    profiles: dict[str, ProfileSection] = Field(default_factory=lambda: {"default": ProfileSection()})
    ai: AiSection = AiSection()
    workers: WorkersSection = WorkersSection()
    limits: LimitsSection = LimitsSection()
    cache: CacheSection = CacheSection()
    reports: ReportsSection = ReportsSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    handover: HandoverSection = HandoverSection()

    @model_validator(mode="before")
    @classmethod
    def _default_profile_always_exists(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(profiles := raw.get("profiles"), dict) and "default" not in profiles:
            return {**raw, "profiles": {**profiles, "default": {}}}
        return raw

    def profile(self, name: str) -> ProfileSection:
        """The profile of that name; the default one if it is no longer there."""
        return self.profiles.get(name) or self.profiles["default"]

    @property
    def cache_folder(self) -> Path:
        """Where scratch files and features lie."""
        return self.cache.path or self.ledger.path.parent / "cache"

    @property
    def features_folder(self) -> Path:
        """Where the features of masters are kept."""
        return self.cache_folder / "features"


def parse_config(text: str, origin: str) -> Config:
    """Read a configuration; raises `SyncdError` CONFIG_INVALID with every fault in `details["faults"]`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _invalid(origin, [f"not TOML: {error}"]) from error
    config, faults = None, []
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        faults = list(dict.fromkeys(_fault(item["loc"], item["msg"]) for item in error.errors()))
    faults += _faults_between_sections(raw)
    if config is None or faults:
        raise _invalid(origin, faults)
    return config


def load_config(path: Path) -> Config:
    """Read and check the file; raises `SyncdError` CONFIG_INVALID."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SyncdError(ErrorCode.CONFIG_INVALID, f"There is no configuration at {path}.") from error
    except UnicodeDecodeError as error:
        raise _invalid(str(path), [f"not UTF-8: {error}"]) from error
    except OSError as error:
        raise SyncdError(ErrorCode.CONFIG_INVALID, f"{path} cannot be read: {error.strerror}.") from error
    return parse_config(text, str(path))


def find_config_path(given: Path | None) -> Path:
    """The file that holds: --config, then $SYNCD_CONFIG, then /etc/syncd/syncd.toml."""
    if given is not None:
        return given
    return Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG_PATH)


def _faults_between_sections(raw: dict[str, Any]) -> list[str]:
    """What no section can see alone (unknown profiles, folders named twice), told even if a section is at fault."""
    watches, profiles = raw.get("watch"), raw.get("profiles")
    known = {"default", *(profiles if isinstance(profiles, dict) else ())}
    faults: list[str] = []
    seen: set[str] = set()
    for i, watch in enumerate(watches if isinstance(watches, list) else ()):
        if not isinstance(watch, dict):
            continue
        profile, path = watch.get("profile"), watch.get("path")
        if isinstance(profile, str) and profile not in known:
            faults.append(f"watch.{i}.profile: there is no [profiles.{profile}]")
        if isinstance(path, str):
            if os.path.normpath(path) in seen:
                faults.append(f"watch.{i}.path: {path} is named twice")
            seen.add(os.path.normpath(path))
    return faults + _faults_of_moving(raw.get("reports"), seen)


def _faults_of_moving(reports: Any, watched: set[str]) -> list[str]:
    """A pair that is moved must leave every watched folder, and must not arrive in another."""
    faults: list[str] = []
    for key in ("done", "failed"):
        told = reports.get(key) if isinstance(reports, dict) else None
        if not isinstance(told, str):
            continue
        folder = Path(os.path.normpath(told))
        faults += [
            f"reports.{key}: {told} and the watched folder {path} lie one in the other"
            for path in map(Path, sorted(watched))
            if folder == path or folder in path.parents or path in folder.parents
        ]
    return faults


def _fault(location: tuple[int | str, ...], message: str) -> str:
    # Of a union pydantic names the branch that it tried; to a person that is no key.
    keys = [str(part) for part in location if not (part in _BRANCHES or "[" in str(part))]
    return f"{'.'.join(keys)}: {message[0].lower()}{message[1:]}"


def _invalid(origin: str, faults: list[str]) -> SyncdError:
    listed = "; ".join(faults)
    return SyncdError(ErrorCode.CONFIG_INVALID, f"{origin} is not valid: {listed}.", {"faults": faults})
