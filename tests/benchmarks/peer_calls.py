"""What `bench_peers` starts in a process of its own, in the tool's environment: ``TOOL MASTER DUB FOLDER``.

Every tool by the call that its own documentation shows. The last line printed is the answer, as JSON: the offsets it
names (its first choice first), the speed (1 where a tool knows none), and how sure it says it is.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]

CANDIDATES = 10
"""Of a list of candidates, as many are counted as its answer."""


def syncd(master: Path, dub: Path, folder: Path) -> Answer:
    """Every method but `speech` and the models."""
    from tests.benchmarks.as_worker import measured  # noqa: PLC0415 - each tool has an environment of its own

    result = measured(master, dub, folder)
    best = result.consensus
    if best is None:
        return {"offsets_s": [], "rate": 1.0, "says": result.verdict.value}
    pieces = [piece.offset_s for piece in result.timeline if piece.offset_s is not None]
    return {
        "offsets_s": sorted(pieces, key=lambda offset_s: abs(offset_s - best.offset_s)),
        "rate": result.rate.ratio if result.rate else 1.0,
        "says": f"{result.verdict.value}, confidence {best.confidence:.3f}",
    }


def audio_offset_finder(master: Path, dub: Path, _: Path) -> Answer:
    """As its README's «Library Usage» has it, without a limit to the length."""
    library = importlib.import_module("audio_offset_finder.audio_offset_finder")
    found = library.find_offset_between_files(str(master), str(dub))
    return {
        "offsets_s": [float(found["time_offset"])],
        "rate": 1.0,
        "says": f"standard score {found['standard_score']:.1f}",
    }


def audalign_correlation(master: Path, dub: Path, _: Path) -> Answer:
    """`align_files` with the recogniser that its README calls more precise."""
    return _aligned("CorrelationRecognizer", None, master, dub)


def audalign_fingerprint(master: Path, dub: Path, _: Path) -> Answer:
    """`align_files` with fingerprints at the accuracy that its README shows, the highest it recommends."""
    return _aligned("FingerprintRecognizer", 3, master, dub)


def _aligned(name: str, accuracy: int | None, master: Path, dub: Path) -> Answer:
    audalign = importlib.import_module("audalign")
    recognizer = getattr(audalign, name)()
    if accuracy is not None:
        recognizer.config.set_accuracy(accuracy)
    found = audalign.align_files(str(master), str(dub), recognizer=recognizer) or {}
    about = found.get("match_info", {}).get(dub.name) or {}
    match = (about.get("match_info") or {}).get(master.name)
    if not match:
        return {"offsets_s": [], "rate": 1.0, "says": "no alignment"}
    ranking = found["rankings"]["match_info"][dub.name][master.name]
    return {
        "offsets_s": [float(offset_s) for offset_s in match["offset_seconds"][:CANDIDATES]],
        "rate": 1.0,
        "says": f"ranking {ranking} of 10, confidence {match['confidence'][0]:g}",
    }


CALLS: dict[str, Callable[[Path, Path, Path], Answer]] = {
    call.__name__: call for call in (syncd, audio_offset_finder, audalign_correlation, audalign_fingerprint)
}

if __name__ == "__main__":
    answer = CALLS[sys.argv[1]](*map(Path, sys.argv[2:5]))
    sys.stdout.write(f"\n{json.dumps(answer)}\n")
