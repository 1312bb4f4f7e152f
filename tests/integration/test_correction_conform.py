"""Dubs at other speeds and with edits, corrected by the command of their report and measured again."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest

from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult, Rate, Result, Segment, SegmentKind, Verdict
from syncd.protocol import MeasureRequest
from syncd.reports.correction import correction
from syncd.worker.measuring import measure_pair
from tests.material.corpus import corpus, write_case
from tests.material.kinds.start import in_one_piece, offset_of
from tests.material.recipes import Case
from tests.material.report_examples import SIDE, result

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RATE_HZ = 48_000
FADE_SAMPLES = 240

Samples = npt.NDArray[np.int32]


class Silent:
    """A listener that hears nothing."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


def measured(master: Path, dub: Path) -> Result:
    settings = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
    scratch = os.fsencode(master.parent)
    request = MeasureRequest(1, os.fsencode(master), os.fsencode(dub), None, None, None, settings, scratch)
    return measure_pair(request, Silent()).result


def case_of(kind: str, number: int) -> Case:
    return corpus([kind], number + 1)[number]


def shorter(case: Case, duration_s: float) -> Case:
    """A case in one piece, of another length."""
    return in_one_piece(replace(case, duration_s=duration_s), offset_of(case), rate=case.speed.rate)


def run(told: dict[str, Any] | None) -> Path:
    assert told is not None
    subprocess.run([FFMPEG, *told["argv"][1:]], check=True, capture_output=True)
    return Path(told["output"])


def corrected(folder: Path, case: Case) -> tuple[Result, Result]:
    """What is measured of the dub as it comes, and of the corrected one."""
    written = write_case(case, folder)
    before = measured(written.master_path, written.dub_path)
    return before, measured(written.master_path, run(correction(before, written.dub_path)))


@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_dub_that_was_played_at_another_speed_lies_in_its_place_once_resampled(tmp_path: Path, number: int) -> None:
    before, after = corrected(tmp_path, shorter(case_of("rates", number), 100.0))
    assert before.verdict is Verdict.DRIFT
    assert after.verdict is Verdict.IN_SYNC
    assert after.consensus is not None
    assert after.rate is not None
    assert abs(after.consensus.offset_s) < 1e-4
    assert abs(after.rate.ratio - 1.0) < 1e-6


@pytest.mark.parametrize("number", [0, 3, 12])
def test_a_dub_that_was_stretched_keeps_its_pitch_and_lies_in_its_place_to_four_milliseconds(
    tmp_path: Path, number: int
) -> None:
    before, after = corrected(tmp_path, shorter(case_of("pitch_kept", number), 150.0))
    assert before.verdict is Verdict.DRIFT
    assert after.verdict is Verdict.IN_SYNC
    assert after.consensus is not None
    assert after.rate is not None
    assert abs(after.consensus.offset_s) < 4e-3
    assert abs(after.rate.ratio - 1.0) * 150.0 < 4e-3
    assert abs(after.rate.pitch_semitones or 0.0) < 0.1


@pytest.mark.parametrize(("kind", "number"), [("edits", 2), ("edits", 3), ("pal_edits", 2)])
def test_an_edited_dub_lies_in_its_place_piece_by_piece_once_conformed(tmp_path: Path, kind: str, number: int) -> None:
    before, after = corrected(tmp_path, case_of(kind, number))
    assert before.verdict is Verdict.EDITED
    assert len({round(segment.offset_s or 0.0, 3) for segment in matches(before)}) > 1
    assert after.rate is not None
    assert abs(after.rate.ratio - 1.0) < 1e-6
    assert all(abs(segment.offset_s or 0.0) < 1e-4 for segment in matches(after))
    assert after.coverage.master > before.coverage.master - 0.01
    assert not any(segment.kind in {SegmentKind.MISSING, SegmentKind.INSERTED} for segment in after.timeline)


def matches(outcome: Result) -> list[Segment]:
    return [segment for segment in outcome.timeline if segment.kind is SegmentKind.MATCH]


def sound(seconds: float) -> Samples:
    """Stereo noise of 24 bits, shape (samples, 2): every sample tells where it came from."""
    noise = np.random.default_rng(5).integers(-(2**22), 2**22, (round(seconds * RATE_HZ), 2))
    return np.asarray(noise << 8, np.int32)


