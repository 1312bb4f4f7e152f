"""The synthetic programmes are honest: what they say is true of them is true, and nothing in them gives it away."""

from __future__ import annotations

import itertools
import os
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.material import (
    ENCODINGS,
    Programme,
    make_pair,
    make_unrelated_pair,
    write_audio,
    write_empty_file,
    write_silence,
    write_text_as,
    write_tone,
    write_truncated_copy,
    write_wav,
)
from tests.material.__main__ import main
from tests.material.delay import Resampled, Shifted
from tests.material.programme import Outside
from tests.material.seeds import RATE_HZ, Samples
from tests.material.writers import SampleFormat, WavWriter

EAR_HZ = 16_000
EAR_S = 30
SEEDS = (1, 2, 3)
FRENCH, GERMAN = 1, 2


# ---------------------------------------------------------------- an independent ear


def phat(a: Samples, b: Samples) -> tuple[float, float, float]:
    """Lag of ``a`` against ``b`` in samples, its peak and the second one (2 ms away or more), both in sigmas."""
    size = scipy.fft.next_fast_len(a.size + b.size, real=True)
    # Hard ends and the empty top octave would agree at lag zero, whatever the sound.
    spectra = [scipy.fft.rfft(sound * scipy.signal.windows.tukey(sound.size, 0.02), size) for sound in (a, b)]
    cross = spectra[0] * np.conj(spectra[1])
    cross /= np.abs(cross) + 1e-9
    cross[int(0.8 * cross.size) :] = 0.0
    correlation = scipy.fft.irfft(cross, size)
    strength = np.abs(correlation) / correlation.std()
    best = int(np.argmax(strength))
    before, peak, after = (float(correlation[(best + step) % size]) for step in (-1, 0, 1))
    lag = best + 0.5 * (before - after) / (before - 2.0 * peak + after)
    first = float(strength[best])
    strength[np.arange(best - 32, best + 33) % size] = 0.0
    return (lag if lag < size / 2 else lag - size), first, float(strength.max())


