"""Of any layout the same few rows are heard: all, what differs between left and right, and all but the centre."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.media.decode import SAMPLE_RATE_HZ, DecodeReport, decode_blocks
from syncd.media.layouts import evidence_channels, fold_of
from syncd.media.probe import probe
from tests.material.tracks import SoundTrack, write_tracks

Floats = NDArray[Any]
RATE_HZ = 48_000
ALL_THREE = ("mid", "side", "no_centre")


def tones(channels: int, seconds: float = 2.0) -> Floats:
    """In each channel a sine of its own: 200 Hz in the first, 300 Hz in the second, …"""
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.stack([0.5 * np.sin(2 * np.pi * (200 + 100 * i) * times_s) for i in range(channels)])


def weights_heard(row: Floats, channels: int) -> Floats:
    """How much of each channel's tone is in a row, with its sign."""
    inner = row[4_000:28_000]
    times_s = np.arange(4_000, 28_000) / SAMPLE_RATE_HZ
    return np.array(
        [4.0 * np.mean(inner * np.sin(2 * np.pi * (200 + 100 * i) * times_s)) for i in range(channels)], dtype=float
    )


def rows_of(path: Path) -> Floats:
    return np.concatenate(list(decode_blocks(path, 0, DecodeReport())), axis=1)


@pytest.mark.parametrize(
    ("layout", "channels", "names"),
    [
        ("mono", 1, ("mid",)),
        ("stereo", 2, ("mid", "side")),
        ("downmix", 2, ("mid", "side")),
        ("2 channels", 2, ("mid", "side")),
        ("2.1", 3, ("mid", "side")),
        ("3.0", 3, ALL_THREE),
        ("3.0(back)", 3, ("mid", "side")),
        ("quad", 4, ("mid", "side")),
        ("4.0", 4, ALL_THREE),
        ("5.0", 5, ALL_THREE),
        ("5.1", 6, ALL_THREE),
        ("5.1(side)", 6, ALL_THREE),
        ("6.1", 7, ALL_THREE),
        ("7.1", 8, ALL_THREE),
        ("7.1.4", 12, ALL_THREE),
        ("22.2", 24, ALL_THREE),
        ("6 channels", 6, ("mid", "side")),
        ("ambisonic 1", 4, ("mid", "side")),
        ("2 channels (FC+LFE)", 2, ("mid",)),
        ("nonsense", 5, ("mid", "side")),
        ("", 6, ("mid", "side")),
    ],
)
def test_each_layout_gives_the_rows_that_it_can(layout: str, channels: int, names: tuple[str, ...]) -> None:
    assert evidence_channels(channels, layout) == names
    for row in fold_of(channels, layout).rows.values():
        assert len(row) == channels
        assert sum(abs(weight) for weight in row) == pytest.approx(1.0)


def test_a_stereo_file_gives_its_halved_sum_and_difference() -> None:
    assert fold_of(2, "stereo").rows == {"mid": (0.5, 0.5), "side": (0.5, -0.5)}


@pytest.mark.parametrize("layout", ["3.0", "5.1", "6.1", "7.1", "22.2"])
def test_the_centre_and_the_lfe_are_in_no_row_but_the_first(layout: str) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    rows = fold_of(len(names), layout).rows
    for name in {"FC", "LFE", "LFE2"}.intersection(names):
        at = names.index(name)
        assert rows["side"][at] == rows["no_centre"][at] == 0.0
        assert bool(rows["mid"][at]) is (name == "FC")
    left, right = names.index("FL"), names.index("FR")
    assert rows["side"][left] == -rows["side"][right] > 0


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("a.wav", "pcm_s16le", "5.1"),
        ("b.wav", "pcm_s24le", "7.1"),
        ("a.flac", "flac", "5.1"),
        ("a.mkv", "ac3", "5.1(side)"),
        ("a.mp4", "aac", "5.1"),
        ("b.mp4", "aac", "7.1(wide)"),
        ("a.mov", "pcm_s24le", "5.1"),
        ("c.mkv", "pcm_f32le", "22.2"),
        ("c.wav", "pcm_s16le", "quad"),
        ("d.wav", "pcm_s16le", "stereo"),
    ],
)
def test_a_real_file_of_any_layout_is_folded_as_the_table_says(
    tmp_path: Path, name: str, codec: str, layout: str
) -> None:
    channels = av.AudioLayout(layout).nb_channels
    path = write_tracks(tmp_path / name, [SoundTrack(tones(channels), layout, codec, bit_rate=640_000)], RATE_HZ)
    track = probe(path).tracks[0]
    assert track.channels == channels
    rows = rows_of(path)
    fold = fold_of(track.channels, track.layout)
    assert rows.shape[0] == len(fold.names)
    for row, weights in zip(rows, fold.rows.values(), strict=True):
        heard = weights_heard(row, channels)
        # A lossy codec lets some of the LFE's 500 Hz fall, which is in no row anyway.
        np.testing.assert_allclose(heard, weights, atol=0.02 if codec in {"aac", "ac3"} else 0.001)


def test_channels_without_names_count_as_left_right_and_the_rest(tmp_path: Path) -> None:
    sound = tones(6)
    data = np.clip(sound.T * 32_767, -32_768, 32_767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 6, RATE_HZ, RATE_HZ * 12, 12, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    track = probe(path).tracks[0]
    assert (track.channels, evidence_channels(track.channels, track.layout)) == (6, ("mid", "side"))
    rows = rows_of(path)
    np.testing.assert_allclose(weights_heard(rows[0], 6), [0.5, 0.5, 0, 0, 0, 0], atol=0.001)
    np.testing.assert_allclose(weights_heard(rows[1], 6), [0.5, -0.5, 0, 0, 0, 0], atol=0.001)


def test_a_broadcast_that_goes_from_surround_to_stereo_keeps_its_rows(tmp_path: Path) -> None:
    wide = write_tracks(tmp_path / "1.ts", [SoundTrack(tones(6), "5.1(side)", "ac3", bit_rate=448_000)], muxer="mpegts")
    plain = write_tracks(tmp_path / "2.ts", [SoundTrack(tones(2), "stereo", "ac3", bit_rate=192_000)], muxer="mpegts")
    both = tmp_path / "both.ts"
    both.write_bytes(wide.read_bytes() + plain.read_bytes())
    report = DecodeReport()
    rows = np.concatenate(list(decode_blocks(both, 0, report)), axis=1)
    assert report.changed_format == 1
    assert rows.shape[0] == 3
    second = rows[:, round(2.1 * SAMPLE_RATE_HZ) :]
    np.testing.assert_allclose(second[2], second[0], atol=1e-6)  # what cannot be left out stays in
    assert np.abs(weights_heard(rows[2], 6)[2]) < 0.02
