"""Silero VAD (16 kHz, version 6) in numpy: how likely somebody speaks, every 32 ms.

The package `silero-vad` ships its network as TorchScript, ONNX and safetensors. TorchScript is an archive of pickles
and programs and needs torch (seconds and hundreds of MiB to import); importing the package sets torch to one thread.
The safetensors hold older weights than the network that the package runs (15 % of the frames differ by more than
0.01); the ONNX file holds the very same. So the package is located and never imported, the weights' numbers are read
from the ONNX file, and the network, six small layers (`silero_vad/tinygrad_model.py`), is evaluated here.

The convolutions look at one frame at a time, so they take many at once. The recurrent layer is stepped through from the
start, frame after frame, all sounds beside each other: cut into segments that warm up for 4 s it would be half as dear,
but it remembers longer than that (8 % of the frames then differed by more than 0.01; 5 % after 8 s).

Glossary: a `frame` is 512 samples and gives one probability; the network sees it with the 64 samples before it.
`gates` is what a frame says to the recurrent layer: 512 numbers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.evidence import Beat, SampleSource
from syncd.analysis.features import periodic_hann
from syncd.analysis.onnx_tensors import read_onnx_floats
from syncd.analysis.threads import in_order

Floats = NDArray[np.float32]

FRAME_SAMPLES: Final = 512
CONTEXT_SAMPLES: Final = 64
SR_HZ: Final = 16_000
FRAMES_PER_S: Final = SR_HZ / FRAME_SAMPLES

BLOCK_FRAMES: Final = 1_024
"""Made ready at once: 33 s, 2 MiB a sound."""

_N_FFT: Final = 256
_HOP: Final = 128
_SPECTRA: Final = 4
"""A frame."""
_MEMORY: Final = 128
_FRAMES_AT_ONCE: Final = 256
"""In the layers before the memory: what they make on the way stays in the processor's cache."""

WEIGHTS: Final = Path("data", "silero_vad_16k_op15.onnx")


class ModelUnavailable(Exception):
    """The weights are not there; the text says what to do."""


@dataclass(frozen=True)
class Silero:
    """The weights, turned to where they are used."""

    layers: tuple[tuple[Floats, Floats], ...]
    """Matrix (inputs, outputs) and bias (outputs,) of the four convolutions; three steps of time are one input."""
    into_memory: tuple[Floats, Floats]
    """(128, 512) and (512,): input, forget, cell and output gate side by side."""
    within_memory: Floats
    """(128, 512)."""
    out_of_memory: tuple[Floats, float]
    """(128,) and a bias."""


def load_silero() -> Silero:
    """The weights of the installed package; raises `ModelUnavailable`."""
    found = importlib.util.find_spec("silero_vad")
    if found is None or not found.submodule_search_locations:
        raise ModelUnavailable("the package silero-vad is not installed (it comes with syncd[ai])")
    path = Path(found.submodule_search_locations[0]) / WEIGHTS
    try:
        return _turned(read_onnx_floats(path))
    except FileNotFoundError as error:
        raise ModelUnavailable(f"this silero-vad has no {WEIGHTS.name}; version 6 has it") from error
    except (KeyError, ValueError) as error:
        raise ModelUnavailable(f"the weights of this silero-vad are not those of version 6: {error}") from error


def _turned(weights: dict[str, Floats]) -> Silero:
    first, second = (_as_matrix(weights, layer, slice(0, 3)) for layer in (0, 1))
    # The third convolution sees two steps of three, the fourth one: the others fall on padding.
    third, fourth = _as_matrix(weights, 2, slice(1, 3)), _as_matrix(weights, 3, slice(1, 2))
    # A sigmoid is half a tanh of half its argument: with three gates halved one tanh serves all four.
    halved = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], dtype=np.float32), _MEMORY)
    bias = (weights["model.decoder.rnn.bias_ih"] + weights["model.decoder.rnn.bias_hh"]) * halved
    return Silero(
        layers=(first, second, third, fourth),
        into_memory=(np.ascontiguousarray(weights["model.decoder.rnn.weight_ih"].T * halved), bias),
        within_memory=np.ascontiguousarray(weights["model.decoder.rnn.weight_hh"].T * halved),
        out_of_memory=(
            weights["model.decoder.decoder.2.weight"].reshape(_MEMORY),
            float(weights["model.decoder.decoder.2.bias"][0]),
        ),
    )


def _as_matrix(weights: dict[str, Floats], layer: int, steps: slice) -> tuple[Floats, Floats]:
    kernel = weights[f"model.encoder.{layer}.reparam_conv.weight"][:, :, steps]
    bias = weights[f"model.encoder.{layer}.reparam_conv.bias"]
    return np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, kernel.shape[0])), bias


