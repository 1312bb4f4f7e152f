"""Sound comes out of any container at the right moment, or a sentence says why not."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from syncd.errors import ErrorCode, SyncdError
from syncd.media import decode as decoding
from syncd.media.decode import SAMPLE_RATE_HZ, DecodeReport, decode_blocks
from syncd.media.names import shown_name
from syncd.media.probe import probe
from tests.material import write_audio, write_empty_file, write_silence, write_text_as, write_truncated_copy

Floats = NDArray[Any]


def chord(rate_hz: int, seconds: float = 4.0) -> Floats:
    """The same continuous sound at any rate: 80 sines below 3.4 kHz."""
    rng = np.random.default_rng(5)
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    sound = np.zeros_like(times_s)
    for frequency_hz, phase in zip(rng.uniform(100, 3_400, 80), rng.uniform(0, 6.28, 80), strict=True):
        sound += 0.02 * np.sin(2 * np.pi * frequency_hz * times_s + phase)
    return sound


def lag_ms(sound: Floats, reference: Floats) -> float:
    """How much later `sound` is, from the slope of the cross spectrum's phase."""
    n_fft = 1 << 17
    inner = slice(8_000, min(sound.size, reference.size) - 8_000)
    cross = np.fft.rfft(sound[inner], n_fft) * np.conj(np.fft.rfft(reference[inner], n_fft))
    top = int(np.argmax(np.fft.irfft(cross)))
    whole = top - n_fft if top > n_fft // 2 else top
    turns = np.arange(cross.size) / n_fft
    phase = np.angle(cross * np.exp(2j * np.pi * turns * whole))
    slope = np.sum(np.abs(cross) * turns * phase) / np.sum(np.abs(cross) * np.square(turns))
    return float(whole - slope / (2 * np.pi)) / SAMPLE_RATE_HZ * 1_000.0


def decoded(path: Path, track: int = 0) -> tuple[Floats, DecodeReport]:
    report = DecodeReport()
    return np.concatenate(list(decode_blocks(path, track, report)), axis=1), report


def write(
    path: Path, sound: Floats, rate_hz: int, codec: str, *, container: str | None = None, start_s: float = 0.0
) -> Path:
    """Encode (channels, n) with the first sample at `start_s`."""
    layout = "mono" if sound.shape[0] == 1 else "stereo"
    with av.open(os.fspath(path), "w", format=container) as output:
        stream = cast("AudioStream", output.add_stream(codec, rate=rate_hz, layout=layout))
        for first in range(0, sound.shape[1], 4_096):
            block = np.ascontiguousarray(sound[:, first : first + 4_096], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = first + round(start_s * rate_hz)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def stereo(rate_hz: int, seconds: float = 4.0) -> Floats:
    return np.stack([chord(rate_hz, seconds)] * 2)


def code_of(path: Path) -> ErrorCode:
    def read() -> None:
        probe(path)
        decoded(path)

    with pytest.raises(SyncdError) as caught:
        read()
    assert shown_name(path) in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 96_000, 192_000])
def test_every_sample_rate_lands_on_the_same_instant(tmp_path: Path, rate_hz: int) -> None:
    sound, report = decoded(write(tmp_path / "a.wav", stereo(rate_hz), rate_hz, "pcm_s24le"))
    assert abs(lag_ms(sound[0], chord(16_000))) < 0.001
    assert report.samples == 4 * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.flac", "flac"),
        ("a.mp4", "aac"),
        ("a.mkv", "aac"),
        ("b.mkv", "libopus"),
        ("a.opus", "libopus"),
        ("a.mp3", "libmp3lame"),
        ("c.mkv", "ac3"),
        ("a.mov", "pcm_s16le"),
    ],
)
def test_signalled_priming_is_cut_away(tmp_path: Path, name: str, codec: str) -> None:
    sound, _ = decoded(write(tmp_path / name, stereo(48_000), 48_000, codec))
    assert abs(lag_ms(sound[0], chord(16_000))) < 0.01