def write_dub(path: Path, samples: npt.NDArray[Any], *options: str) -> Path:
    raw = ("-f", "s32le", "-ar", str(RATE_HZ), "-ac", str(samples.shape[1]), "-i", "-")
    subprocess.run(
        [FFMPEG, "-loglevel", "error", *raw, *options, f"file:{path}"],
        input=samples.astype("<i4").tobytes(),
        check=True,
    )
    return path


def read(path: Path, channels: int = 2) -> Samples:
    placed = ("-af", "aresample=async=1:first_pts=0", "-f", "s32le", "-ac", str(channels), "-")
    ended = subprocess.run(
        [FFMPEG, "-loglevel", "error", "-i", f"file:{path}", *placed], capture_output=True, check=True
    )
    return np.frombuffer(ended.stdout, "<i4").reshape(-1, channels)


def match(dub_start: int, dub_end: int, shift: int) -> Segment:
    """A matching segment; all in samples."""
    on_dub = dub_start / RATE_HZ, dub_end / RATE_HZ
    on_master = (dub_start + shift) / RATE_HZ, (dub_end + shift) / RATE_HZ
    return Segment(SegmentKind.MATCH, *on_master, *on_dub, shift / RATE_HZ, 0.0, 0.0, 0.99)


def edited(*timeline: Segment, codec: str = "pcm_s24le", **changes: Any) -> Result:
    first_s = timeline[0].offset_s or 0.0
    return result(first_s, Verdict.EDITED, timeline=timeline, dub=replace(SIDE, codec=codec, **changes))


PIECES = ((1_001, 50_003, -777), (50_003, 90_007, 11_111), (123_457, 140_009, -20_001))
"""(from, to, shift): the head cut, something missing, something inserted; odd numbers of samples all."""


def conformed(dub: Samples, pieces: tuple[tuple[int, int, int], ...] = PIECES) -> tuple[Samples, npt.NDArray[np.bool_]]:
    """What must come out, and where no fade touches it; the head and the tail stay."""
    (first, _, shift), (last, _, last_shift) = pieces[0], pieces[-1]
    out = np.zeros((len(dub) + last_shift, dub.shape[1]), np.int32)
    untouched = np.ones(len(out), np.bool_)
    for start, stop, moved in pieces:
        begin = max(0, -shift) if start == first else start
        end = len(dub) if start == last else stop
        out[begin + moved : end + moved] = dub[begin:end]
        if start != first:
            untouched[begin + moved : begin + moved + FADE_SAMPLES] = False
        if start != last:
            untouched[end + moved - FADE_SAMPLES : end + moved] = False
    return out, untouched


CODINGS = [
    ("wav", "-c:a pcm_s24le", "pcm_s24le", "wav"),
    ("flac", "-c:a flac -sample_fmt s32 -bits_per_raw_sample 24", "flac", "flac"),
    ("mov", "-c:a pcm_s24be", "pcm_s24be", "mov,mp4,m4a,3gp,3g2,mj2"),
    ("mkv", "-c:a pcm_f32le", "pcm_f32le", "matroska,webm"),
    ("m4a", "-c:a alac -sample_fmt s32p", "alac", "mov,mp4,m4a,3gp,3g2,mj2"),
]


@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: f"{coding[2]} in {coding[0]}")
def test_every_sample_of_an_edited_dub_goes_to_its_place_with_every_bit(
    tmp_path: Path, coding: tuple[str, str, str, str]
) -> None:
    extension, options, codec, container = coding
    dub = write_dub(tmp_path / f"Film_dub_fr.{extension}", sound(4.0), *options.split())
    output = run(correction(edited(*(match(*piece) for piece in PIECES), codec=codec, container=container), dub))
    after, (wanted, untouched) = read(output), conformed(read(dub))
    assert after.shape == wanted.shape
    assert np.array_equal(after[untouched], wanted[untouched])
    assert np.all(np.abs(after.astype(np.int64)) <= np.abs(wanted.astype(np.int64)))


