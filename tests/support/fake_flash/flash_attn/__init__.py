"""The kernel of flash-attn that docpipe calls, in plain torch and for any type, with what the real one refuses.

This folder comes before others on the path of a process that is to find flash-attn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

calls: list[int] = []
"""Number of sequences of each call so far."""


def flash_attn_varlen_func(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, max_seqlen_q: int, max_seqlen_k: int
) -> Tensor:
    for x in (q, k, v):
        if x.ndim != 3 or 0 in x.shape or x.stride(-1) != 1 or x.shape[-1] > 256 or x.dtype != q.dtype:
            raise RuntimeError(
                f"expected [total, heads, headdim] of one type, found {x.shape}, {x.stride()}, {x.dtype}"
            )
    bounds = []
    for ends, longest, x in ((cu_seqlens_q, max_seqlen_q, q), (cu_seqlens_k, max_seqlen_k, k)):
        if ends.dtype != torch.int32 or not ends.is_contiguous() or ends.numel() < 2:
            raise RuntimeError(f"cu_seqlens must be contiguous int32 of a sequence at least, found {ends}")
        if type(longest) is not int:
            raise TypeError(f"max_seqlen must be int, not {type(longest).__name__}")
        found: list[int] = ends.tolist()
        if found[0] != 0 or found[-1] != x.shape[0] or longest < int(ends.diff().max()) or int(ends.diff().min()) < 0:
            raise RuntimeError(f"{found} do not bound {x.shape[0]} tokens in sequences of at most {longest}")
        bounds.append(found)
    if bounds[0] != bounds[1]:
        raise RuntimeError("other lengths of queries than of keys are not needed here")
    calls.append(len(bounds[0]) - 1)
    spans = [slice(a, b) for a, b in zip(bounds[0], bounds[0][1:], strict=False)]
    return torch.cat([_attend(q[span], k[span], v[span]) for span in spans])


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("qhd,khd->hqk", q.float(), k.float()) * q.shape[-1] ** -0.5
    return torch.einsum("hqk,khd->qhd", F.softmax(scores, dim=-1), v.float()).to(q.dtype)
