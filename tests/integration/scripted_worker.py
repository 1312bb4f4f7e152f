"""A worker that speaks the protocol and misbehaves as its first argument says."""

from __future__ import annotations

import faulthandler
import math
import mmap
import os
import signal
import sys
import time
from pathlib import Path

from syncd.domain import (
    AudioTrack,
    Coverage,
    Estimate,
    Failure,
    MeasuredSide,
    MediaInfo,
    MethodResult,
    MethodStatus,
    Rate,
    Result,
    Verdict,
)
from syncd.errors import ErrorCode
from syncd.protocol import (
    PROTOCOL_VERSION,
    Failed,
    FrameBuffer,
    Hello,
    MasterReady,
    Measured,
    MeasureRequest,
    Message,
    MethodDone,
    Probed,
    ProbeRequest,
    Progressed,
    Started,
    decode_to_worker,
    encode_frame,
)

MODE, READ_FD, WRITE_FD = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

INFO = MediaInfo("wav", 12.0, (AudioTrack(0, "pcm_s16le", 48000, 2, "stereo"),))
SIDE = MeasuredSide(12.0, 48000, 2, "pcm_s16le", "wav", 0)


def say(message: Message) -> None:
    os.write(WRITE_FD, encode_frame(message))


def result(confidence: float) -> Result:
    estimate = Estimate(-0.5, confidence, 0.1)
    method = MethodResult("correlation", MethodStatus.OK, estimate, 20.0, 0.1)
    return Result(
        master=SIDE,
        dub=SIDE,
        verdict=Verdict.OFFSET,
        review=False,
        consensus=estimate,
        rate=Rate(),
        timeline=(),
        coverage=Coverage(1.0, 1.0),
        candidates=(),
        method_results=(method,),
        overall_confidence=confidence,
        method_agreement=1.0,
        channels_used="mid",
    )


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


EATEN: list[object] = []


def eat_for_ever(task_id: int) -> None:
    try:
        while True:
            # Private memory that nobody touches: it counts against the cap, and costs the machine nothing.
            EATEN.append(mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            say(Progressed(task_id, "decode_dub", len(EATEN), 1000, "Reading"))
    except OSError:
        EATEN.clear()
        say(Failed(task_id, Failure(ErrorCode.OUT_OF_MEMORY, "The analysis ran out of memory.")))
        sys.exit(0)


def vanish_once(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        sys.exit(3)


def compute(end_s: float) -> None:
    while time.monotonic() < end_s:
        sum(range(1000))


def go_astray(request: MeasureRequest) -> None:
    """Die or hang, where that is the mode."""
    if MODE.endswith("_with_model") and request.ai is None:
        return
    if MODE.startswith(("freeze", "compute")):
        say(Progressed(request.task_id, "decode_dub", 5, 100, "Reading"))
    match MODE.removesuffix("_with_model"):
        case "vanish":
            sys.exit(3)
        case "vanish_once":
            vanish_once(Path(os.fsdecode(request.dub_path + b".vanished")))
        case "freeze":
            time.sleep(3600)
        case "freeze_deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        case "eat":
            eat_for_ever(request.task_id)
        case "grow":
            EATEN.append(b"x" * (300 << 20))
        case "compute":
            compute(time.monotonic() + 2.5)
        case "compute_for_ever":
            compute(math.inf)


def measure(request: MeasureRequest) -> None:
    task_id = request.task_id
    confidence = 0.9
    match MODE:
        case "not_a_number":
            estimate = Estimate(float("nan"), 0.5, 0.1)
            say(MethodDone(task_id, MethodResult("correlation", MethodStatus.OK, estimate, float("nan"), 0.1)))
        case "backwards":
            time.sleep(1.1)
            say(Progressed(task_id, "decode", 5, 100, "Reading"))
            time.sleep(1.1)
            say(Progressed(task_id, "decode", 200, 100, "Reading"))
        case "too_sure":
            confidence = 1.5
        case "by_hand":
            Path(os.fsdecode(request.dub_path + b".begun")).touch()
            wait_for(Path(os.fsdecode(request.master_path + b".kept")))
            say(MasterReady(task_id))
            wait_for(Path(os.fsdecode(request.dub_path + b".end")))
        case "noise":
            os.write(WRITE_FD, b"\x00\x00\x00\x05noise")
        case "full_disk":
            say(Failed(task_id, Failure(ErrorCode.DISK_FULL, "There is no space left for scratch files.")))
            return
        case "answer_and_vanish":
            say(Measured(task_id, result(confidence), 10**8, 0, 0.5))
            sys.exit(0)
        case _:
            go_astray(request)
    say(Measured(task_id, result(confidence), 10**8, 0, 0.5))


def main() -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    say(Hello(99 if MODE == "other_version" else PROTOCOL_VERSION, os.getpid(), "cpu"))
    frames = FrameBuffer()
    while chunk := os.read(READ_FD, 65536):
        for body in frames.feed(chunk):
            request = decode_to_worker(body)
            if isinstance(request, ProbeRequest):
                say(Started(request.task_id))
                say(Probed(request.task_id, (INFO, INFO), 10**7))
            elif isinstance(request, MeasureRequest):
                say(Started(request.task_id))
                measure(request)


if __name__ == "__main__":
    main()
