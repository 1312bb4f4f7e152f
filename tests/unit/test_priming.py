"""Every encoder against its source, in every container that takes it: what is heard late is signalled, or is suspected.

3 s of sound, each encoder of this build in each container that syncd reads. The lag that remains after decoding must be
what `suspected_delay` names: nothing where the file signals its priming.
"""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import av
import imageio_ffmpeg
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.codec.codec import Codec
from numpy.typing import NDArray

from syncd.errors import ErrorCode, SyncdError
from syncd.media.decode import SAMPLE_RATE_HZ, DecodeReport, decode_blocks
from syncd.media.priming import suspected_delay
from syncd.media.probe import probe
from tests.material import write_wav

Floats = NDArray[Any]
SECONDS: Final = 3.0

MUXERS: Final = (
    "wav", "w64", "aiff", "au", "caf", "flac", "mp4", "mov", "ipod", "f4v", "3gp", "matroska", "webm", "mpegts", "mpeg",
    "mxf", "adts", "latm", "ac3", "eac3", "mp3", "mp2", "ogg", "opus", "avi", "asf", "nut", "flv", "amr", "tta", "wv",
)  # fmt: skip
"""All that have a demuxer on syncd's list."""

OWN_RATES_HZ: Final = {
    "libopencore_amrnb": 8_000, "g723_1": 8_000, "real_144": 8_000, "g722": 16_000, "roq_dpcm": 22_050,
    "adpcm_ima_amv": 22_050,
}  # fmt: skip
BIT_RATES: Final = {"libopencore_amrnb": 12_200, "g723_1": 6_300, "wmav1": 128_000, "wmav2": 128_000}
MONO: Final = frozenset({
    "libopencore_amrnb", "g723_1", "real_144", "g722", "g726", "g726le", "nellymoser", "adpcm_ima_amv",
})  # fmt: skip
NO_SOUND: Final = {"anull": "writes nothing", "comfortnoise": "writes the noise's colour, not the sound"}

MILLISECOND_CLOCKS: Final = {"asf": 1.0, "flv": 0.6}
"""Containers whose clock ticks in milliseconds: so much may be lost of an encoder's fraction."""

CODEC_TOLERANCE_MS: Final = {"libopencore_amrnb": 1.4}
"""This encoder claims 50 samples of delay (the container signals them) and has 40."""

NOT_CARRIED: Final = {
    ("aac", "wav"): "the muxer drops the codec's set-up",
    ("aac", "w64"): "the muxer drops the codec's set-up",
    ("adpcm_swf", "wav"): "blocks have no length there",
    ("adpcm_swf", "w64"): "blocks have no length there",
    ("dfpwm", "avi"): "the muxer has no name for it",
    ("eac3", "avi"): "the muxer writes a wrong clock",
    ("flac", "asf"): "the muxer writes a wrong clock",
    ("g722", "avi"): "the muxer writes a wrong clock",
    ("g726", "avi"): "the muxer writes a wrong clock",
    ("libopencore_amrnb", "avi"): "the muxer writes a wrong clock",
    ("vorbis", "wav"): "the muxer drops the codec's set-up",
    ("vorbis", "w64"): "the muxer drops the codec's set-up",
    ("vorbis", "avi"): "the muxer drops the codec's set-up",
    ("vorbis", "asf"): "its first packet has no place in that clock",
    ("vorbis", "nut"): "its first packet has no place in that clock",
    ("wmav1", "wav"): "its blocks are not where the header puts them",
    ("wmav2", "wav"): "its blocks are not where the header puts them",
    ("wmav1", "w64"): "its blocks are not where the header puts them",
    ("wmav2", "w64"): "its blocks are not where the header puts them",
}
"""What ffmpeg's muxers write without complaint and nobody can read back as it was; no such file exists in the field."""

NOWHERE: Final = frozenset({
    "adpcm_adx", "adpcm_argo", "adpcm_ima_alp", "adpcm_ima_amv", "adpcm_ima_apm", "adpcm_ima_ssi", "aptx", "aptx_hd",
    "pcm_bluray", "pcm_s24daud", "pcm_vidc", "roq_dpcm", "sbc",
})  # fmt: skip
"""Only games, discs and radio links hold it, none of which syncd reads."""

