"""The watch over the GPUs, with the real pynvml on a stand-in for the driver (tests/standin)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from syncd.devices import gpu_watch, nvml_child
from syncd.devices.gpu_watch import GpuWatch
from syncd.devices.readings import GpuProcess, Heard, Sharing
from tests.standin.world import LIBRARY, MIB, OUT_OF_MEMORY, Card, Slice, World, three_cards

DEADLINE_S = 30.0
INTERVAL_S = 0.05
FRESH_S = 1.0
LONGEST_POLL_S = 2.0
"""One that waited for a driver would take for ever; starting a process takes some milliseconds, more under load."""


class Watched:
    """A watch, and how long its answers took at most."""

    def __init__(self, watch: GpuWatch) -> None:
        self.watch = watch
        self.longest_s = 0.0

    def poll(self) -> tuple[Heard, ...]:
        began_s = time.monotonic()
        heard = self.watch.poll(began_s)
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)
        return heard

    def until(self, condition: Callable[[tuple[Heard, ...]], object]) -> tuple[Heard, ...]:
        """The first answer for which this is true."""
        end_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < end_s:
            heard = self.poll()
            if condition(heard):
                return heard
            select.select(self.watch.filenos, (), (), 0.02)
        raise AssertionError(f"it did not come true; {self.watch.why_none}; {self.poll()}")

    def all_read(self, count: int = 3) -> tuple[Heard, ...]:
        return self.until(lambda heard: len(heard) == count and are_well(heard))

    @property
    def pid(self) -> int | None:
        return None if self.watch._child is None else self.watch._child.pid


def are_well(heard: tuple[Heard, ...]) -> bool:
    return all(is_well(one) for one in heard)


def is_well(one: Heard) -> bool:
    return one.age_s < FRESH_S and one.reading.trouble is None


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path / "world")
    world.enter(monkeypatch)
    return world


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched(GpuWatch(interval_s=INTERVAL_S, silent_s=1.0))
    yield watched
    watched.watch.stop()
    children = [child for child in psutil.Process().children() if "syncd.devices.nvml_child" in child.cmdline()]
    assert children == []
    assert watched.longest_s < LONGEST_POLL_S


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_three_cards_are_read(world: World, watched: Watched) -> None:
    world.change(1, reserved_mib=264, utilization=37, ecc=2, compute_mode=3, capability=80)
    heard = watched.all_read()
    assert [one.reading.uuid for one in heard] == [card.uuid for card in three_cards()]
    plain, special = heard[0].reading, heard[1].reading
    assert (plain.name, plain.total_bytes, plain.free_bytes) == ("NVIDIA GeForce RTX 2080 Ti", 11264 * MIB, 11264 * MIB)
    assert (plain.compute_capability, plain.sharing, plain.ecc_errors) == ((7, 5), Sharing.ANYBODY, None)
    assert special.total_bytes == special.free_bytes == 11000 * MIB
    assert (special.utilization_percent, special.ecc_errors, special.sharing) == (37, 2, Sharing.ONE_PROCESS)
    assert special.compute_capability == (8, 0)
    assert watched.watch.driver_version == "575.51.03"


def test_a_card_that_hangs_silences_only_itself(world: World, watched: Watched) -> None:
    watched.all_read()
    world.change(1, health="hang")
    watched.until(lambda heard: heard[1].age_s > 2.0 and is_well(heard[0]) and is_well(heard[2]))
    world.change(1, health="ok")
    watched.all_read()


def test_a_card_that_hangs_from_the_start_is_told_of(
    world: World, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.devices.roster.FIRST_WORD_S", 0.5)
    world.change(0, health="hang")
    heard = watched.until(lambda heard: len(heard) == 3 and are_well(heard[1:]))
    assert heard[0].reading.uuid == "card-0"
    world.change(0, health="ok")
    assert watched.all_read()[0].reading.uuid == three_cards()[0].uuid


def test_when_all_hang_the_process_is_killed_and_started_again(
    world: World, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_watch, "FIRST_PAUSE_S", 0.1)
    watched.all_read()
    first = watched.pid
    world.change_all(health="hang")
    heard = watched.until(lambda _: watched.pid not in {first, None})
    assert all(one.age_s > 1.0 for one in heard)
    assert first is not None
    assert not psutil.pid_exists(first)
    world.change_all(health="ok")
    watched.all_read()


def test_each_process_is_started_later_than_the_one_before(
    world: World, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_watch, "FIRST_PAUSE_S", 0.1)
    started_at_s = []
    for _ in range(4):
        watched.until(lambda _: watched.pid is not None)
        started_at_s.append(time.monotonic())
        assert watched.pid is not None
        os.kill(watched.pid, signal.SIGKILL)
        watched.until(lambda _: watched.pid is None)
    pauses_s = [later - earlier for earlier, later in pairwise(started_at_s)]
    assert [pause_s > least_s for pause_s, least_s in zip(pauses_s, [0.1, 0.2, 0.4], strict=True)] == [True] * 3
    assert world.cards


def test_a_lost_card_keeps_its_name_and_comes_back(world: World, watched: Watched) -> None:
    watched.all_read()
    world.change(2, health="lost")
    heard = watched.until(lambda heard: heard[2].reading.trouble and are_well(heard[:2]))
    assert (heard[2].reading.uuid, heard[2].reading.trouble) == (world.cards[2].uuid, "GPU is lost")
    world.change(2, health="reset")
    watched.until(lambda heard: heard[2].reading.trouble == "GPU requires restart")
    world.change(2, health="ok")
    watched.all_read()


def test_while_a_card_is_in_trouble_the_driver_is_asked_afresh(
    world: World, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_watch, "SETTLED_S", 0.2)
    monkeypatch.setattr(gpu_watch, "FIRST_PAUSE_S", 0.2)
    watched.all_read()
    first = watched.pid
    world.change(2, health="lost")
    heard = watched.until(lambda _: watched.pid not in {first, None})
    assert heard[2].reading.uuid == world.cards[2].uuid
    world.change(2, health="ok")
    watched.all_read()


def test_slices_are_read_instead_of_their_card(
    world: World, watched: Watched, stranger: subprocess.Popen[bytes]
) -> None:
    slices = (Slice("MIG-aaaa", 4864), Slice("MIG-bbbb", 9984, "NVIDIA A100-SXM4-40GB MIG 2g.10gb"))
    card = Card("GPU-cccc", 40_960, name="NVIDIA A100-SXM4-40GB", ecc=1, is_cut=True, slices=slices)
    world.set_cards([card, three_cards()[1]])
    world.hold("MIG-bbbb", stranger.pid, 1000)
    first, second, whole = (one.reading for one in watched.all_read())
    assert [one.uuid for one in (first, second, whole)] == ["MIG-aaaa", "MIG-bbbb", three_cards()[1].uuid]
    assert [one.index for one in (first, second, whole)] == [0, 0, 1]
    assert (first.free_bytes, second.free_bytes) == (4864 * MIB, 8984 * MIB)
    assert (first.processes, second.processes) == ((), (GpuProcess(stranger.pid, 1000 * MIB),))
    assert (second.name, second.ecc_errors) == ("NVIDIA A100-SXM4-40GB MIG 2g.10gb", 1)
    world.change(0, slices=())
    (bare, _) = watched.until(lambda heard: len(heard) == 2)
    assert (bare.reading.uuid, bare.reading.trouble) == ("GPU-cccc", "MIG is on, and it is not cut into slices")
    world.change(0, is_cut=False)
    assert watched.all_read(2)[0].reading.uuid == "GPU-cccc"


def test_what_a_stranger_holds_is_seen_until_it_dies(
    world: World, watched: Watched, stranger: subprocess.Popen[bytes]
) -> None:
    world.hold(world.cards[0].uuid, stranger.pid, 3000)
    heard = watched.until(lambda heard: heard and heard[0].reading.processes)
    assert heard[0].reading.processes == (GpuProcess(stranger.pid, 3000 * MIB),)
    assert heard[0].reading.free_bytes == 8264 * MIB
    stranger.kill()
    heard = watched.until(lambda heard: not heard[0].reading.processes)
    assert heard[0].reading.free_bytes == 11264 * MIB


def test_a_process_that_allocates_meets_the_cards_end_and_frees_all_when_it_dies(
    world: World, watched: Watched
) -> None:
    program = (
        "import sys; from tests.standin.world import allocate; uuid = sys.argv[1];"
        "print(allocate(uuid, 8 << 30), allocate(uuid, 8 << 30), flush=True); sys.stdin.read()"
    )
    uuid = world.cards[0].uuid
    with subprocess.Popen(
        [sys.executable, "-c", program, uuid], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["0", str(OUT_OF_MEMORY)]
        heard = watched.until(lambda heard: heard and heard[0].reading.processes)
        assert heard[0].reading.processes == (GpuProcess(process.pid, 8192 * MIB),)
        process.kill()
    watched.until(lambda heard: heard[0].reading.free_bytes == 11264 * MIB)


def test_an_error_of_a_card_is_told_once(world: World, watched: Watched) -> None:
    watched.all_read()
    world.tell_xid(1, 79)
    heard = watched.until(lambda heard: any(one.reading.xids for one in heard))
    assert [one.reading.xids for one in heard] == [(), (79,), ()]
    assert [one.reading.xids for one in watched.poll()] == [(), (), ()]


def test_a_card_that_appears_is_read_and_one_that_disappears_is_gone(world: World, watched: Watched) -> None:
    world.set_cards(three_cards()[:1])
    watched.all_read(1)
    world.set_cards(three_cards())
    watched.all_read(3)
    world.set_cards(three_cards()[:2])
    watched.all_read(2)


def test_without_a_driver_it_says_so_and_stays_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: Watched
) -> None:
    (tmp_path / LIBRARY).touch()  # No library at all, also where a real one is installed.
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert watched.until(lambda _: watched.watch.is_over) == ()
    assert watched.watch.why_none == "There is no NVIDIA driver on this machine."
    assert watched.watch.filenos == ()


def test_a_driver_that_is_loaded_late_is_found(world: World, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_watch, "LONGEST_PAUSE_S", 0.3)
    world.take_driver_away()
    watched.until(lambda _: watched.watch.why_none)
    assert watched.watch.why_none == "The NVIDIA driver does not work: Driver Not Loaded."
    assert not watched.watch.is_over
    world.set_cards(three_cards())
    watched.all_read()
    assert watched.watch.why_none is None


def test_a_driver_that_hangs_altogether_is_said_to_be_silent(
    world: World, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_watch, "FIRST_PAUSE_S", 0.1)
    world.make_driver_hang()
    assert watched.until(lambda _: watched.watch.why_none) == ()
    assert watched.watch.why_none == "The NVIDIA driver does not answer."
    world.set_cards(three_cards())
    watched.all_read()
    assert watched.watch.why_none is None


def test_a_process_that_does_not_die_is_given_up_and_no_more_than_a_few_of_them(
    world: World, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process that no signal reaches stands for one that waits in the driver for ever (state D)."""
    monkeypatch.setattr(gpu_watch, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(gpu_watch, "DYING_S", 0.1)
    stopped: list[int] = []
    kill = os.kill
    monkeypatch.setattr(gpu_watch.os, "kill", lambda pid, number: pid in stopped or kill(pid, number))
    for _ in range(gpu_watch.MOST_DYING):
        watched.all_read()
        assert watched.pid is not None
        stopped.append(watched.pid)
        kill(watched.pid, signal.SIGSTOP)
        watched.until(lambda _: watched.pid not in stopped)
    began_s = time.monotonic()
    watched.until(lambda _: time.monotonic() > began_s + 1.0)
    assert watched.pid is None
    for pid in stopped:
        kill(pid, signal.SIGKILL)
    stopped.clear()
    watched.all_read()
    assert world.cards


def test_the_process_ends_with_the_one_that_started_it_even_while_a_card_hangs(world: World) -> None:
    world.change(0, health="hang")
    program = (
        "import time; from syncd.devices.gpu_watch import GpuWatch; from syncd.telemetry import configure_logs\n"
        "configure_logs(); watch = GpuWatch(interval_s=0.05)\n"
        "while len(watch.poll(time.monotonic())) < 2: time.sleep(0.02)\n"
        "print(watch._child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
    child.wait(timeout=DEADLINE_S)
    assert not child.is_running()


def test_the_process_ends_with_the_status_that_its_docstring_names(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status_when_nobody_reads() == nvml_child.EXIT_READER_GONE == 0
    world.change_all(health="hang")
    assert status_when_nobody_reads(reads_first=True) == nvml_child.EXIT_READER_GONE
    (tmp_path / LIBRARY).touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert status_when_nobody_reads(reads_first=True) == nvml_child.EXIT_NOTHING_TO_ASK == 69


def status_when_nobody_reads(*, reads_first: bool = False) -> int:
    """Of the process alone, told to write into a pipe; `reads_first`: once it has spoken."""
    read_fd, write_fd = os.pipe()
    command = [sys.executable, "-m", "syncd.devices.nvml_child", str(write_fd), "0.05"]
    with subprocess.Popen(command, pass_fds=(write_fd,), stderr=subprocess.PIPE) as process:
        os.close(write_fd)
        if reads_first:
            os.read(read_fd, 1 << 16)
        os.close(read_fd)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert errors == b""
    return process.returncode


def test_only_the_process_that_asks_loads_nvml() -> None:
    program = "import sys, syncd.daemon, syncd.cli.app, syncd.devices.gpu_watch; print('pynvml' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == ["False"]