def test_surround_sound_is_conformed_channel_by_channel(tmp_path: Path) -> None:
    stereo = sound(4.0)
    six = np.hstack([stereo, stereo // 2, stereo // 4])
    dub = write_dub(tmp_path / "Film_dub_fr.wav", six, "-c:a", "pcm_s24le")
    output = run(correction(edited(*(match(*piece) for piece in PIECES), channels=6), dub))
    after, (wanted, untouched) = read(output, 6), conformed(read(dub, 6))
    assert after.shape == wanted.shape
    assert np.array_equal(after[untouched], wanted[untouched])


def test_as_many_pieces_as_are_offered_are_conformed_to_the_sample(tmp_path: Path) -> None:
    pieces = tuple((6_000 * i, 6_000 * i + 4_999 - i, 37 * i) for i in range(60))
    dub = write_dub(tmp_path / "Film_dub_fr.wav", sound(7.6), "-c:a", "pcm_s24le")
    output = run(correction(edited(*(match(*piece) for piece in pieces)), dub))
    after, (wanted, untouched) = read(output), conformed(read(dub), pieces)
    assert after.shape == wanted.shape
    assert np.array_equal(after[untouched], wanted[untouched])


@pytest.mark.parametrize("container", [("mov,mp4,m4a,3gp,3g2,mj2", "mov", "mpeg4"), ("matroska,webm", "mkv", "ffv1")])
def test_sound_that_begins_late_in_its_container_is_conformed_by_the_containers_clock(
    tmp_path: Path, container: tuple[str, str, str]
) -> None:
    name, extension, picture = container
    plain = write_dub(tmp_path / "plain.wav", sound(4.0), "-c:a", "pcm_s24le")
    dub = tmp_path / f"Film_dub.{extension}"
    video = ("-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=5", "-c:v", picture)
    subprocess.run(
        [FFMPEG, "-loglevel", "error", "-itsoffset", "0.25", "-i", plain, *video, "-c:a", "pcm_s24le", dub], check=True
    )
    output = run(correction(edited(*(match(*piece) for piece in PIECES), container=name), dub))
    heard = np.concatenate([np.zeros((RATE_HZ // 4, 2), np.int32), read(plain)])
    after, (wanted, untouched) = read(output), conformed(heard)
    assert after.shape == wanted.shape
    assert np.array_equal(after[untouched], wanted[untouched])


ODD_NAMES = [b"-i_dub.wav", b"[0:a];'c' $(e),%d_dub.wav", b"new\nline_dub.wav", b"caf\xe9f_dub.wav"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
def test_odd_names_are_safe_in_the_line_for_bash_that_conforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    dub = Path(os.fsdecode(name))
    write_dub(tmp_path / "plain.wav", sound(4.0), "-c:a", "pcm_s24le").rename(dub)
    told = correction(edited(*(match(*piece) for piece in PIECES)), dub)
    assert told is not None
    assert ("argv_base64" in told) == (b"\xe9" in name)
    (tmp_path / "ffmpeg").symlink_to(FFMPEG)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["bash", "-c", told["shell"]], env={**os.environ, "PATH": path}, check=True, capture_output=True)
    wanted, untouched = conformed(read(dub))
    assert np.array_equal(read(dub.with_name(f"{dub.stem}.synced.wav"))[untouched], wanted[untouched])


def test_a_clock_that_drifts_by_less_than_whole_rates_tell_apart_is_undone_to_the_sample(tmp_path: Path) -> None:
    """Two parts in a million move the end of 20 s by two samples: 40 µs."""
    times = np.arange(20 * RATE_HZ) / RATE_HZ
    tone = np.sin(2.0 * np.pi * 997.0 * times)
    dub = write_dub(tmp_path / "Film_dub_fr.wav", np.repeat((tone * 2**30)[:, None], 2, axis=1), "-c:a", "pcm_s24le")
    side = replace(SIDE, duration_s=20.0)
    ratio = 1.0 + 2e-6
    output = run(correction(result(0.0, Verdict.DRIFT, rate=Rate(ratio), dub=side), dub))
    after = read(output)[:, 0] / 2.0**30
    wanted = np.sin(2.0 * np.pi * 997.0 / ratio * np.arange(len(after)) / RATE_HZ)
    inside = slice(RATE_HZ, -RATE_HZ)
    assert len(after) in {20 * RATE_HZ + 1, 20 * RATE_HZ + 2, 20 * RATE_HZ + 3}
    # The billionth that the rates may be off is 1.3e-4 (radians) at the end.
    assert np.abs(after - wanted)[inside].max() < 2e-4
    assert np.abs(tone[: len(wanted)] - wanted[: len(tone)]).max() > 0.1