IN_MPEGTS: Final = frozenset({
    "aac", "ac3", "ac3_fixed", "eac3", "libmp3lame", "libopus", "mp2", "mp2fixed", "mp3", "opus",
})  # fmt: skip
"""Its muxer takes all others too, without a name: nobody can tell that there is sound in it."""
WITHOUT_LENGTH_IN_NUT: Final = frozenset({"adpcm_ima_wav", "g726", "wmav1", "wmav2"})


def encoders() -> list[str]:
    found = []
    for name in sorted(av.codecs_available):
        try:
            codec = Codec(name, "w")
        except ValueError:  # decodes only
            continue
        if codec.type == "audio":
            found.append(name)
    return found


@cache
def chord(rate_hz: int) -> Floats:
    """The same continuous sound at any rate: 60 sines below 3.2 kHz."""
    rng = np.random.default_rng(5)
    times_s = np.arange(round(SECONDS * rate_hz)) / rate_hz
    tones = zip(rng.uniform(150, 3_200, 60), rng.uniform(0, 6.28, 60), strict=True)
    return np.asarray(sum(0.02 * np.sin(2 * np.pi * hz * times_s + phase) for hz, phase in tones))


def lag_and_likeness(sound: Floats) -> tuple[float, float]:
    """How much later than the chord (ms), from the slope of the cross spectrum's phase, and their correlation there."""
    reference = chord(SAMPLE_RATE_HZ)
    n_fft = 1 << 17
    ours, theirs = np.fft.rfft(sound[: reference.size * 2], n_fft), np.fft.rfft(reference, n_fft)
    cross = ours * np.conj(theirs)
    curve = np.fft.irfft(cross)
    top = int(np.argmax(curve))
    whole = top - n_fft if top > n_fft // 2 else top
    turns = np.arange(cross.size) / n_fft
    phase = np.angle(cross * np.exp(2j * np.pi * turns * whole))
    slope = np.sum(np.abs(cross) * turns * phase) / np.sum(np.abs(cross) * np.square(turns))
    power = np.sqrt(np.sum(np.square(sound)) * np.sum(np.square(reference)))
    return float(whole - slope / (2 * np.pi)) / SAMPLE_RATE_HZ * 1_000.0, float(curve[top] / power) if power else 0.0


def sample_rate_of(encoder: str) -> int:
    rates = Codec(encoder, "w").audio_rates
    wanted = OWN_RATES_HZ.get(encoder, 48_000)
    return wanted if not rates or wanted in rates else max(rates)


def encode(path: Path, encoder: str, muxer: str) -> None:
    """Raises what PyAV raises where the two do not go together."""
    rate_hz, layout = sample_rate_of(encoder), "mono" if encoder in MONO else "stereo"
    with av.open(os.fspath(path), "w", format=muxer) as output:
        added: Any = output.add_stream(encoder, rate=rate_hz, layout=layout, options={"strict": "experimental"})
        stream = cast("AudioStream", added)
        if encoder in BIT_RATES:
            stream.bit_rate = BIT_RATES[encoder]
        sound = np.ascontiguousarray(np.stack([chord(rate_hz)] * (1 if layout == "mono" else 2)), dtype=np.float32)
        for first in range(0, sound.shape[1], 4_096):
            block = np.ascontiguousarray(sound[:, first : first + 4_096])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), first
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def heard(path: Path) -> tuple[float, float, float]:
    """(lag ms, suspected ms, likeness) of a file; raises `SyncdError`."""
    info = probe(path)
    report = DecodeReport()
    sound = np.concatenate([block[0] for block in decode_blocks(path, 0, report)])
    track = info.tracks[0]
    suspected = suspected_delay(
        report.codec or track.codec, info.container, track.sample_rate_hz, is_signalled=report.signals_priming
    )
    lag_ms, likeness = lag_and_likeness(sound)
    return lag_ms, suspected.ms if suspected else 0.0, likeness


