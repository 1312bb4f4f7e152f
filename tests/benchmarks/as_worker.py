"""What a benchmark does in a process of its own, with the imports of a worker and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import av

from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult, Result
from syncd.protocol import MeasureRequest
from syncd.supervisor.pool import WORKER_ENVIRONMENT
from syncd.worker.measuring import measure_pair

SOUND_METHODS = ("correlation", "mfcc", "onset", "spectral", "chunked", "chroma")
"""Every method but `speech` and the models."""


class Silent:
    """A listener that hears nothing."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


def fresh_process(call: str, *arguments: Path, stdout: int | None = None) -> subprocess.Popen[str]:
    """A call of this module's, of the paths, in the environment of a worker."""
    program = f"import sys; from pathlib import Path; from {__name__} import *; paths = map(Path, sys.argv[1:]); {call}"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, **WORKER_ENVIRONMENT}, stdout=stdout, text=True)


def measured(master: Path, dub: Path, scratch: Path, methods: tuple[str, ...] = SOUND_METHODS) -> Result:
    """One pair, as a worker measures it."""
    settings = AnalysisSettings(methods, TOLERANCES["ebu-r37"])
    paths = os.fsencode(master), os.fsencode(dub)
    return measure_pair(MeasureRequest(1, *paths, None, None, None, settings, os.fsencode(scratch)), Silent()).result


def plain_decode(paths: tuple[Path, Path]) -> float:
    """Seconds of wall time for decoding alone: to 16 kHz mono float, either file in a thread of its own."""

    def decode(path: Path) -> None:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
        with av.open(os.fspath(path)) as container:
            for frame in container.decode(container.streams.audio[0]):
                for resampled in resampler.resample(frame):
                    resampled.to_ndarray()

    started_s = time.monotonic()
    threads = [threading.Thread(target=decode, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started_s


def turns(master: Path, dub: Path, scratch: Path, *, times: int, methods: tuple[str, ...]) -> None:
    """Decoding alone and the measurement, turn by turn; seconds of either, a line a turn, on standard output."""
    for _ in range(times):
        plain_s = plain_decode((master, dub))
        started_s = time.monotonic()
        measured(master, dub, scratch, methods)
        sys.stdout.write(f"{plain_s} {time.monotonic() - started_s}\n")
