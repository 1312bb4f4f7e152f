"""The command that the report gives, really run: afterwards the offset is nil."""

import base64
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest

from syncd.domain import Estimate, MeasuredSide, Result
from syncd.media.decode import SAMPLE_RATE_HZ, DecodeReport, decode_blocks
from syncd.reports.correction import correction
from syncd.reports.report import write_reports
from tests.material.report_examples import PROCESSING, SIDE, result, subject

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RATE_HZ = 48_000
SHIFT_SAMPLES = 23_459
"""Some half a second; no whole number of any codec's frames."""
LATE_S, EARLY_S = -SHIFT_SAMPLES / RATE_HZ, SHIFT_SAMPLES / RATE_HZ

Samples = npt.NDArray[np.int32]


def programme(seconds: float = 3.0) -> Samples:
    """Stereo noise of 24 bits with an envelope, low-passed so that lossy codecs keep it: shape (samples, 2)."""
    rng = np.random.default_rng(7)
    noise = rng.standard_normal((round(seconds * RATE_HZ) + 64, 2)).cumsum(axis=0)
    smooth = noise[64:] - noise[:-64]
    loudness = 0.3 + 0.7 * np.abs(np.sin(np.linspace(0.0, 9.0, len(smooth))))[:, None]
    shaped = smooth * loudness / np.abs(smooth).max()
    return np.asarray((shaped * 0.5 * 2**31).astype(np.int32) & ~0xFF)


def ffmpeg(*arguments: str, given: bytes = b"") -> bytes:
    ended = subprocess.run(
        [FFMPEG, "-hide_banner", "-loglevel", "error", *arguments], input=given, capture_output=True, check=True
    )
    return ended.stdout


RAW = ("-f", "s32le", "-ar", str(RATE_HZ), "-ac", "2")


def write_media(path: Path, samples: Samples, *options: str) -> None:
    ffmpeg(*RAW, "-i", "-", *options, f"file:{path}", given=samples.astype("<i4").tobytes())


def read_media(path: Path) -> Samples:
    """The decoded samples from presentation time zero, shape (samples, 2)."""
    decoded = ffmpeg("-i", f"file:{path}", "-af", "aresample=async=1:first_pts=0", *RAW, "-")
    return np.frombuffer(decoded, "<i4").reshape(-1, 2)


def residual_s(master: npt.NDArray[Any], dub: npt.NDArray[Any], rate_hz: int = RATE_HZ) -> float:
    """How far the dub lies from the master by plain cross-correlation, to a fraction of a sample; positive: early."""
    size = 1 << (len(master) + len(dub)).bit_length()
    spectra = [np.fft.rfft(side[:, 0].astype(np.float64), size) for side in (master, dub)]
    curve = np.fft.irfft(spectra[0] * spectra[1].conj(), size)
    peak = int(curve.argmax())
    before, top, after = (float(curve[(peak + step) % size]) for step in (-1, 0, 1))
    fraction = 0.5 * (before - after) / (before - 2 * top + after)
    lag_samples = peak if peak < size // 2 else peak - size
    return (lag_samples + fraction) / rate_hz


def shifted(master: Samples, offset_s: float) -> Samples:
    """A dub at this offset, of silence and the master's samples."""
    count = round(abs(offset_s) * RATE_HZ)
    return np.concatenate([np.zeros((count, 2), np.int32), master]) if offset_s < 0 else master[count:]


def measured(offset_s: float, codec: str, **changes: Any) -> Result:
    side: MeasuredSide = replace(SIDE, codec=codec, **changes)
    return result(offset_s, dub=side, consensus=Estimate(offset_s, 0.99, 0.1))


def run_argv(argv: list[str] | list[bytes]) -> None:
    assert os.fsdecode(argv[0]) == "ffmpeg"
    subprocess.run([FFMPEG, *argv[1:]], check=True, capture_output=True)


def corrected(dub: Path, outcome: Result) -> Path:
    """Run the command that the sidecar on the disk gives."""
    written = write_reports(subject(dub), outcome, PROCESSING, fallback=None)
    told = json.loads(written.sidecar_path.read_text(encoding="utf-8"))["correction"]
    run_argv(told["argv"])
    return Path(told["output"])