def flux(sound: Samples) -> np.ndarray:
    """Rises of the log spectrum in 24 mel bands, 50 frames a second, ``(frames, 24)``, in deviations, at most 4."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::320] * np.hanning(1024)
    power = np.square(np.abs(np.fft.rfft(windows)))
    edges_hz = 700.0 * (np.exp(np.linspace(np.log(1 + 60 / 700), np.log(1 + 7600 / 700), 26)) - 1.0)
    bin_hz = np.arange(513)[:, np.newaxis] * EAR_HZ / 1024
    rising = (bin_hz - edges_hz[:-2]) / np.diff(edges_hz)[:-1]
    falling = (edges_hz[2:] - bin_hz) / np.diff(edges_hz)[1:]
    rises = np.maximum(np.diff(np.log(power @ np.clip(np.minimum(rising, falling), 0, None) + 1e-6), axis=0), 0.0)
    rises -= scipy.ndimage.uniform_filter1d(rises, 51, axis=0)
    # One cut from silence to sound rises in all bands at once: unclipped, two such cuts look like a match.
    rises = np.minimum(rises / (rises.std(axis=0) + 1e-9), 4.0)
    return np.asarray(rises - rises.mean(axis=0))


def flux_peaks(a: np.ndarray, b: np.ndarray) -> tuple[int, float, float]:
    """Lag in frames of the best match over all lags with 6 s of overlap, its z, and the next one's (0.3 s away)."""
    size = scipy.fft.next_fast_len(len(a) + len(b))
    cross = scipy.fft.rfft(a, size, axis=0) * np.conj(scipy.fft.rfft(b, size, axis=0))
    correlation = scipy.fft.irfft(cross, size, axis=0).sum(axis=1)
    lag = np.arange(size) - size * (np.arange(size) > size // 2)
    overlap = np.minimum(len(a) - np.maximum(lag, 0), len(b) - np.maximum(-lag, 0))
    z = np.where(overlap > 300, correlation / np.sqrt(np.maximum(overlap, 1)), 0.0)
    z /= 1.4826 * np.median(np.abs(z[overlap > 300]))
    best = int(np.argmax(z))
    first = float(z[best])
    z[np.arange(best - 15, best + 16) % size] = 0.0
    return int(lag[best]), first, float(z.max())


def heard(path: Path) -> tuple[Samples, int]:
    """A file's sound ``(channels, n)`` and its rate."""
    blocks = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp")
        for frame in itertools.chain(container.decode(audio=0), [None]):
            blocks += [part.to_ndarray() for part in resampler.resample(frame)]
        return np.concatenate(blocks, axis=1), container.streams.audio[0].rate


def rms_db(sound: Samples) -> float:
    return float(10.0 * np.log10(np.mean(np.square(sound.astype(np.float64))) + 1e-20))


@pytest.fixture(scope="module")
def programmes() -> dict[int, Programme]:
    return {seed: Programme(seed, EAR_S, EAR_HZ) for seed in SEEDS}


@pytest.fixture(scope="module")
def loud() -> Programme:
    return Programme(2, 40.0)


@pytest.fixture(scope="module")
def masters(programmes: dict[int, Programme]) -> dict[int, Samples]:
    """The mix in one language, mono, by seed."""
    return {seed: programme.mix(FRENCH)(0, EAR_S * EAR_HZ).mean(axis=0) for seed, programme in programmes.items()}


@pytest.fixture(scope="module")
def dubs(programmes: dict[int, Programme]) -> dict[int, Samples]:
    """The mix in the other language, 2.456 s late, mono, by seed."""
    return {
        seed: programme.mix(GERMAN, shift_s=-2.456)(0, EAR_S * EAR_HZ).mean(axis=0)
        for seed, programme in programmes.items()
    }


# ---------------------------------------------------------------- truth


def test_the_shared_bed_gives_the_offset_that_was_asked_for(
    masters: dict[int, Samples], dubs: dict[int, Samples]
) -> None:
    for seed in SEEDS:
        lag, peak, second = phat(masters[seed], dubs[seed])
        assert lag / EAR_HZ == pytest.approx(-2.456, abs=2e-6)
        assert peak > 5 * second
        frames, z, _ = flux_peaks(flux(masters[seed]), flux(dubs[seed]))
        assert frames * 0.02 == pytest.approx(-2.456, abs=0.02)
        assert z > 9


@pytest.mark.parametrize(
    ("offset_s", "outside"),
    [(-1.2345678, "silence"), (-1.2345678, "programme"), (0.7654321, "silence"), (0.7654321, "programme")],
)
def test_a_pair_on_disk_has_the_offset_that_its_truth_states(tmp_path: Path, offset_s: float, outside: Outside) -> None:
    truth = make_pair(tmp_path, seed=11, duration_s=6, offset_s=offset_s, outside=outside)
    master, dub = heard(truth.master_path)[0], heard(truth.dub_path)[0]
    assert phat(master.mean(axis=0), dub.mean(axis=0))[0] / 48_000 == pytest.approx(truth.offset_s, abs=3e-6)
    if offset_s < 0:
        head_is_silent = rms_db(dub[:, : round((-offset_s - 0.01) * 48_000)]) < -80
        assert head_is_silent == (outside == "silence")


def test_another_sample_rate_and_channel_count_keep_the_offset(tmp_path: Path) -> None:
    truth = make_pair(
        tmp_path,
        seed=12,
        duration_s=6,
        offset_s=-0.3333,
        dub_sample_rate_hz=96_000,
        dub_channels=1,
        container="wav-s24",
    )
    master, dub = heard(truth.master_path)[0], heard(truth.dub_path)[0]
    assert dub.shape == (1, 6 * 96_000)
    lag, _, _ = phat(master.mean(axis=0), dub[0, ::2])  # nothing lies above 20 kHz: every second sample says it all
    assert lag / 48_000 == pytest.approx(-0.3333, abs=3e-6)


# ---------------------------------------------------------------- exactness


@settings(deadline=None, max_examples=25)
@given(shift_samples=st.floats(-3000.0, 3000.0), seed=st.integers(0, 2**16))
def test_a_delay_by_any_part_of_a_sample_is_exact_to_90_db(shift_samples: float, seed: int) -> None:
    source = _Sines(seed, top_hz=22_000.0)
    shifted = Shifted(source.sampled, shift_samples / RATE_HZ)(5000, 3000)
    expected = source.at((5000 + np.arange(3000) + shift_samples) / RATE_HZ)
    assert rms_db(shifted - expected) - rms_db(expected) < -90


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 44_100, 88_200, 96_000])
def test_another_sample_rate_hears_the_same_moments(rate_hz: int) -> None:
    source = _Sines(7, top_hz=min(20_000.0, 0.45 * rate_hz))
    resampled = Resampled(source.sampled, rate_hz)(12_345, 2000)
    expected = source.at((12_345 + np.arange(2000)) / rate_hz)
    assert rms_db(resampled - expected) - rms_db(expected) < -80