@pytest.mark.parametrize("encoder", [name for name in encoders() if name not in NO_SOUND])
def test_what_an_encoder_delays_is_signalled_or_suspected(tmp_path: Path, encoder: str) -> None:
    heard_in, wrong = [], []
    refused: dict[str, ErrorCode] = {}
    for muxer in MUXERS:
        if (encoder, muxer) in NOT_CARRIED:
            continue
        path = tmp_path / f"a.{muxer}"
        try:
            encode(path, encoder, muxer)
        except (ValueError, av.FFmpegError):  # this container does not take it
            continue
        try:
            lag_ms, suspected_ms, likeness = heard(path)
        except SyncdError as error:
            refused[muxer] = error.code
            continue
        heard_in.append(muxer)
        allowed_ms = CODEC_TOLERANCE_MS.get(encoder, 0.05) + MILLISECOND_CLOCKS.get(muxer, 0.0)
        if likeness < 0.5 or abs(lag_ms - suspected_ms) > allowed_ms:
            wrong.append(f"{muxer}: {lag_ms:.3f} ms late, {suspected_ms:.3f} suspected, likeness {likeness:.2f}")
    assert not wrong
    assert bool(heard_in) is (encoder not in NOWHERE)
    nameless = {"mpegts"} if encoder not in IN_MPEGTS else set()
    empty = {"nut"} if encoder in WITHOUT_LENGTH_IN_NUT else set()
    assert refused == dict.fromkeys(nameless | empty, ErrorCode.NO_AUDIO)


@pytest.mark.parametrize(
    ("encoder", "muxer", "options"),
    [
        ("aac", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("libmp3lame", "mp3", {"write_xing": "0"}),
    ],
)
def test_the_same_format_without_its_signal_is_suspected(
    tmp_path: Path, encoder: str, muxer: str, options: dict[str, str]
) -> None:
    path = tmp_path / f"a.{muxer}"
    source = write_wav(tmp_path / "source.wav", np.stack([chord(48_000)] * 2), 48_000)
    arguments = [f for key, value in options.items() for f in (f"-{key}", value)]
    ffmpeg(source, path, "-c:a", encoder, *arguments)
    lag_ms, suspected_ms, _ = heard(path)
    assert suspected_ms > 20.0
    assert lag_ms == pytest.approx(suspected_ms, abs=0.05)


@pytest.mark.parametrize(
    ("encoder", "name"), [("dca", "a.mkv"), ("dca", "a.dts"), ("dca", "a.ts"), ("truehd", "a.mkv"), ("truehd", "a.thd")]
)
def test_encoders_that_only_the_program_has_are_as_the_table_says(tmp_path: Path, encoder: str, name: str) -> None:
    source = write_wav(tmp_path / "source.wav", np.stack([chord(48_000)] * 2), 48_000)
    ffmpeg(source, tmp_path / name, "-c:a", encoder, "-strict", "-2")
    lag_ms, suspected_ms, likeness = heard(tmp_path / name)
    assert likeness > 0.9
    assert lag_ms == pytest.approx(suspected_ms, abs=0.05)


def ffmpeg(source: Path, target: Path, *arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-i", os.fspath(source), *arguments]
    done = subprocess.run([*command, os.fspath(target)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this ffmpeg does not: {done.stderr.decode('utf-8', 'replace').strip()}")


def test_the_suspicion_says_what_it_rests_on() -> None:
    suspected = suspected_delay("aac", "mpegts", 48_000, is_signalled=False)
    assert suspected is not None
    assert suspected.ms == pytest.approx(1_024 / 48.0)
    assert "AAC encoders put 1024 samples (others up to 2112) before the sound" in suspected.reason
    assert "mpegts" in suspected.reason


@pytest.mark.parametrize(
    ("codec", "rate_hz", "is_signalled"), [("aac", 48_000, True), ("pcm_s16le", 48_000, False), ("aac", 0, False)]
)
def test_nothing_is_suspected_without_ground(codec: str, rate_hz: int, is_signalled: bool) -> None:
    assert suspected_delay(codec, "mpegts", rate_hz, is_signalled=is_signalled) is None