class Coding(NamedTuple):
    """How a dub is stored, and in what its correction ends."""

    extension: str
    options: str
    codec: str
    becomes: str
    delay_signalled: bool = True
    """If not, the codec's delay is heard and belongs to the offset, as with raw AAC: its 1024 samples."""


LOSSLESS = [
    Coding("wav", "-c:a pcm_s16le", "pcm_s16le", "wav"),
    Coding("wav", "-c:a pcm_s24le", "pcm_s24le", "wav"),
    Coding("wav", "-c:a pcm_f32le", "pcm_f32le", "wav"),
    Coding("flac", "-c:a flac -bits_per_raw_sample 24", "flac", "flac"),
    Coding("mkv", "-c:a pcm_s24le", "pcm_s24le", "wav"),
    Coding("mkv", "-c:a flac -sample_fmt s16", "flac", "flac"),
    Coding("mov", "-c:a pcm_s24be", "pcm_s24be", "wav"),
    Coding("m4a", "-c:a alac -sample_fmt s32p", "alac", "m4a"),
]


@pytest.mark.parametrize("offset_s", [LATE_S, EARLY_S], ids=["late", "early"])
@pytest.mark.parametrize("coding", LOSSLESS, ids=lambda coding: f"{coding.codec} in {coding.extension}")
def test_a_lossless_dub_is_moved_to_the_sample_with_every_bit(tmp_path: Path, coding: Coding, offset_s: float) -> None:
    master = programme()
    dub = tmp_path / f"Film_dub_fr.{coding.extension}"
    write_media(dub, shifted(master, offset_s), *coding.options.split())
    before = read_media(dub)
    assert abs(residual_s(master, before) - offset_s) < 1e-4
    output = corrected(dub, measured(offset_s, coding.codec))
    assert output == tmp_path / f"Film_dub_fr.synced.{coding.becomes}"
    after = read_media(output)
    assert abs(residual_s(master, after)) < 1e-4
    if offset_s < 0:
        assert np.array_equal(after, before[SHIFT_SAMPLES:])
    else:
        assert not after[:SHIFT_SAMPLES].any()
        assert np.array_equal(after[SHIFT_SAMPLES:], before)


LOSSY = [
    Coding("mp4", "-c:a aac -b:a 256k", "aac", "m4a"),
    Coding("mkv", "-c:a aac -b:a 256k", "aac", "m4a"),
    Coding("aac", "-c:a aac -b:a 256k", "aac", "m4a", delay_signalled=False),
    Coding("mp3", "-c:a libmp3lame -b:a 256k", "mp3", "mp3"),
    Coding("opus", "-c:a libopus -b:a 256k", "opus", "opus"),
    Coding("ogg", "-c:a libvorbis -q:a 8", "vorbis", "ogg"),
    Coding("mp4", "-c:a ac3 -b:a 448k", "ac3", "mp4"),
    Coding("mkv", "-c:a eac3 -b:a 448k", "eac3", "mp4"),
    Coding("ac3", "-c:a ac3 -b:a 448k", "ac3", "mp4", delay_signalled=False),
    Coding("ts", "-c:a mp2 -b:a 384k", "mp2", "flac", delay_signalled=False),
]


@pytest.mark.parametrize("offset_s", [LATE_S, EARLY_S], ids=["late", "early"])
@pytest.mark.parametrize("coding", LOSSY, ids=lambda coding: f"{coding.codec} in {coding.extension}")
def test_a_lossy_dub_is_moved_to_within_a_millisecond(tmp_path: Path, coding: Coding, offset_s: float) -> None:
    master = programme()
    dub = tmp_path / f"Film_dub_fr.{coding.extension}"
    write_media(dub, shifted(master, offset_s), *coding.options.split())
    heard_s = residual_s(master, read_media(dub))
    assert (abs(heard_s - offset_s) < 1e-3) == coding.delay_signalled
    output = corrected(dub, measured(heard_s, coding.codec))
    assert output.suffix == f".{coding.becomes}"
    assert abs(residual_s(master, read_media(output))) < 1e-3


