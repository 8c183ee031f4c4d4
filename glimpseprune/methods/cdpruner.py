"""Keeps visual tokens that differ and fit the question: CDPruner (arXiv 2506.10967), a determinantal point process."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glimpseprune.methods.early import Reduced, kept
from glimpseprune.received_attention import ReceivedAttention

_LEAST = 1e-6  # relevance of the least relevant token, before it is divided by the range
_NOISE = 1e-5  # share of the largest gain below which a gain is rounding error


@dataclass(frozen=True)
class CDPruner:
    """Keeps the tokens that maximise the determinant of similarity weighted by relevance, greedily.

    The kernel is ``relevance_i * cosine_ij * relevance_j``, and the greedy choice that of Chen et al. (2018), with
    Cholesky rows. Relevance is the mean cosine between a visual token and the question's tokens, scaled to 0..1. For
    models with CLIP the authors' code takes both from it, with the sign turned; without its text encoder they are the
    language model's input: the visual tokens, and the embeddings of the text behind the image. Where more tokens are to
    stay than the kernel has dimensions, the determinant tells no more, and the most relevant of the rest stay.
    """

    reads_tower: bool = False

    def reduce(self, tokens: Tensor, tower: ReceivedAttention | None, question: Tensor, count: int) -> Reduced:
        """Keep ``count`` tokens of ``[N, D]``; see :class:`~glimpseprune.methods.early.EarlyMethod`."""
        unit = F.normalize(tokens.float(), dim=-1)
        weight = relevance(tokens, question)
        kernel = weight[:, None] * (unit @ unit.T) * weight[None]  # [N, N]
        gain = kernel.diagonal().clone()  # by how much each token would multiply the determinant
        least = _NOISE * float(gain.max())
        rows = kernel.new_zeros(count, len(tokens))
        chosen: list[int] = []
        while len(chosen) < count and float(gain.max()) > least:
            number, best = len(chosen), int(gain.argmax())
            rows[number] = (kernel[best] - rows[:number, best] @ rows[:number]) / gain[best].sqrt()
            gain = gain - rows[number] ** 2
            chosen.append(best)
            gain[chosen] = -torch.inf
        left = weight.clone()
        left[chosen] = -torch.inf
        chosen += left.topk(count - len(chosen)).indices.tolist()
        return kept(tokens, torch.tensor(chosen, device=tokens.device))


def relevance(tokens: Tensor, question: Tensor) -> Tensor:
    """Compute how much each visual token has to do with the question, ``[N]``, scaled to 0..1.

    Args:
        tokens: visual tokens, ``[N, D]``.
        question: embeddings of the question, ``[T, D]``.
    """
    cosine = F.normalize(tokens.float(), dim=-1) @ F.normalize(question.float(), dim=-1).T
    mean = cosine.mean(-1)
    return (mean - mean.min() + _LEAST) / (mean.max() - mean.min()).clamp_min(_LEAST)