@pytest.mark.parametrize("start_s", [0.5, 0.50001, 12.3])
def test_a_track_that_starts_late_begins_with_silence(tmp_path: Path, start_s: float) -> None:
    sound, _ = decoded(write(tmp_path / "a.mov", stereo(48_000), 48_000, "pcm_s16le", start_s=start_s))
    first = round(start_s * SAMPLE_RATE_HZ)
    assert not sound[:, : first - 40].any()
    late = np.concatenate((np.zeros(0), sound[0, first:]))
    shift_ms = (start_s * SAMPLE_RATE_HZ - first) / SAMPLE_RATE_HZ * 1_000.0
    assert lag_ms(late, chord(16_000)) == pytest.approx(shift_ms, abs=0.011)  # half a sample at 48 kHz


def test_the_clock_of_a_transport_stream_does_not_matter(tmp_path: Path) -> None:
    plain, _ = decoded(write(tmp_path / "a.ts", stereo(48_000), 48_000, "mp2", container="mpegts"))
    late, _ = decoded(write(tmp_path / "b.ts", stereo(48_000), 48_000, "mp2", container="mpegts", start_s=900.0))
    assert lag_ms(late[0], plain[0]) == pytest.approx(0.0, abs=0.02)  # its clock ticks 90,000 times a second