def test_the_chosen_track_of_several_is_moved(tmp_path: Path) -> None:
    master, dub = programme(), tmp_path / "Film_dub.mkv"
    for i, offset_s in enumerate((0.0, LATE_S)):
        write_media(tmp_path / f"{i}.wav", shifted(master, offset_s), "-c:a", "pcm_s16le")
    inputs = [word for i in range(2) for word in ("-i", str(tmp_path / f"{i}.wav"))]
    ffmpeg(*inputs, "-map", "0:a", "-map", "1:a", "-c", "copy", str(dub))
    output = corrected(dub, measured(LATE_S, "pcm_s16le", track=1))
    assert abs(residual_s(master, read_media(output))) < 1e-4


CLOCKS = [
    ("matroska,webm", "mkv", "pcm_s16le", "ffv1"),
    ("mpegts", "ts", "aac", "mpeg2video"),
    ("mpeg", "mpg", "mp2", "mpeg2video"),
    ("mov,mp4,m4a,3gp,3g2,mj2", "mov", "pcm_s16le", "mpeg4"),
    ("mov,mp4,m4a,3gp,3g2,mj2", "mp4", "aac", None),
]


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda clock: f"{clock[1]} with {clock[3]}")
def test_sound_that_begins_late_in_its_container_is_moved_by_the_analysiss_clock(
    tmp_path: Path, clock: tuple[str, str, str, str | None]
) -> None:
    """Offsets are measured from the container's presentation start: the command must count from there too."""
    container, extension, codec, picture = clock
    master, sound, dub = tmp_path / "Film_master.wav", tmp_path / "sound.wav", tmp_path / f"Film_dub.{extension}"
    write_media(master, programme(), "-c:a", "pcm_s16le")
    write_media(sound, shifted(programme(), LATE_S), "-c:a", "pcm_s16le")
    with_picture = ("-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=4", "-c:v", picture) if picture else ()
    ffmpeg("-itsoffset", "0.25", "-i", str(sound), *with_picture, "-c:a", codec, str(dub))
    heard_s = heard_offset_s(master, dub)
    assert heard_s < LATE_S - 0.2
    output = corrected(dub, measured(heard_s, codec, container=container))
    assert abs(heard_offset_s(master, output)) < 1e-3


def heard_offset_s(master: Path, dub: Path) -> float:
    """The offset between two files as the analysis decodes them."""
    heard, placed = (np.hstack(list(decode_blocks(path, 0, DecodeReport()))).T for path in (master, dub))
    return residual_s(heard, placed, SAMPLE_RATE_HZ)


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    dub = tmp_path / "Film_dub.wav"
    write_media(dub, shifted(programme(1.0), LATE_S), "-c:a", "pcm_s16le")
    (tmp_path / "Film_dub.synced.wav").write_bytes(b"precious")
    told = correction(measured(LATE_S, "pcm_s16le"), dub)
    assert told is not None
    ended = subprocess.run([FFMPEG, *told["argv"][1:]], capture_output=True, check=False)
    assert b"already exists" in ended.stderr  # its exit status is 0 in some versions
    assert (tmp_path / "Film_dub.synced.wav").read_bytes() == b"precious"


ODD_NAMES = [
    b"-i_dub.wav",
    b"a:b 'c' \"d\" $(e) %d_dub.wav",
    b"new\nline\t_dub.wav",
    b"caf\xe9f_dub.wav",
    b"pipe:_dub.wav",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
def test_odd_names_are_safe_in_the_command_and_in_the_line_for_bash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    master = programme(1.0)
    write_media(tmp_path / "plain.wav", shifted(master, LATE_S), "-c:a", "pcm_s16le")
    dub = Path(os.fsdecode(name))
    (tmp_path / "plain.wav").rename(dub)
    told = correction(measured(LATE_S, "pcm_s16le"), dub)
    assert told is not None
    output = dub.with_name(f"{dub.stem}.synced.wav")
    run_argv([base64.b64decode(word) for word in told.get("argv_base64", [])] or told["argv"])
    assert abs(residual_s(master, read_media(output))) < 1e-4
    output.unlink()
    (tmp_path / "ffmpeg").symlink_to(FFMPEG)
    subprocess.run(
        ["bash", "-c", told["shell"]],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    assert abs(residual_s(master, read_media(output))) < 1e-4
