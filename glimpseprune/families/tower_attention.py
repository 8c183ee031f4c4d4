"""Attends inside sequences of patches, all of them in one call, with the fastest kernel there is.

Most blocks of a vision tower attend inside windows, of which a large page has hundreds. The language model needs
attention with a bias, which only SDPA takes, so this choice is for the tower alone.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glimpseprune.errors import GlimpseError
from glimpseprune.window_attention import attend_in_windows

ATTENTION = ("auto", "sdpa", "flash_attention_2")
INSTALL = "pip install flash-attn --no-build-isolation"
_HALVES = (torch.float16, torch.bfloat16)
_OLDEST = (8, 0)  # compute capability that flash attention needs


@dataclass(frozen=True, slots=True)
class Sequences:
    """Divides P tokens, in order, into sequences.

    Attributes:
        ends: end of each sequence behind a leading 0, int32 ``[sequences + 1]``.
        longest: number of tokens that no sequence exceeds.
        padded: tokens of each sequence, ``[sequences, longest]``, -1 where there is none; ``None`` for one sequence.
    """

    ends: Tensor
    longest: int
    padded: Tensor | None


@dataclass(frozen=True, slots=True)
class TowerAttention:
    """Attends inside each of several sequences.

    Attributes:
        name: ``sdpa``, ``varlen`` for torch's kernel of variable lengths, or ``flash_attention_2``.
        kernel: function ``(query, key, value, ends, ends, longest, longest)``; ``None`` pads the sequences for SDPA.
    """

    name: str
    kernel: Callable[..., Any] | None = None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, sequences: Sequences) -> Tensor:
        """Attend with one call: queries, keys and values ``[P, heads, d]`` to ``[P, heads, d]``."""
        if self.kernel is not None:
            bounds = (sequences.ends, sequences.ends, sequences.longest, sequences.longest)
            out: Tensor = self.kernel(query, key, value, *bounds)
            return out
        if sequences.padded is not None:
            return attend_in_windows(query[None], key[None], value[None], sequences.padded)[0]
        query, key, value = (t.transpose(0, 1)[None] for t in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1)


SDPA = TowerAttention("sdpa")


def choose_attention(name: str, device: torch.device, dtype: torch.dtype) -> TowerAttention:
    """Choose how a vision tower attends.

    A flash-attn that is installed and does not import is warned of, and not chosen.

    Args:
        name: ``auto`` (on CUDA in 16 bits flash-attn if installed, else torch's kernel; elsewhere SDPA) or another of
            ``ATTENTION``.
        device: device of the model.
        dtype: type of its weights.

    Raises:
        GlimpseError: the name is not one of the three, or flash attention was asked for and cannot run.
    """
    if name not in ATTENTION:
        raise GlimpseError(f"attn_implementation is {name!r}; expected one of {', '.join(ATTENTION)}")
    fits = device.type == "cuda" and dtype in _HALVES and torch.cuda.get_device_capability(device) >= _OLDEST
    if name == "sdpa" or (name == "auto" and not fits):
        return SDPA
    flash = flash_attn()
    if fits and not isinstance(flash, str):
        return TowerAttention("flash_attention_2", flash)
    if name == "flash_attention_2":
        raise GlimpseError(
            "flash_attention_2 needs a GPU of compute capability 8.0, a 16-bit dtype and the flash-attn package; found "
            f"{device.type}, {dtype}, package {flash if isinstance(flash, str) else 'installed'}. Pass "
            f"attn_implementation='sdpa', or {INSTALL}"
        )
    if flash != _MISSING:
        warnings.warn(f"flash-attn {flash}; torch's attention is used. To mend it: {INSTALL}", stacklevel=2)
    varlen = _torch_varlen()
    return SDPA if varlen is None else TowerAttention("varlen", varlen)


_MISSING = "missing"


def flash_attn() -> Callable[..., Any] | str:
    """Import the kernel of the flash-attn package, or say why that fails."""
    if importlib.util.find_spec("flash_attn") is None:
        return _MISSING
    try:
        from flash_attn import flash_attn_varlen_func
    except (ImportError, OSError) as error:  # built for another torch, or a library is missing
        return f"installed, but cannot be imported ({error})"
    kernel: Callable[..., Any] = flash_attn_varlen_func
    return kernel


def _torch_varlen() -> Callable[..., Any] | None:
    """Import torch's kernel of variable lengths; ``None`` before torch 2.10, which brought it."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn
