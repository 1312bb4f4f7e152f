"""A case of most kinds of the corpus through the whole analysis, judged as the benchmark judges all of them.

Shorter than the benchmark's where the case lies in one piece; edits, speeds and stretched dubs are measured in
test_correction_conform.py, dialogue alone for the most part in test_speech.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.as_worker import SOUND_METHODS, measured
from tests.benchmarks.bench_corpus import EVERY_METHOD
from tests.material.corpus import corpus, write_case
from tests.material.judging import judge
from tests.material.kinds.start import in_one_piece, offset_of
from tests.material.recipes import Case

SECONDS = 45.0
IN_ONE_PIECE = (
    *("dirty", "quiet_bed", "minimum_eq", "sample_rates", "mono", "polarity"),
    *("remixed", "reverb", "lossy", "5.1"),
)
AS_IT_IS = ("clip", "loops", "nothing", "unrelated_hard")


def case_of(kind: str) -> Case:
    (case,) = corpus([kind], 1)
    return in_one_piece(replace(case, duration_s=SECONDS), offset_of(case)) if kind in IN_ONE_PIECE else case


@pytest.mark.parametrize("kind", [*IN_ONE_PIECE, *AS_IT_IS])
def test_a_case_of_the_corpus_is_answered_within_the_aim_of_its_kind(tmp_path: Path, kind: str) -> None:
    files = write_case(case_of(kind), tmp_path)
    outcome = judge(files.truth, measured(files.master_path, files.dub_path, tmp_path, SOUND_METHODS))
    assert outcome.hold, outcome.why
    assert not outcome.false_offset


def test_dialogue_alone_made_for_another_frame_rate_is_placed_though_its_onsets_tell_the_speed_wrongly(
    tmp_path: Path,
) -> None:
    case = corpus(["dialogue_speed"], 2)[1]
    files = write_case(case, tmp_path)
    outcome = judge(files.truth, measured(files.master_path, files.dub_path, tmp_path, EVERY_METHOD))
    assert outcome.hold, outcome.why
