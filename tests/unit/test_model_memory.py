from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from syncd.devices.caution import CALM_JOBS, Caution, Tier
from syncd.devices.model_memory import CONTEXT_BYTES, MIN_OBSERVATIONS, predict_vram_bytes, prior_vram_bytes, vram_need
from syncd.domain import MemoryObservation, ModelUse

GIB = 1 << 30
USE = ModelUse("wav2vec2", 378_000_000, "float16", 8, 30.0, "NVIDIA L4")


def seen(use: ModelUse, peak_bytes: int, *, promised: int = 0, ran_out: bool = False) -> MemoryObservation:
    return MemoryObservation("GPU-1", "measure", 0, 0, 600.0, 2, (), promised, peak_bytes, use, ran_out)


def test_the_prior_is_in_the_range_that_such_models_are_known_to_take() -> None:
    assert 1.5 * GIB < prior_vram_bytes(USE) < 4 * GIB


def test_half_precision_takes_half_of_everything_but_the_context() -> None:
    assert prior_vram_bytes(USE) < prior_vram_bytes(replace(USE, dtype="float32")) < 2 * prior_vram_bytes(USE)


def test_without_experience_the_prior_is_promised() -> None:
    assert predict_vram_bytes(USE, []) == prior_vram_bytes(USE)


def test_what_jobs_took_corrects_the_prior_downwards_only_after_a_few() -> None:
    small = seen(USE, prior_vram_bytes(USE) // 2)
    assert predict_vram_bytes(USE, [small] * (MIN_OBSERVATIONS - 1)) >= prior_vram_bytes(USE)
    assert predict_vram_bytes(USE, [small] * MIN_OBSERVATIONS) < 0.6 * prior_vram_bytes(USE)


def test_one_hungry_job_raises_the_promise_at_once() -> None:
    assert predict_vram_bytes(USE, [seen(USE, 2 * prior_vram_bytes(USE))]) > 2 * prior_vram_bytes(USE)


def test_running_out_of_memory_asks_for_a_quarter_more_than_was_promised() -> None:
    promised = prior_vram_bytes(USE)
    assert predict_vram_bytes(USE, [seen(USE, promised, promised=promised, ran_out=True)]) > 1.25 * promised
    fitted = [seen(USE, promised // 2)] * 3
    after = predict_vram_bytes(USE, [seen(USE, promised, promised=promised, ran_out=True), *fitted])
    assert predict_vram_bytes(USE, fitted) < promised < after


def test_another_model_number_format_or_card_teaches_nothing() -> None:
    strangers = [replace(USE, model="yamnet"), replace(USE, dtype="float32"), replace(USE, card="NVIDIA H200")]
    assert predict_vram_bytes(USE, [seen(use, 50 * GIB) for use in strangers]) == prior_vram_bytes(USE)


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]), st.floats(0.1, 3.0))
def test_one_batch_teaches_another_and_context_and_weights_stay_what_they_are(
    taught: int, asked: int, appetite: float
) -> None:
    """What a model takes beyond them is so many times what was guessed, whatever the batch."""

    def needs(batch: int) -> int:
        fixed = CONTEXT_BYTES + USE.weights_bytes // 2
        return int(fixed + appetite * (prior_vram_bytes(replace(USE, batch=batch)) - fixed))

    observations = [seen(replace(USE, batch=taught), needs(taught))] * MIN_OBSERVATIONS
    assert predict_vram_bytes(replace(USE, batch=asked), observations) >= 0.95 * needs(asked)


@given(st.floats(0.2, 3.0), st.integers(0, 30), st.floats(1.0, 1.5))
def test_smaller_batches_are_promised_less(ratio: float, jobs: int, safety: float) -> None:
    need = vram_need(USE, [seen(USE, int(ratio * prior_vram_bytes(USE)))] * jobs, safety=safety)
    assert [batch for batch, _ in need.choices] == [8, 4, 2, 1]
    promises = [promised for _, promised in need.choices]
    assert promises == sorted(promises, reverse=True)
    assert promises[-1] > 0


def test_trouble_makes_careful_at_once_and_calm_only_slowly_bold_again() -> None:
    caution = Caution()
    for tier in (Tier.STABLE, Tier.DEFENSIVE, Tier.MINIMAL, Tier.MINIMAL):
        caution = caution.after_trouble()
        assert caution.tier is tier
    assert caution.most_a_card == 1
    for _ in range(CALM_JOBS - 1):
        caution = caution.after_success()
        assert caution.tier is Tier.MINIMAL
    assert caution.after_success().tier is Tier.DEFENSIVE


def test_trouble_among_calm_jobs_begins_the_row_anew() -> None:
    caution = Caution().after_trouble()
    for _ in range(CALM_JOBS - 1):
        caution = caution.after_success()
    caution = caution.after_trouble()
    assert (caution.tier, caution.calm_jobs) == (Tier.DEFENSIVE, 0)


def test_where_all_is_calm_nothing_changes() -> None:
    assert Caution().after_success() == Caution()