def test_a_gap_in_the_timestamps_becomes_silence_of_its_length(tmp_path: Path) -> None:
    sound = chord(48_000)[None]
    path = tmp_path / "gap.mkv"
    with av.open(os.fspath(path), "w") as output:
        stream = output.add_stream("flac", rate=48_000, layout="mono")
        for start_s, piece in ((0.0, sound[:, : 2 * 48_000]), (5.0, sound[:, 2 * 48_000 :])):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece * 32_767).astype(np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), round(start_s * 48_000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    heard, report = decoded(path)
    assert report.samples == pytest.approx(7 * SAMPLE_RATE_HZ, abs=2_000)
    assert not heard[0, round(2.3 * SAMPLE_RATE_HZ) : round(4.8 * SAMPLE_RATE_HZ)].any()
    tail = chord(16_000)[2 * SAMPLE_RATE_HZ :]
    assert abs(lag_ms(heard[0, 5 * SAMPLE_RATE_HZ :], tail)) < 1.0  # Matroska counts in milliseconds


def test_rate_and_clock_that_change_half_way_are_followed(tmp_path: Path) -> None:
    first = write(tmp_path / "1.ts", stereo(48_000), 48_000, "mp2", container="mpegts")
    second = write(tmp_path / "2.ts", stereo(44_100), 44_100, "mp2", container="mpegts")
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    sound, report = decoded(both)
    assert report.changed_format == 1
    assert report.clock_jumps == 1
    assert len(report.warnings(both)) == 2
    assert sound.shape[1] == pytest.approx(8 * SAMPLE_RATE_HZ, abs=2_500)
    assert abs(lag_ms(sound[0, 4 * SAMPLE_RATE_HZ :], chord(16_000))) < 50.0  # two encoders' priming


def test_numbers_that_are_none_count_as_silence(tmp_path: Path) -> None:
    sound = stereo(16_000)
    sound[0, 20_000:20_010] = np.nan
    sound[1, 30_000] = np.inf
    heard, report = decoded(write(tmp_path / "nan.wav", sound, 16_000, "pcm_f32le"))
    assert np.isfinite(heard).all()
    assert report.impossible_samples >= 11
    assert abs(lag_ms(heard[0], chord(16_000))) < 0.01


def test_a_damaged_packet_costs_itself_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", stereo(48_000, 8.0), 48_000, "aac")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = os.urandom(200) + bytes(200)
    path.write_bytes(bytes(data))
    sound, _ = decoded(path)
    assert sound.shape[1] > 6 * SAMPLE_RATE_HZ
    tail = chord(16_000, 8.0)
    assert abs(lag_ms(sound[0, 5 * SAMPLE_RATE_HZ :], tail[5 * SAMPLE_RATE_HZ :])) < 20.0


def test_memory_is_bounded_by_blocks(tmp_path: Path) -> None:
    path = write_silence(tmp_path / "long.wav", 120.0)
    sizes = [block.shape[1] for block in decode_blocks(path, 0, DecodeReport())]
    assert max(sizes) <= decoding.BLOCK_SAMPLES
    assert sum(sizes) == 120 * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline.wav",
        b"-leading.wav",
        b"http:x.wav",
        b"%d %s %03d.wav",
        b"\xff\xfe not utf-8.wav",
        "💥 <script>'\".wav".encode(),
        b"a" * 251 + b".wav",
    ],
)
def test_every_name_opens(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    write_silence(tmp_path / "plain.wav", 1.5).rename(path)
    assert probe(path).duration_s == pytest.approx(1.5)
    assert decoded(path)[1].samples == 1.5 * SAMPLE_RATE_HZ
    assert shown_name(path).isprintable()


def test_bad_files_are_told_apart(tmp_path: Path) -> None:
    good = write_audio(tmp_path / "good.wav", stereo(48_000), 48_000)
    assert code_of(tmp_path / "none.wav") is ErrorCode.FILE_NOT_FOUND
    assert code_of(write_empty_file(tmp_path / "empty.wav")) is ErrorCode.MEDIA_UNREADABLE
    assert code_of(write_text_as(tmp_path / "text.wav")) is ErrorCode.MEDIA_UNREADABLE
    assert code_of(write_truncated_copy(good, tmp_path / "cut.wav")) is ErrorCode.MEDIA_TRUNCATED
    (tmp_path / "folder.wav").mkdir()
    assert code_of(tmp_path / "folder.wav") is ErrorCode.MEDIA_UNREADABLE


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("a.mov", "pcm_s16le"), ("a.flac", "flac"), ("a.mkv", "aac")]
)
def test_a_file_cut_in_the_middle_never_passes_as_whole(tmp_path: Path, name: str, codec: str) -> None:
    good = write(tmp_path / name, stereo(48_000, 8.0), 48_000, codec)
    cut = write_truncated_copy(good, tmp_path / f"cut_{name}")
    assert code_of(cut) in {ErrorCode.MEDIA_TRUNCATED, ErrorCode.MEDIA_UNREADABLE}


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    """As another user than root, who may read everything: the test's own process lends its identity for a moment."""
    path = write_silence(tmp_path / "locked.wav", 1.0)
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    before = os.geteuid()
    os.seteuid(65534 if before == 0 else before)
    try:
        assert code_of(path) is ErrorCode.PERMISSION_DENIED
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile '{target}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        "<?xml version='1.0'?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>",
    ],
)
def test_a_playlist_in_disguise_reaches_no_other_file(tmp_path: Path, script: str) -> None:
    target = write_silence(tmp_path / "secret.wav", 2.0)
    disguised = tmp_path / "innocent.wav"
    disguised.write_text(script.format(target=target))
    assert code_of(disguised) is ErrorCode.MEDIA_UNREADABLE


def test_a_picture_without_sound_has_no_audio(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    with av.open(os.fspath(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 32, 32
        for _ in range(10):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    assert code_of(path) is ErrorCode.NO_AUDIO


def test_a_second_track_is_read_by_its_index(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(os.fspath(path), "w") as output:
        streams = [output.add_stream("flac", rate=48_000, layout="mono") for _ in range(2)]
        streams[1].metadata["language"] = "fra"
        for gain, stream in zip((1, 8_000), streams, strict=True):
            block = np.full((1, 48_000), gain, dtype=np.int16)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
            output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    assert probe(path).tracks[1].language == "fra"
    assert decoded(path, 0)[0][0, 8_000] < 0.01 < decoded(path, 1)[0][0, 8_000]


def test_copies_decode_alike(tmp_path: Path) -> None:
    one = write(tmp_path / "a.flac", stereo(44_100), 44_100, "flac")
    two = tmp_path / "b.flac"
    shutil.copy(one, two)
    np.testing.assert_array_equal(decoded(one)[0], decoded(two)[0])
