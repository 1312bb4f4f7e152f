"""The named weights of an ONNX file: numbers are read, nothing in the file is run.

ONNX is a protobuf message (https://onnx.ai/onnx/repo-docs/IR.html); of it only ModelProto.graph (7),
GraphProto.initializer (5) and TensorProto's dims (1), data_type (2), name (8) and raw_data (9) are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_GRAPH: Final = 7
_INITIALIZER: Final = 5
_FLOAT32: Final = 1


def read_onnx_floats(path: Path) -> dict[str, Floats]:
    """Every float32 initializer of the graph by name. Raises OSError, and ValueError for what is no ONNX file."""
    tensors: dict[str, Floats] = {}
    try:
        for graph in _parts(memoryview(path.read_bytes()), _GRAPH):
            for message in _parts(graph, _INITIALIZER):
                name, values = _tensor(message)
                if values is not None:
                    tensors[name] = values
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is cut short or no ONNX file") from error
    return tensors


def _tensor(message: memoryview) -> tuple[str, Floats | None]:
    name, data_type, dims = "", 0, list[int]()
    raw: memoryview | None = None
    for field, value in _fields(message):
        match field, value:
            case (1, int()):
                dims.append(value)
            case (1, memoryview()):
                dims.extend(_varints(value))
            case (2, int()):
                data_type = value
            case (8, memoryview()):
                name = bytes(value).decode()
            case (9, memoryview()):
                raw = value
    if data_type != _FLOAT32 or raw is None:
        return name, None
    if len(raw) != 4 * math.prod(dims):
        raise ValueError(f"{name} has {len(raw)} bytes for the shape {dims}")
    return name, np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(dims)


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for field, value in _fields(message):
        if field == wanted and isinstance(value, memoryview):
            yield value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field; those of fixed width as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                value, at = _varint(message, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"fields of kind {kind} are not in ONNX")
        if at + size > len(message):
            raise IndexError
        yield key >> 3, message[at : at + size]
        at += size


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; the value and where the next field begins."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
