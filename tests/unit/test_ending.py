"""A raw stream that was cut gives itself away by its last page or frame; a whole one is never taken for one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.errors import ErrorCode, SyncdError
from syncd.media.decode import DecodeReport, decode_blocks
from syncd.media.ending import Ending, ending
from syncd.media.probe import probe
from tests.material.writers import Encoding, write_audio

KINDS = {
    "opus": (Encoding(".opus", "ogg", "libopus", bit_rate=96_000), "ogg"),
    "vorbis": (Encoding(".ogg", "ogg", "vorbis"), "ogg"),
    "ogg-flac": (Encoding(".oga", "ogg", "flac", sample_format="s16"), "ogg"),
    "aac": (Encoding(".aac", "adts", "aac", bit_rate=160_000), "aac"),
    "ac3": (Encoding(".ac3", "ac3", "ac3", bit_rate=192_000), "ac3"),
    "eac3": (Encoding(".eac3", "eac3", "eac3", bit_rate=192_000), "eac3"),
}
RATE_HZ = 48_000


def noise(seconds: float, rate_hz: int) -> NDArray[Any]:
    return np.random.default_rng(7).normal(0.0, 0.1, (2, round(seconds * rate_hz)))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Half a minute in every kind: more than is looked at of the end."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        kind: write_audio(folder / f"{kind}{encoding.suffix}", noise(30.0, RATE_HZ), RATE_HZ, encoding=encoding)
        for kind, (encoding, _) in KINDS.items()
    }


@pytest.fixture(scope="module")
def starts(wholes: dict[str, Path]) -> dict[str, set[int]]:
    return {kind: boundaries(kind, path.read_bytes()) for kind, path in wholes.items()}


def boundaries(kind: str, data: bytes) -> set[int]:
    """Where pages or frames begin, found as simply as can be: such files have nothing between them."""
    if KINDS[kind][1] == "ogg":
        return {at for at in range(len(data)) if data.startswith(b"OggS\0", at)}
    if kind == "aac":
        return set(itertools.accumulate(adts_frames(data), initial=0))
    return set(range(0, len(data), data.index(b"\x0b\x77", 2)))  # At 48 kHz and one bit rate all are equally long.


def adts_frames(data: bytes) -> list[int]:
    lengths, at = [], 0
    while at < len(data):
        lengths.append(int.from_bytes(data[at + 3 : at + 6], "big") >> 5 & 0x1FFF)
        at += lengths[-1]
    return lengths


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 1.0), from_the_end=st.booleans())
def test_a_file_cut_inside_a_page_or_frame_is_noticed(
    kind: str,
    wholes: dict[str, Path],
    starts: dict[str, set[int]],
    tmp_path: Path,
    share: float,
    *,
    from_the_end: bool,
) -> None:
    data = wholes[kind].read_bytes()
    reach = min(2_000, len(data) // 2) if from_the_end else len(data) - 500
    cut = len(data) - 1 - int(share * reach)
    file = tmp_path / "cut"
    file.write_bytes(data[:cut])
    between = Ending.UNMARKED if KINDS[kind][1] == "ogg" else Ending.WHOLE
    assert ending(file, KINDS[kind][1]) is (between if cut in starts[kind] else Ending.CUT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000])
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.floats(0.1, 4.0), kbps=st.sampled_from([96, 128, 192, 320]))
def test_a_whole_file_is_whole(kind: str, rate_hz: int, tmp_path: Path, seconds: float, kbps: int) -> None:
    encoding, container = KINDS[kind]
    if kind == "opus":
        rate_hz = RATE_HZ
    encoding = Encoding(encoding.suffix, encoding.muxer, encoding.codec, kbps * 1000, encoding.sample_format)
    file = write_audio(tmp_path / f"whole{encoding.suffix}", noise(seconds, rate_hz), rate_hz, encoding=encoding)
    assert ending(file, container) is Ending.WHOLE


@given(st.binary(max_size=3_000), st.sampled_from(["ogg", "aac", "ac3", "eac3", "wav"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_else_lies_there_is_looked_at_without_harm(tmp_path: Path, content: bytes, container: str) -> None:
    file = tmp_path / "rubbish"
    file.write_bytes(content)
    assert ending(file, container) in Ending


@pytest.mark.parametrize("kind", KINDS)
def test_a_tag_at_the_end_is_no_cut(kind: str, wholes: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "tagged"
    file.write_bytes(wholes[kind].read_bytes() + b"TAG" + b"Heist".ljust(125, b"\0"))
    assert ending(file, KINDS[kind][1]) is Ending.WHOLE


@pytest.mark.parametrize("kind", KINDS)
def test_the_cut_is_told_by_its_code(kind: str, wholes: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / f"cut{wholes[kind].suffix}"
    file.write_bytes(wholes[kind].read_bytes()[:-7])
    with pytest.raises(SyncdError) as caught:
        probe(file)
    assert caught.value.code is ErrorCode.MEDIA_TRUNCATED


def test_an_ogg_without_its_last_page_may_be_cut(wholes: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "unmarked.opus"
    data = wholes["opus"].read_bytes()
    file.write_bytes(data[: data.rindex(b"OggS\0")])
    probe(file)
    for path, may_be_cut in ((file, True), (wholes["opus"], False)):
        report = DecodeReport()
        assert sum(block.shape[1] for block in decode_blocks(path, 0, report)) > 0
        assert report.may_be_cut is may_be_cut
        assert any("mark of its end" in sentence for sentence in report.warnings(path)) is may_be_cut
