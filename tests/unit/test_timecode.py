"""Timecode is counted as the field counts it: 24 for 23.976, labels dropped at 29.97, samples since midnight in BWF."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from syncd.domain import Estimate, MeasuredSide
from syncd.media.probe import probe
from syncd.units import FRAME_RATES, seconds_to_timecode, timecode_to_seconds
from syncd.worker.timecodes import timecode_offset_s, timecode_warning
from tests.material import write_silence
from tests.material.tracks import SoundTrack, write_tracks

NTSC = FRAME_RATES["29.97"]


def drop_frame_labels(rate: Fraction, frames: int) -> list[str]:
    """By counting: every minute but the tenth begins with the label after those left out."""
    nominal, left_out = round(rate), {30: 2, 60: 4}[round(rate)]
    labels: list[str] = []
    hour = minute = second = frame = 0
    while len(labels) < frames:
        labels.append(f"{hour:02d}:{minute:02d}:{second:02d};{frame:02d}")
        frame += 1
        if frame == nominal:
            frame, second = 0, second + 1
        if second == 60:
            second, minute = 0, minute + 1
            frame = 0 if minute % 10 == 0 else left_out
        if minute == 60:
            minute, hour = 0, hour + 1
    return labels


@pytest.mark.parametrize("name", ["29.97", "59.94"])
def test_drop_frame_labels_are_those_that_counting_gives(name: str) -> None:
    rate = FRAME_RATES[name]
    labels = drop_frame_labels(rate, 70_000)
    for number in [*range(0, 70_000, 97), *range(1_790, 1_810), *range(17_970, 17_990), *range(35_950, 36_000)]:
        seconds = float(number / rate)
        assert seconds_to_timecode(seconds, rate, is_drop_frame=True) == f"{labels[number]} @{name}"
        assert timecode_to_seconds(labels[number], rate) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("seconds", "name", "is_drop_frame", "text"),
    [
        (3603.6, "23.976", False, "01:00:00:00 @23.976"),
        (-1.001, "23.976", False, "-00:00:01:00 @23.976"),
        (3600.0, "29.97", True, "01:00:00;00 @29.97"),
        (3603.6, "29.97", False, "01:00:00:00 @29.97"),
        (float(-1830 / NTSC), "29.97", True, "-00:01:01;02 @29.97"),
        (1.5, "24.0", True, "00:00:01:12 @24"),
        (1.5, "59.94", True, "00:00:01;30 @59.94"),
        (0.5, "50.0", False, "00:00:00:25 @50"),
    ],
)
def test_timecodes_are_written_at_the_native_rate(seconds: float, name: str, is_drop_frame: bool, text: str) -> None:
    assert seconds_to_timecode(seconds, FRAME_RATES[name], is_drop_frame=is_drop_frame) == text


@pytest.mark.parametrize("text", ["", "01:00:00", "01:00:00:30", "1:00:00:00", "01:60:00:00", "01:00:00.500", "x"])
def test_what_is_no_timecode_at_that_rate_is_none(text: str) -> None:
    assert timecode_to_seconds(text, FRAME_RATES["25.0"]) is None


@pytest.mark.parametrize(
    ("name", "codec", "rate", "timecode", "rate_name"),
    [
        ("a.mov", "pcm_s24le", Fraction(25), "01:00:00:00", "25.0"),
        ("b.mov", "pcm_s24le", NTSC, "01:00:00;02", "29.97"),
        ("c.mov", "pcm_s16le", FRAME_RATES["23.976"], "00:59:50:12", "23.976"),
        ("d.mp4", "aac", Fraction(25), "10:00:00:00", "25.0"),
        ("e.mxf", "pcm_s16le", Fraction(25), "09:59:58:00", "25.0"),
        ("f.mxf", "pcm_s16le", NTSC, "01:00:00;02", "29.97"),
        ("g.mkv", "flac", Fraction(50), "01:00:00:00", "50.0"),
    ],
)
def test_containers_tell_their_timecode_and_frame_rate(
    tmp_path: Path, name: str, codec: str, rate: Fraction, timecode: str, rate_name: str
) -> None:
    sound = SoundTrack(np.zeros((2, 48_000)), codec=codec)
    info = probe(write_tracks(tmp_path / name, [sound], picture_rate=rate, timecode=timecode))
    assert (info.start_timecode, info.frame_rate, info.start_of_day_s) == (timecode, rate_name, None)


def broadcast_wav(path: Path, reference: int, ixml: str | None = None, *, ixml_last: bool = False) -> Path:
    """Silence at 48 kHz that starts so many samples after midnight."""
    data = write_silence(path, 1.5).read_bytes()
    bext = bytearray(602)
    struct.pack_into("<Q", bext, 338, reference)
    chunks = b"bext" + struct.pack("<I", len(bext)) + bytes(bext)
    tail = b""
    if ixml is not None:
        text = ixml.encode().ljust(len(ixml) + len(ixml) % 2)
        chunk = b"iXML" + struct.pack("<I", len(text)) + text
        chunks, tail = (chunks, chunk) if ixml_last else (chunks + chunk, tail)
    body = data[12:]
    total = 4 + len(chunks) + len(body) + len(tail)
    path.write_bytes(b"RIFF" + struct.pack("<I", total) + b"WAVE" + chunks + body + tail)
    return path


def ixml_of(rate: str, flag: str) -> str:
    return (
        '<?xml version="1.0"?><BWFXML><SPEED><TIMECODE_FLAG>'
        f"{flag}</TIMECODE_FLAG><TIMECODE_RATE>{rate}</TIMECODE_RATE></SPEED></BWFXML>"
    )


def test_the_time_reference_of_a_broadcast_wav_is_its_timecode(tmp_path: Path) -> None:
    info = probe(broadcast_wav(tmp_path / "b.wav", 48_000 * 3_600 + 12_001))
    assert (info.start_timecode, info.frame_rate) == ("01:00:00.250", None)
    assert info.start_of_day_s == pytest.approx(3_600 + 12_001 / 48_000, abs=1e-9)
    assert probe(broadcast_wav(tmp_path / "none.wav", 0)).start_timecode is None


@pytest.mark.parametrize("ixml_last", [False, True])
@pytest.mark.parametrize(
    ("rate", "flag", "seconds", "timecode", "name"),
    [
        ("25/1", "NDF", 3_600, "01:00:00:00", "25.0"),
        ("24000/1001", "NDF", 3_603.6, "01:00:00:00", "23.976"),
        ("30000/1001", "DF", 3_600, "01:00:00;00", "29.97"),
        ("30000/1001", "NDF", 3_603.6, "01:00:00:00", "29.97"),
    ],
)
def test_a_broadcast_wav_that_knows_its_frame_rate_tells_frames(
    tmp_path: Path, rate: str, flag: str, seconds: float, timecode: str, name: str, ixml_last: bool
) -> None:
    path = broadcast_wav(tmp_path / "b.wav", round(seconds * 48_000), ixml_of(rate, flag), ixml_last=ixml_last)
    info = probe(path)
    assert (info.start_timecode, info.frame_rate) == (timecode, name)
    assert info.start_of_day_s == pytest.approx(seconds, abs=1e-4)


@pytest.mark.parametrize("rate", ["0/1", "25/0", "1/1", "999999/1", "25"])
def test_a_frame_rate_that_cannot_be_is_none(tmp_path: Path, rate: str) -> None:
    assert probe(broadcast_wav(tmp_path / "b.wav", 48_000, ixml_of(rate, "NDF"))).frame_rate is None


def side(timecode: str | None, rate: str | None = None, of_day_s: float | None = None) -> MeasuredSide:
    return MeasuredSide(
        60.0, 48_000, 2, "pcm_s24le", "mov", 0, start_timecode=timecode, frame_rate=rate, start_of_day_s=of_day_s
    )


@pytest.mark.parametrize(
    ("master", "dub", "offset_s"),
    [
        (side("01:00:00:00", "25.0"), side("01:00:00:00", "25.0"), 0.0),
        (side("00:59:50:00", "25.0"), side("01:00:00:05", "25.0"), 10.2),
        (side("01:00:10:00", "25.0"), side("01:00:00:00", "25.0"), -10.0),
        (side("01:00:00:00", "23.976"), side("01:00:00.000", None, 3_603.6), 0.0),
        (side("01:00:00:00", "23.976"), side("01:00:00:00", "25.0"), 0.0),
        (side("01:00:00:12", "23.976"), side("01:00:00:00", "25.0"), -0.5),
        (side("23:59:59:00", "25.0"), side("00:00:01:00", "25.0"), 2.0),
        (side("01:00:00:00", "25.0"), side("01:00:01:00"), 1.0),
        (side("01:00:00;00", "29.97"), side("01:00:00.000", None, 3_600.0), 0.0036),
        (side("01:00:00:00"), side("01:00:00:00"), None),
        (side("01:00:00:00", "25.0"), side(None), None),
        (side(None), side("01:00:00.000", None, 3_600.0), None),
    ],
)
def test_the_timecodes_alone_place_the_dub(master: MeasuredSide, dub: MeasuredSide, offset_s: float | None) -> None:
    assert timecode_offset_s(master, dub) == (None if offset_s is None else pytest.approx(offset_s, abs=1e-3))


def test_timecodes_that_the_sound_bears_out_need_no_words_and_others_do() -> None:
    sound = Estimate(-2.456, 0.99, 0.2)
    assert timecode_warning(None, sound) is None
    assert timecode_warning(-2.44, sound) is None
    told = timecode_warning(0.0, sound)
    assert told is not None
    assert "in its place" in told
    assert "by the sound it is 2.456 s late" in told
    unconfirmed = timecode_warning(3.0, None)
    assert unconfirmed is not None
    assert "3.000 s early; the sound does not confirm it" in unconfirmed
