"""Loading: a stock checkpoint, optionally with a glimpse add-on, from a folder or a hub id."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import snapshot_download
from torch import Tensor, nn
from transformers import AutoConfig, GenerationConfig, Qwen2_5_VLForConditionalGeneration

from glimpseprune.errors import GlimpseError, UnsupportedModelError
from glimpseprune.families.base import Backbone
from glimpseprune.families.qwen2_5_vl import Qwen25VL
from glimpseprune.methods.glimpse.addon import load_addon
from glimpseprune.methods.glimpse.addon_config import (
    OWN_CONFIG,
    OWN_WEIGHTS,
    PUBLISHED_CONFIG,
    PUBLISHED_WEIGHTS,
    AddonConfig,
    BaseShape,
    new_addon_config,
    read_addon_config,
)
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.rule import KeepRule

if TYPE_CHECKING:
    from glimpseprune.generation import Keep
    from glimpseprune.page import Answer, EncodedPage

ATTENTION = ("auto", "sdpa", "flash_attention_2")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class GlimpseModel:
    """A stock model, seen as a backbone, and the add-on that prunes for it.

    Attributes:
        base: the transformers model, unchanged.
        backbone: the same model as its parts.
        glimpse: the add-on, or ``None`` where nothing can be pruned.
        eos_token_ids: tokens that end an answer, from the checkpoint's generation config.
        repetition_penalty: from the checkpoint's generation config.
    """

    base: nn.Module
    backbone: Backbone
    glimpse: Glimpse | None
    eos_token_ids: frozenset[int]
    repetition_penalty: float

    @property
    def rule(self) -> KeepRule | None:
        """The rule the add-on came with."""
        return None if self.glimpse is None else self.glimpse.config.rule

    def encode_page(self, prefix_ids: Tensor, pixels: Tensor, grid: tuple[int, int]) -> EncodedPage:
        """See :func:`glimpseprune.page.encode_page`."""
        from glimpseprune.page import encode_page

        return encode_page(self, prefix_ids, pixels, grid)

    def ask(
        self,
        page: EncodedPage,
        questions: Sequence[Tensor],
        rule: Keep | Sequence[Keep] = None,
        max_new_tokens: int | Sequence[int] = 32,
    ) -> list[Answer]:
        """See :func:`glimpseprune.page.ask_page`."""
        from glimpseprune.page import ask_page

        return ask_page(self, page, questions, rule, max_new_tokens)


def load(
    base: str | Path,
    glimpse: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attn_implementation: str = "auto",
) -> GlimpseModel:
    """Load a base model and its add-on. An add-on that does not fit is refused before any weight of the base is read.

    Args:
        base: folder or hub id of a Qwen2.5-VL checkpoint, with key names of any transformers release.
        glimpse: folder or hub id of an add-on, published or our own; ``None`` loads no add-on.
        device: ``auto`` (CUDA where there is one, else CPU) or a torch device.
        dtype: ``auto`` (as stored; float32 on the CPU if that is a 16-bit type) or one of ``DTYPES``.
        attn_implementation: ``auto`` (flash attention 2 where it is installed, on CUDA and in 16 bits; else SDPA) or
            one of ``ATTENTION``.

    Raises:
        AddonError: the add-on is unreadable or does not fit the base.
        UnsupportedModelError: the base is of a family this package does not drive.
        GlimpseError: an argument is none of its values, or the checkpoint is incomplete.
        OSError: there is no such folder or hub id.
    """
    config = AutoConfig.from_pretrained(base)
    if config.model_type != "qwen2_5_vl":
        raise UnsupportedModelError(f"{base} is a {config.model_type!r} model; supported: 'qwen2_5_vl'")
    addon: tuple[Path, AddonConfig] | None = None
    if glimpse is not None:
        folder = addon_folder(glimpse)
        addon_config = read_addon_config(folder)
        addon_config.check_base(_shape(config))
        addon = (folder, addon_config)
    module = None if addon is None else load_addon(*addon)

    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    torch_dtype = _dtype(dtype, config, target)
    model = _load_base(base, torch_dtype, _attention(attn_implementation, target, torch_dtype)).to(target)
    if module is not None:
        module = module.to(device=target, dtype=torch_dtype)
    eos = model.generation_config.eos_token_id
    return GlimpseModel(
        base=model,
        backbone=Qwen25VL(model),
        glimpse=module,
        eos_token_ids=frozenset([] if eos is None else [eos] if isinstance(eos, int) else eos),
        repetition_penalty=float(model.generation_config.repetition_penalty or 1.0),
    )


def new_glimpse(model: GlimpseModel, reduce_layer: int | None = None) -> Glimpse:
    """A fresh add-on for a loaded base, float32 on its device, to be trained.

    Raises:
        AddonError: ``reduce_layer`` is not a layer of the base.
    """
    config: Any = model.base.config
    vision = config.vision_config
    window = vision.window_size // vision.spatial_merge_size // vision.patch_size
    made = new_addon_config(_shape(config), window, config.text_config.rms_norm_eps, reduce_layer)
    return Glimpse(made).to(model.backbone.device)


def addon_folder(glimpse: str | Path) -> Path:
    """The local folder of an add-on; a hub id is downloaded, only the files an add-on is made of."""
    if Path(glimpse).is_dir():
        return Path(glimpse)
    files = [OWN_CONFIG, OWN_WEIGHTS, PUBLISHED_CONFIG, PUBLISHED_WEIGHTS]
    return Path(snapshot_download(str(glimpse), allow_patterns=files))


def _shape(config: Any) -> BaseShape:
    return BaseShape(
        hidden_size=config.text_config.hidden_size,
        num_hidden_layers=config.text_config.num_hidden_layers,
        num_attention_heads=config.text_config.num_attention_heads,
        vision_hidden_size=config.vision_config.hidden_size,
        vision_depth=config.vision_config.depth,
    )


def _dtype(name: str, config: Any, device: torch.device) -> torch.dtype:
    if name not in DTYPES:
        raise GlimpseError(f"dtype is {name!r}; expected one of {', '.join(DTYPES)}")
    if name != "auto":
        chosen: torch.dtype = getattr(torch, name)
        return chosen
    stored = config.dtype or config.text_config.dtype or torch.float32
    # 16-bit arithmetic on a CPU is slower than float32 and less exact.
    return torch.float32 if device.type == "cpu" else stored


def _attention(name: str, device: torch.device, dtype: torch.dtype) -> str:
    if name not in ATTENTION:
        raise GlimpseError(f"attn_implementation is {name!r}; expected one of {', '.join(ATTENTION)}")
    possible = device.type == "cuda" and dtype != torch.float32 and importlib.util.find_spec("flash_attn") is not None
    if name == "flash_attention_2" and not possible:
        raise GlimpseError(
            "flash_attention_2 needs CUDA, a 16-bit dtype and the flash-attn package: pip install 'docpipe[gpu]'"
        )
    if name != "auto":
        return name
    return "flash_attention_2" if possible else "sdpa"


def _load_base(base: str | Path, dtype: torch.dtype, attention: str) -> Any:
    model, info = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        base, dtype=dtype, attn_implementation=attention, output_loading_info=True
    )
    for kind in ("missing_keys", "mismatched_keys"):
        if info[kind]:
            raise GlimpseError(
                f"{base}: {len(info[kind])} {kind.replace('_', ' ')} in the checkpoint, such as {sorted(info[kind])[0]}"
            )
    if model.generation_config is None:
        model.generation_config = GenerationConfig.from_model_config(model.config)
    return model.requires_grad_(False).eval()
