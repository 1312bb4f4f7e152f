"""Model files as they lie on disk, without what would run them: plain Python, for the commands too.

Only safetensors are read: a pickle may run programs. A file's header says where each tensor lies, so a copy that broke
off is told before anything is loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from syncd.errors import ErrorCode, SyncdError

MAX_HEADER_BYTES: Final = 100_000_000
"""As the format's own library has it."""
MAX_CONFIG_BYTES: Final = 10_000_000
SPEECH_KINDS: Final = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat")
"""`model_type` of the checkpoints that ``wav2vec2`` stands for: one architecture, trained in different ways."""
INDEX: Final = "model.safetensors.index.json"
WEIGHTS: Final = "model.safetensors"
YAMNET_KIND: Final = "yamnet"
_PICKLES: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth", "model.ckpt")
_HUB_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model that is there and whole, as far as its files tell."""

    kind: str
    """`model_type` of its configuration, or yamnet."""
    path: Path
    weights: tuple[Path, ...]
    size_bytes: int

    def sha256(self) -> str:
        """Of the weights, one file after the other; reads all of them."""
        digest = hashlib.sha256()
        for path in self.weights:
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a file is replaced."""
        found = []
        for path in (*self.weights, self.path / "config.json", self.path / "preprocessor_config.json"):
            if path.is_file():
                status = path.stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)


def unavailable(message: str) -> SyncdError:
    """The one code for a model that cannot be had; `message` says what, where, and what to do."""
    return SyncdError(ErrorCode.MODEL_UNAVAILABLE, message)


def is_hub_name(source: str) -> bool:
    """Whether it could be a name at the hub, and is no path."""
    return _HUB_NAME.fullmatch(source) is not None and not Path(source).exists()


def speech_model_files(folder: Path) -> ModelFiles:
    """A folder with a wav2vec2, HuBERT, WavLM or data2vec checkpoint; raises `SyncdError` MODEL_UNAVAILABLE."""
    try:
        if not folder.is_dir():
            raise unavailable(
                f"There is no model folder {folder}; put config.json, preprocessor_config.json and {WEIGHTS} there, "
                "or mend ai.wav2vec2."
            )
        config = read_config(folder)
        weights = _speech_weights(folder)
        size_bytes = sum(path.stat().st_size for path in weights)
    except OSError as error:
        raise unavailable(f"The model in {folder} cannot be read: {error.strerror}; mend its rights.") from error
    kind = str(config.get("model_type"))
    if kind not in SPEECH_KINDS:
        raise unavailable(
            f"{folder} holds a model of the kind {kind!r}; ai.wav2vec2 takes one of {', '.join(SPEECH_KINDS)}."
        )
    for path in weights:
        read_header(path)
    return ModelFiles(kind, folder, weights, size_bytes)


def yamnet_files(path: Path) -> ModelFiles:
    """A file that `syncctl models convert` made; raises `SyncdError` MODEL_UNAVAILABLE."""
    how = f"make it with 'syncctl models convert yamnet.h5 {path}', or mend ai.yamnet"
    try:
        if not path.is_file():
            raise unavailable(f"There are no YAMNet weights at {path}; {how}.")
        if path.suffix in {".h5", ".hdf5"}:
            raise unavailable(f"{path} is the published Keras file; syncd reads what is made of it: {how}.")
        metadata, _ = read_header(path)
        size_bytes = path.stat().st_size
    except OSError as error:
        raise unavailable(f"The model at {path} cannot be read: {error.strerror}; mend its rights.") from error
    if metadata.get("kind") != YAMNET_KIND:
        raise unavailable(f"{path} holds no YAMNet weights; {how}.")
    return ModelFiles(YAMNET_KIND, path, (path,), size_bytes)


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A JSON file of the folder; raises `SyncdError` MODEL_UNAVAILABLE, and OSError."""
    path = folder / name
    if not path.is_file():
        raise unavailable(f"{folder} has no {name}; copy the whole model folder.")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise unavailable(f"{path} is far too large for what it should be; copy it again.")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise unavailable(f"{path} is damaged: it is no JSON; copy it again.") from error
    if not isinstance(value, dict):
        raise unavailable(f"{path} is damaged: it is no JSON object; copy it again.")
    return value


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    """Metadata of a safetensors file, and where each tensor lies after the header.

    Raises `SyncdError` MODEL_UNAVAILABLE where the file is damaged or not all there, and OSError.
    """
    again = "copy it again"
    size_bytes = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else MAX_HEADER_BYTES + 1
        if length > min(MAX_HEADER_BYTES, size_bytes - 8):
            raise unavailable(f"{path} is damaged: it is no safetensors file; {again}.")
        text = stream.read(length)
    try:
        header = json.loads(text)
        metadata = {str(k): str(v) for k, v in header.pop("__metadata__", {}).items()}
        places = {str(k): (int(v["data_offsets"][0]), int(v["data_offsets"][1])) for k, v in header.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise unavailable(f"{path} is damaged: its header cannot be read; {again}.") from error
    held = size_bytes - 8 - length
    needed = max((end for _, end in places.values()), default=0)
    if held != needed:
        raise unavailable(f"{path} is damaged: it holds {held} bytes of weights where {needed} are named; {again}.")
    return metadata, places


def data_sha256(path: Path) -> str:
    """Of what follows a safetensors file's header; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(8 + struct.unpack("<Q", stream.read(8))[0])
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _speech_weights(folder: Path) -> tuple[Path, ...]:
    whole, index = folder / WEIGHTS, folder / INDEX
    if whole.is_file():
        return (whole,)
    if index.is_file():
        places = read_config(folder, INDEX).get("weight_map")
        names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
        missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
        if not names or missing:
            raise unavailable(f"{folder} lacks {', '.join(missing) or 'its weights'}; copy the whole model folder.")
        return tuple(folder / name for name in names)
    pickled = [name for name in _PICKLES if (folder / name).exists()]
    if pickled:
        raise unavailable(
            f"{folder} holds its weights only as {pickled[0]}, a pickle, which may run programs; get the model as "
            f"{WEIGHTS}."
        )
    raise unavailable(f"{folder} has no {WEIGHTS}; copy the whole model folder.")