class _Sines:
    """A sum of sines that can be evaluated at any moment."""

    def __init__(self, seed: int, top_hz: float) -> None:
        rng = np.random.default_rng(seed)
        self._frequency_hz = rng.uniform(20.0, top_hz, 12)
        self._phase = rng.uniform(0.0, 6.28, 12)

    def at(self, t_s: np.ndarray) -> Samples:
        angle = 2 * np.pi * self._frequency_hz[:, np.newaxis] * t_s + self._phase[:, np.newaxis]
        return np.tile(0.05 * np.sin(angle).sum(axis=0), (2, 1))

    def sampled(self, first_sample: int, n_samples: int) -> Samples:
        return self.at((first_sample + np.arange(n_samples)) / RATE_HZ)


@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 16_000])
def test_blocks_of_every_size_give_the_same_samples(programmes: dict[int, Programme], rate_hz: int) -> None:
    n = 4 * rate_hz
    whole, mix = (programmes[3].mix(FRENCH, duck_db=4.0, shift_s=-0.512345, sample_rate_hz=rate_hz) for _ in range(2))
    expected = whole(0, n)
    sizes = itertools.cycle([1, 977, 30_011, 4096])
    pieces, first = [], 0
    while first < n:
        size = min(next(sizes), n - first)
        pieces.append(mix(first, size))
        first += size
    assert np.array_equal(np.concatenate(pieces, axis=1), expected)


def test_any_stretch_of_a_long_programme_is_made_without_what_lies_before_it() -> None:
    long = Programme(3, 4 * 3600.0)
    late = long.bed(4 * 3600 * 48_000 - 96_000, 48_000)
    assert rms_db(late) > -70
    assert np.array_equal(late, Programme(3, 4 * 3600.0).bed(4 * 3600 * 48_000 - 96_000, 48_000))


# ---------------------------------------------------------------- nothing gives a wrong answer away


def test_programmes_of_different_seeds_do_not_correlate(masters: dict[int, Samples], dubs: dict[int, Samples]) -> None:
    curves = {seed: flux(masters[seed]) for seed in SEEDS}, {seed: flux(dubs[seed]) for seed in SEEDS}
    for one, other in itertools.permutations(SEEDS, 2):
        assert flux_peaks(curves[0][one], curves[1][other])[1] < 8
        assert phat(masters[one], dubs[other])[1] < 12


def test_two_languages_alone_give_no_sharp_peak(programmes: dict[int, Programme]) -> None:
    for seed in SEEDS[:2]:
        stems = [programmes[seed].dialogue(language, 0, EAR_S * EAR_HZ)[0] for language in (FRENCH, GERMAN)]
        assert phat(stems[0], stems[1])[1] < 12
        assert flux_peaks(flux(stems[0]), flux(stems[1]))[1] < 8


def test_a_programme_does_not_repeat_itself(masters: dict[int, Samples]) -> None:
    for seed in SEEDS:
        curve = flux(masters[seed])
        lag, z, second = flux_peaks(curve, curve)
        assert lag == 0
        assert second < 0.25 * z
        assert _second_autocorrelation_peak(masters[seed]) < 0.3


