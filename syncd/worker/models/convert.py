"""``python -m syncd.worker.models.convert yamnet.h5 OUT.safetensors``: the published Keras weights of YAMNet, once.

Keras writes ``layer1/conv/kernel:0`` and their like, kernels as (height, width, in, out), depthwise ones as (height,
width, channels, 1). The names of the dense layer differ between versions, so it is known by its shape. The SHA-256 of
the source and of the weights stand in the file's metadata, that of the file itself beside it (`sha256sum -c`).
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syncd.errors import ErrorCode, SyncdError
from syncd.worker.models.files import YAMNET_KIND, data_sha256
from syncd.worker.models.yamnet import CLASSES, DIMS, Yamnet

Floats = NDArray[np.float32]

_UNITS: Final = {"conv": "", "depthwise_conv": ".depthwise", "pointwise_conv": ".pointwise"}
_TENSORS: Final = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "bn/beta": "beta",
    "bn/moving_mean": "mean",
    "bn/moving_variance": "variance",
}
_PUBLISHED: Final = re.compile(
    r"(?P<layer>layer\d+)/(?P<unit>conv|depthwise_conv|pointwise_conv)/"
    r"(?P<tensor>kernel|depthwise_kernel|bn/beta|bn/moving_mean|bn/moving_variance)(:0)?$"
)


def convert(source: Path, target: Path) -> str:
    """Write `target` and its checksum's file; returns the SHA-256. Raises `SyncdError` USAGE with what is wrong."""
    from safetensors import SafetensorError  # noqa: PLC0415 - here only
    from safetensors.numpy import save_file  # noqa: PLC0415 - here only

    weights = renamed(_read_keras(source))
    digests = {"source_sha256": _sha256(source)}
    partial = target.with_name(f".{target.name}.part")
    try:
        # Twice: what the metadata say of the data is known only once the data are laid out.
        save_file(weights, partial)
        metadata = {"kind": YAMNET_KIND, "data_sha256": data_sha256(partial), **digests}
        save_file(weights, partial, metadata=metadata)
        checksum = _sha256(partial)
        partial.replace(target)
        beside = target.with_name(f"{target.name}.sha256")
        beside.write_bytes(checksum.encode() + b"  " + os.fsencode(target.name) + b"\n")
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error)
        raise SyncdError(ErrorCode.USAGE, f"{target} cannot be written: {reason}.") from error
    return checksum


def renamed(published: Mapping[str, Floats]) -> dict[str, Floats]:
    """Keras's names and layouts to those of `yamnet.Yamnet`; raises `SyncdError` USAGE where something is missing."""
    weights: dict[str, Floats] = {}
    for name, values in published.items():
        match = _PUBLISHED.search(name)
        if match is not None:
            unit, tensor = match["layer"] + _UNITS[match["unit"]], _TENSORS[match["tensor"]]
            weights[f"{unit}.{tensor}"] = _turned(values, is_depthwise=match["tensor"] == "depthwise_kernel")
        elif values.shape == (DIMS, CLASSES):
            weights["classifier.weight"] = np.ascontiguousarray(values.T)
        elif values.shape == (CLASSES,):
            weights["classifier.bias"] = values
    expected = {name: tuple(tensor.shape) for name, tensor in Yamnet().state_dict().items()}
    wrong = [name for name, shape in expected.items() if name not in weights or weights[name].shape != shape]
    if wrong:
        raise SyncdError(
            ErrorCode.USAGE, f"These are not the published weights of YAMNet: {wrong[0]} is missing or misshapen."
        )
    return weights


def _turned(values: Floats, *, is_depthwise: bool) -> Floats:
    if values.ndim != 4:
        return np.ascontiguousarray(values)
    return np.ascontiguousarray(values.transpose(2, 3, 0, 1) if is_depthwise else values.transpose(3, 2, 0, 1))


def _read_keras(source: Path) -> dict[str, Floats]:
    try:
        import h5py  # noqa: PLC0415 - an extra of its own
    except ImportError as error:
        message = "The package h5py is needed to read Keras's file: 'pip install h5py' (it comes with syncd[ai])."
        raise SyncdError(ErrorCode.USAGE, message) from error
    found: dict[str, Floats] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found[name] = np.asarray(item, dtype=np.float32)

    try:
        with h5py.File(source, "r") as file:
            file.visititems(keep)
    except OSError as error:
        reason = "there is no such file" if not source.exists() else "it is no HDF5 file, or only a part of one"
        raise SyncdError(ErrorCode.USAGE, f"{source} cannot be read: {reason}.") from error
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> None:
    """Convert, say the checksum; status 1 and a sentence where that fails."""
    try:
        sys.stdout.write(convert(Path(sys.argv[1]), Path(sys.argv[2])) + "\n")
    except SyncdError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