def read_speech(model: Silero, sounds: Sequence[SampleSource], gains: Sequence[float], beat: Beat) -> list[Floats]:
    """Speech probability of each sound times its gain, shape (frames,), 0 to 1: the last frame is filled with silence.

    Two threads: one makes gates ready while the other steps. Memory beyond the curves does not grow with the sounds.
    """
    frames = [-(-sound.samples // FRAME_SAMPLES) for sound in sounds]
    logits = np.empty((max(frames, default=0), len(sounds)), dtype=np.float32)
    starts = range(0, logits.shape[0], BLOCK_FRAMES)
    memory = _Memory(len(sounds))
    with ThreadPoolExecutor(1) as threads:
        ready = in_order(threads, lambda start: _block_gates(model, sounds, gains, start), starts)
        for done, gates in enumerate(ready):
            beat(done, len(starts))
            block = logits[starts[done] : starts[done] + BLOCK_FRAMES]
            memory.step_through(model, gates, block)
    logits += np.float32(model.out_of_memory[1])
    return [np.asarray(1.0 / (1.0 + np.exp(-logits[:count, row]))) for row, count in enumerate(frames)]


def _block_gates(model: Silero, sounds: Sequence[SampleSource], gains: Sequence[float], start: int) -> Floats:
    """Shape (frames, sounds, 512); beyond a sound's end those of silence."""
    gates = np.empty((BLOCK_FRAMES, len(sounds), 4 * _MEMORY), dtype=np.float32)
    matrix, bias = model.into_memory
    for row, (sound, gain) in enumerate(zip(sounds, gains, strict=True)):
        for first in range(0, BLOCK_FRAMES, _FRAMES_AT_ONCE):
            position = (start + first) * FRAME_SAMPLES - CONTEXT_SAMPLES
            samples = sound.read(position, _FRAMES_AT_ONCE * FRAME_SAMPLES + CONTEXT_SAMPLES) * np.float32(gain)
            gates[first : first + _FRAMES_AT_ONCE, row] = _encode(model, samples) @ matrix
    gates += bias
    return gates


class _Memory:
    """The recurrent layer (LSTM), a row a sound."""

    def __init__(self, rows: int) -> None:
        self._hidden: Floats = np.zeros((rows, _MEMORY), dtype=np.float32)
        self._cell: Floats = np.zeros((rows, _MEMORY), dtype=np.float32)

    def step_through(self, model: Silero, gates: Floats, logits: Floats) -> None:
        """Take each frame of `gates` (frames, rows, 512; overwritten), write (frames, rows) but for the bias."""
        told = np.empty((logits.shape[0], *self._hidden.shape), dtype=np.float32)
        from_hidden = np.empty(gates.shape[1:], dtype=np.float32)
        sigmoid = np.array([1.0, 1.0, 0.0, 1.0], dtype=np.float32).repeat(_MEMORY)
        scale = np.array([0.5, 0.5, 1.0, 0.5], dtype=np.float32).repeat(_MEMORY)
        for frame in range(logits.shape[0]):
            heard, hidden = gates[frame], told[frame]
            np.matmul(self._hidden, model.within_memory, out=from_hidden)
            np.add(heard, from_hidden, out=heard)
            np.tanh(heard, out=heard)
            np.add(heard, sigmoid, out=heard)
            np.multiply(heard, scale, out=heard)
            self._cell *= heard[:, _MEMORY : 2 * _MEMORY]
            self._cell += heard[:, :_MEMORY] * heard[:, 2 * _MEMORY : 3 * _MEMORY]
            np.tanh(self._cell, out=hidden)
            np.multiply(hidden, heard[:, 3 * _MEMORY :], out=hidden)
            self._hidden = hidden
        np.matmul(np.maximum(told, 0.0), model.out_of_memory[0], out=logits)


def _encode(model: Silero, sound: Floats) -> Floats:
    """What the convolutions make of each frame: (64 + 512 n,) samples to (n, 128)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, CONTEXT_SAMPLES + FRAME_SAMPLES)[::FRAME_SAMPLES]
    count = frames.shape[0]
    mirrored = np.concatenate((frames, frames[:, -2 : -2 - CONTEXT_SAMPLES : -1]), axis=1)
    pieces = np.lib.stride_tricks.sliding_window_view(mirrored, _N_FFT, axis=1)[:, ::_HOP]
    spectrum = scipy.fft.rfft(pieces * periodic_hann(_N_FFT), axis=2)
    # One step of silence on both sides: the padding of the first convolution.
    heard = np.zeros((count, _SPECTRA + 2, _N_FFT // 2 + 1), dtype=np.float32)
    np.abs(spectrum, out=heard[:, 1:-1])
    first = np.zeros((count, _SPECTRA + 1, 128), dtype=np.float32)
    first[:, 1:] = _layer(model, 0, _triples(heard, 1))
    second = _layer(model, 1, _triples(first, 2))
    third = _layer(model, 2, second.reshape(count, -1))
    return _layer(model, 3, third)


def _triples(steps: Floats, stride: int) -> Floats:
    """Each step with its two neighbours side by side: (n, t, k) to (n, t', 3 k)."""
    count, length, width = steps.shape
    starts = range(0, length - 2, stride)
    joined = np.empty((count, len(starts), 3 * width), dtype=np.float32)
    for index, start in enumerate(starts):
        joined[:, index] = steps[:, start : start + 3].reshape(count, 3 * width)
    return joined


def _layer(model: Silero, index: int, values: Floats) -> Floats:
    matrix, bias = model.layers[index]
    out = values.reshape(-1, values.shape[-1]) @ matrix
    out += bias
    np.maximum(out, 0.0, out=out)
    return out.reshape(*values.shape[:-1], matrix.shape[1])