def _second_autocorrelation_peak(sound: Samples) -> float:
    """Highest value beyond 100 ms against that at zero."""
    size = scipy.fft.next_fast_len(2 * sound.size, real=True)
    correlation = scipy.fft.irfft(np.square(np.abs(scipy.fft.rfft(sound.astype(np.float64), size))), size)
    return float(np.abs(correlation[EAR_HZ // 10 : sound.size]).max() / correlation[0])


# ---------------------------------------------------------------- what it sounds like, in figures


def test_levels_are_those_of_a_mix_and_nothing_clips(loud: Programme) -> None:
    n = 40 * 48_000
    lines = loud.dialogue(FRENCH, 0, n)
    bed = loud.mix(None)(0, n)
    power = np.square(lines[0]).reshape(-1, 4800).mean(axis=1)
    sounding_db = 10 * np.log10(power[power > 1e-5].mean())
    assert -23 < sounding_db < -18
    assert 6 < -20.0 - rms_db(bed) < 12
    assert np.abs(bed + lines).max() < 0.95
    assert np.array_equal(lines[0], lines[1])
    assert 0.25 < np.mean(power > 1e-5) < 0.85


def test_a_bed_is_wide_broad_and_uneven(loud: Programme) -> None:
    bed = loud.bed(0, 40 * 48_000)
    assert abs(float(np.corrcoef(bed[0], bed[1]).item(1))) < 0.8
    spectrum = np.abs(scipy.fft.rfft(bed[0].astype(np.float64))) ** 2
    hz = np.arange(spectrum.size) / 40.0
    assert spectrum[(hz > 11_000) & (hz < 13_000)].sum() > 1e-5 * spectrum.sum()
    assert spectrum[hz > 22_500].sum() < 1e-9 * spectrum.sum()
    second_db = [rms_db(second) for second in np.split(bed, 40, axis=1)]
    assert max(second_db) - min(second_db) > 10


def test_ducking_lowers_the_bed_under_lines_only(programmes: dict[int, Programme]) -> None:
    programme = programmes[2]
    n = 20 * EAR_HZ
    lines = programme.dialogue(FRENCH, 0, n)
    bed, ducked = programme.mix(None)(0, n), programme.mix(FRENCH, duck_db=6.0)(0, n) - lines
    gain = np.sqrt(
        np.square(ducked).reshape(2, -1, 1600).mean((0, 2)) / np.square(bed).reshape(2, -1, 1600).mean((0, 2))
    )
    assert gain.min() == pytest.approx(10 ** (-6 / 20), abs=0.01)
    assert gain.max() == pytest.approx(1.0, abs=0.01)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_every_encoding_can_be_heard_again(tmp_path: Path, loud: Programme, encoding: str) -> None:
    sound = loud.mix(FRENCH)(0, 96_000)
    path = write_audio(tmp_path / f"x{ENCODINGS[encoding].suffix}", sound, 48_000, encoding=encoding)
    back, rate_hz = heard(path)
    delay = {"aac": 1024, "ac3": 256}.get(encoding, 0)
    lag, _, _ = phat(back[0], sound[0])
    assert rate_hz == 48_000
    assert back.shape[1] == pytest.approx(96_000, abs=2200)
    assert lag == pytest.approx(delay, abs=0.6)
    if "pcm" in ENCODINGS[encoding].codec or ENCODINGS[encoding].codec == "flac":
        assert np.abs(back - sound).max() < 2e-5


@pytest.mark.parametrize(("sample_format", "width"), [("s16", 2), ("s24", 3)])
def test_the_fast_wav_writer_agrees_with_the_standard_library(
    tmp_path: Path, sample_format: SampleFormat, width: int
) -> None:
    sound = np.random.default_rng(1).uniform(-1.0, 1.0, (2, 22_050)).astype(np.float32)
    path = write_wav(tmp_path / "x.wav", sound, 22_050, sample_format=sample_format)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, width, 22_050)
        assert file.getnframes() == 22_050
    assert np.abs(heard(path)[0] - sound).max() < 3.1e-5  # the loudest s16 value is 32767


def test_a_wav_beyond_four_gigabytes_is_rf64(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    writer = WavWriter(path, 48_000, sample_format="float")
    with writer:
        writer.write(np.zeros((2, 48_000), np.float32))
        # A hole of zeros: the size counts, the disk does not fill.
        data_bytes = 8 * 48_000 * 4 * 3600
        os.truncate(path, 80 + data_bytes)
        writer._data_bytes = data_bytes
    with path.open("rb") as file:
        assert file.read(4) == b"RF64"
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(4 * 3600 * 1e6, rel=1e-6)


def test_an_unrelated_pair_has_the_same_shape_and_no_common_sound(tmp_path: Path) -> None:
    pair = make_unrelated_pair(tmp_path, seed=1, duration_s=12, sample_rate_hz=EAR_HZ)
    master, dub = heard(pair.master_path)[0], heard(pair.dub_path)[0]
    assert master.shape == dub.shape == (2, 12 * EAR_HZ)
    assert phat(master.mean(axis=0), dub.mean(axis=0))[1] < 12


def test_files_at_fault_are_at_fault(tmp_path: Path) -> None:
    whole = write_tone(tmp_path / "tone.mp4", 2.0)
    tone, _ = heard(whole)
    assert rms_db(tone[:, 4096:-4096]) == pytest.approx(-21.0, abs=0.3)
    assert not heard(write_silence(tmp_path / "silence.wav", 1.0))[0].any()
    for broken in (
        write_truncated_copy(whole, tmp_path / "cut.mp4"),
        write_empty_file(tmp_path / "empty.wav"),
        write_text_as(tmp_path / "text.wav"),
    ):
        with pytest.raises(av.error.FFmpegError):
            heard(broken)


def test_the_command_writes_a_pair_and_says_what_is_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(tmp_path), "--duration", "1", "--offset", "-0.25", "--container", "flac", "--title", "film"])
    assert status == 0
    assert (tmp_path / "film_master.flac").exists()
    assert (tmp_path / "film_dub_fr.flac").exists()
    assert "0.250000 s late" in capsys.readouterr().out
    assert main([str(tmp_path), "--duration", "1", "--unrelated"]) == 0
    assert "two different programmes" in capsys.readouterr().out
