"""Sound that is damaged, extreme or mislabelled: the right answer, or a code; never a crash or a confident error."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult, Result
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import MeasureRequest
from syncd.worker.measuring import measure_pair
from tests.material import Programme, write_audio, write_truncated_copy, write_wav
from tests.material.tracks import SoundTrack, write_tracks

RATE_HZ = 48_000
LATE_S = 0.6
Floats = NDArray[Any]


class Deaf:
    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


def measured(folder: Path, master: Path, dub: Path) -> Result:
    settings = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
    request = MeasureRequest(
        1, os.fsencode(master), os.fsencode(dub), None, None, None, settings, os.fsencode(folder / "scratch")
    )
    return measure_pair(request, Deaf()).result


def result_or_code(folder: Path, master: Path, dub: Path) -> Result | ErrorCode:
    try:
        return measured(folder, master, dub)
    except SyncdError as error:
        return error.code


def code_of(folder: Path, master: Path, dub: Path) -> ErrorCode:
    with pytest.raises(SyncdError) as caught:
        measured(folder, master, dub)
    assert dub.name in caught.value.message
    return caught.value.code


@pytest.fixture(scope="module")
def mixes() -> tuple[Floats, Floats]:
    """Fifteen seconds, and the dub 0.6 s late; each (2, n)."""
    programme = Programme(47, 15.0, RATE_HZ)
    n = programme.n_samples
    bed = programme.bed(0, n) * 0.2
    english, french = (bed + programme.dialogue(language, 0, n) * 0.4 for language in (1, 2))
    return english, np.concatenate((np.zeros((2, round(LATE_S * RATE_HZ))), french), axis=1)


@pytest.fixture(scope="module")
def master(mixes: tuple[Floats, Floats], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("master") / "m.wav", mixes[0], RATE_HZ)


def resampled(sound: Floats, rate_hz: int) -> Floats:
    """Band-limited, of whole seconds."""
    seconds = sound.shape[1] // RATE_HZ
    spectrum = np.fft.rfft(sound[:, : seconds * RATE_HZ])
    return np.fft.irfft(spectrum[:, : seconds * rate_hz // 2 + 1], seconds * rate_hz) * rate_hz / RATE_HZ


def not_numbers(dub: Floats) -> Floats:
    damaged = dub.copy()
    damaged[0, 200_000:200_040] = np.nan
    damaged[1, 300_000] = np.inf
    damaged[:, 400_000] = -np.inf
    damaged[0, 500_000] = 1e30
    return damaged


Writer = Callable[[Path, Floats], Path]
ODD: dict[str, Writer] = {
    "clipped": lambda p, dub: write_wav(p / "d.wav", np.clip(dub * 30.0, -1.0, 1.0), RATE_HZ),
    "direct current": lambda p, dub: write_wav(p / "d.wav", dub * 0.3 + 0.6, RATE_HZ),
    "not numbers": lambda p, dub: write_wav(p / "d.wav", not_numbers(dub), RATE_HZ, sample_format="float"),
    "far above full scale": lambda p, dub: write_wav(p / "d.wav", dub * 40.0, RATE_HZ, sample_format="float"),
    "far below": lambda p, dub: write_wav(p / "d.wav", dub * 1e-2, RATE_HZ, sample_format="s24"),
    "8 kHz mono": lambda p, dub: write_wav(p / "d.wav", resampled(dub, 8_000).mean(axis=0)[None], 8_000),
    "192 kHz": lambda p, dub: write_wav(p / "d.wav", resampled(dub, 192_000), 192_000, sample_format="s24"),
    "24 named channels": lambda p, dub: write_tracks(
        p / "d.wav", [SoundTrack(np.concatenate([dub] * 12), "22.2", "pcm_s16le")]
    ),
    "24 channels without names": lambda p, dub: write_wav(p / "d.wav", np.concatenate([dub] * 12), RATE_HZ),
    "one channel dead": lambda p, dub: write_wav(p / "d.wav", dub * np.array([[1.0], [0.0]]), RATE_HZ),
}


def test_an_ogg_without_its_last_page_is_measured_and_to_be_looked_at(
    mixes: tuple[Floats, Floats], master: Path, tmp_path: Path
) -> None:
    whole = write_audio(tmp_path / "whole.opus", mixes[1], RATE_HZ)
    dub = tmp_path / "dub.opus"
    dub.write_bytes(whole.read_bytes()[: whole.read_bytes().rindex(b"OggS\0")])
    assert not measured(tmp_path, master, whole).review
    result = measured(tmp_path, master, dub)
    assert result.consensus is not None
    assert result.consensus.offset_s == pytest.approx(-LATE_S, abs=0.02)
    assert result.review
    assert any("lacks the mark of its end" in warning for warning in result.warnings)


def test_a_copy_of_an_ogg_that_broke_off_is_no_shorter_dub(
    mixes: tuple[Floats, Floats], master: Path, tmp_path: Path
) -> None:
    whole = write_audio(tmp_path / "whole.opus", mixes[1], RATE_HZ)
    dub = write_truncated_copy(whole, tmp_path / "dub.opus")
    assert code_of(tmp_path, master, dub) is ErrorCode.MEDIA_TRUNCATED


@pytest.mark.parametrize("kind", ODD)
def test_odd_sound_gets_its_right_answer(tmp_path: Path, master: Path, mixes: tuple[Floats, Floats], kind: str) -> None:
    result = measured(tmp_path, master, ODD[kind](tmp_path, mixes[1]))
    assert result.consensus is not None, (result.verdict, result.reasons)
    assert result.consensus.offset_s == pytest.approx(-LATE_S, abs=1e-4)


def test_what_is_not_a_number_is_told(tmp_path: Path, master: Path, mixes: tuple[Floats, Floats]) -> None:
    result = measured(tmp_path, master, ODD["not numbers"](tmp_path, mixes[1]))
    assert any("not numbers" in warning for warning in result.warnings)


def test_a_rate_that_changes_half_way_is_followed_and_told(
    tmp_path: Path, master: Path, mixes: tuple[Floats, Floats]
) -> None:
    """Two transport streams behind each other, as a broadcast is recorded: 48 kHz, then 44.1 kHz."""
    dub = mixes[1]
    first = SoundTrack(dub[:, : 8 * RATE_HZ], codec="mp2", bit_rate=256_000)
    later = resampled(dub[:, 8 * RATE_HZ : 15 * RATE_HZ], 44_100)
    one = write_tracks(tmp_path / "1.ts", [first], muxer="mpegts")
    two = write_tracks(tmp_path / "2.ts", [SoundTrack(later, codec="mp2", bit_rate=256_000)], 44_100, muxer="mpegts")
    both = tmp_path / "d.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    result = measured(tmp_path, master, both)
    assert any("change 1 times" in warning for warning in result.warnings)
    if result.consensus is not None:
        # The first part's encoder adds 481 samples; the second's own may break the offset, which is then told.
        assert result.consensus.offset_s == pytest.approx(-LATE_S - 481 / RATE_HZ, abs=0.03)


@pytest.mark.parametrize("seconds", [0.0005, 0.05, 0.3])
def test_a_clip_too_short_to_place_is_refused_by_name(
    tmp_path: Path, master: Path, mixes: tuple[Floats, Floats], seconds: float
) -> None:
    start = 5 * RATE_HZ
    clip = write_wav(tmp_path / "clip.wav", mixes[1][:, start : start + round(seconds * RATE_HZ)], RATE_HZ)
    assert code_of(tmp_path, master, clip) in {ErrorCode.MEDIA_TOO_SHORT, ErrorCode.NO_AUDIO}


def with_header(path: Path, sound: Floats, **lies: int) -> Path:
    """A plain 44-byte header whose fields say what `lies` says."""
    data = np.clip(sound.T * 32_767, -32_768, 32_767).astype("<i2").tobytes()
    channels = sound.shape[0]
    told = {
        "tag": 1,
        "channels": channels,
        "rate_hz": RATE_HZ,
        "bytes_per_s": RATE_HZ * channels * 2,
        "align": channels * 2,
        "bits": 16,
        "data_bytes": len(data),
        **lies,
    }
    form = struct.pack(
        "<HHIIHH", *(told[name] for name in ("tag", "channels", "rate_hz", "bytes_per_s", "align", "bits"))
    )
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", told["data_bytes"]) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body)
    return path


@pytest.mark.parametrize(
    ("lies", "codes"),
    [
        ({"channels": 0}, (ErrorCode.NO_AUDIO, ErrorCode.MEDIA_UNREADABLE)),
        ({"rate_hz": 0, "bytes_per_s": 0}, (ErrorCode.NO_AUDIO, ErrorCode.MEDIA_UNREADABLE)),
        ({"data_bytes": 50_000_000}, (ErrorCode.MEDIA_TRUNCATED,)),
        ({"rate_hz": 2_000_000_000}, (ErrorCode.MEDIA_TOO_SHORT, ErrorCode.MEDIA_UNREADABLE, ErrorCode.NO_AUDIO)),
        ({"channels": 65_535, "align": 65_535}, (ErrorCode.NO_AUDIO, ErrorCode.MEDIA_UNREADABLE)),
        ({"tag": 0x4242}, (ErrorCode.MEDIA_UNREADABLE,)),
    ],
    ids=str,
)
def test_a_header_that_cannot_be_is_refused(
    tmp_path: Path, master: Path, mixes: tuple[Floats, Floats], lies: dict[str, int], codes: tuple[ErrorCode, ...]
) -> None:
    assert code_of(tmp_path, master, with_header(tmp_path / "d.wav", mixes[1], **lies)) in codes


@pytest.mark.parametrize(
    "lies",
    [
        {"rate_hz": 96_000, "bytes_per_s": 384_000},
        {"rate_hz": 24_000, "bytes_per_s": 96_000},
        {"channels": 1, "align": 2, "bytes_per_s": 96_000},
        {"channels": 4, "align": 8},
        {"bits": 8, "align": 2},
        {"bits": 7},
        {"tag": 7},
    ],
    ids=str,
)
def test_a_header_that_lies_never_makes_a_confident_offset(
    tmp_path: Path, master: Path, mixes: tuple[Floats, Floats], lies: dict[str, int]
) -> None:
    answer = result_or_code(tmp_path, master, with_header(tmp_path / "d.wav", mixes[1], **lies))
    if isinstance(answer, Result):
        assert answer.consensus is None or answer.review
    else:
        assert answer in {ErrorCode.MEDIA_UNREADABLE, ErrorCode.NO_AUDIO, ErrorCode.MEDIA_TRUNCATED}
