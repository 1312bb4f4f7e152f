"""wav2vec2 and its kin (HuBERT, WavLM, data2vec-audio, UniSpeech) from a folder of safetensors, through transformers.

Only the lower half of the transformer is built, and its last state taken: the lower layers tell what sounded, the upper
ones turn towards what was said, which is just what differs between a master and its dub. It costs half as much, too.
"""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path
from typing import Any, Final

import torch

from syncd.analysis.embeddings import SR_HZ, FrameRule
from syncd.errors import SyncdError
from syncd.protocol import AiOrder
from syncd.worker.gpu import Memory, is_cards_fault, is_out_of_memory
from syncd.worker.models.files import ModelFiles, is_hub_name, read_config, speech_model_files, unavailable
from syncd.worker.models.torch_embedder import DTYPES, Forward, TorchEmbedder, half_precision

NAME: Final = "wav2vec2"
HUB_FILES: Final = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
TRIAL_S: Final = 2.0
WORTH_IT: Final = 1.2
"""By so much bfloat16 must be faster on a CPU to be taken: it costs precision, and a busy machine measures badly."""
_NEVER_USED: Final = ("masked_spec_embed",)
"""Missing from some checkpoints, and only used in training."""


def load(order: AiOrder, device: str, memory: Memory) -> TorchEmbedder:
    """The checkpoint at the order's source; raises `SyncdError` MODEL_UNAVAILABLE and whatever memory raises."""
    files = speech_model_files(find_folder(order.source, may_download=order.allow_download))
    try:
        model = _built(files.path)
        rule = frame_rule(model.config)
        dtype = _chosen_dtype(order.dtype, model, device)
        model = model.to(device=device, dtype=DTYPES[dtype])
        normalises = _normalises(files.path)
        checksum = files.sha256()
    except ImportError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or is_cards_fault(error):
            raise
        raise as_unavailable(files, error) from error
    return TorchEmbedder(
        NAME,
        f"{Path(order.source).name} {checksum[:12]}",
        rule,
        forward_of(model, normalises=normalises),
        int(model.config.hidden_size),
        device=device,
        dtype=dtype,
        batch=order.batch,
        memory=memory,
    )


def find_folder(source: str, *, may_download: bool) -> Path:
    """The folder itself, or what the hub keeps under that name here; fetched first where that is allowed."""
    path = Path(source)
    if not is_hub_name(source):
        return path
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for names at the hub

    try:
        return Path(snapshot_download(source, allow_patterns=list(HUB_FILES), local_files_only=not may_download))
    except Exception as error:
        if not may_download:
            message = (
                f"There is no folder {source!r}, and no model of that name is kept here; name a folder in ai.wav2vec2, "
                "or set ai.allow_download."
            )
        else:
            message = f"The model {source!r} could not be fetched ({type(error).__name__}); name a folder instead."
        raise unavailable(message) from error


def frame_rule(config: Any) -> FrameRule:
    """From the convolutions at the model's front."""
    hop, receptive = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        receptive += (kernel - 1) * hop
        hop *= stride
    return FrameRule(hop, receptive, sees_window=True)


def forward_of(model: Any, *, normalises: bool) -> Forward:
    """Windows to the model's last state."""
    dtype = next(model.parameters()).dtype

    def forward(windows: torch.Tensor) -> torch.Tensor:
        if normalises:
            spread, middle = torch.var_mean(windows, dim=1, correction=0, keepdim=True)
            windows = (windows - middle) / torch.sqrt(spread + 1e-7)
        frames: torch.Tensor = model(windows.to(dtype)).last_hidden_state
        return frames

    return forward


def as_unavailable(files: ModelFiles, error: Exception) -> Exception:
    """A failure to load as one sentence; what already is one stays as it is."""
    if isinstance(error, SyncdError):
        return error
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return unavailable(f"The {files.kind} model in {files.path} cannot be loaded ({reason[:200]}); copy it again.")


def _built(folder: Path) -> Any:
    import transformers  # noqa: PLC0415 - seconds, and only for these models

    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    config.num_hidden_layers = max(1, (config.num_hidden_layers + 1) // 2)
    config.add_adapter = False
    kind: Any = transformers.MODEL_MAPPING[type(config)]
    model, loading = kind.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        dtype=torch.float32,
        attn_implementation="sdpa" if kind._supports_sdpa else "eager",  # noqa: SLF001 - there is no other way to ask
        output_loading_info=True,
    )
    missing = sorted(key for key in loading["missing_keys"] if not key.endswith(_NEVER_USED))
    if missing:
        raise unavailable(
            f"The model in {folder} lacks {len(missing)} of its weights ({missing[0]}, …) and would answer at random; "
            "get the whole checkpoint."
        )
    return model.eval()


def _normalises(folder: Path) -> bool:
    """Whether sound is brought to mean 0 and deviation 1; models say so, and most do."""
    if not (folder / "preprocessor_config.json").is_file():
        return True
    return bool(read_config(folder, "preprocessor_config.json").get("do_normalize", True))


def _chosen_dtype(wanted: str, model: Any, device: str) -> str:
    if wanted in DTYPES:
        return wanted
    if device != "cpu":
        return half_precision(device)
    halved = copy.deepcopy(model).to(torch.bfloat16)
    return "bfloat16" if _trial_s(model) > WORTH_IT * _trial_s(halved) else "float32"


def _trial_s(model: Any) -> float:
    """The shorter of two turns over a little noise, after one to warm up."""
    noise = torch.randn(1, round(TRIAL_S * SR_HZ), generator=torch.Generator().manual_seed(1))
    forward = forward_of(model, normalises=False)
    took_s = []
    with torch.inference_mode():
        for _ in range(3):
            started_s = time.perf_counter()
            forward(noise)
            took_s.append(time.perf_counter() - started_s)
    return min(took_s[1:])
