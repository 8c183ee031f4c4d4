"""The losses of stage 1 on plain tensors (arXiv 2508.01548, section 3.3, and its published training code)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_DICE_WEIGHT, _BCE_WEIGHT = 1.0, 0.1
_DICE_EPSILON = 1e-6


def kl_divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) of next-token distributions, mean over the answer, in nats.

    Args:
        teacher: ``[A, vocab]`` logits of the unpruned model.
        student: ``[A, vocab]`` logits of the pruned model.
    """
    return F.kl_div(
        student.float().log_softmax(-1), teacher.float().log_softmax(-1), reduction="batchmean", log_target=True
    )


def language(student: Tensor, answer: Tensor) -> Tensor:
    """Cross-entropy of the answer, mean over its tokens: logits ``[A, vocab]``, tokens ``[A]``."""
    return F.cross_entropy(student.float(), answer)


def dice(scores: Tensor, evidence: Tensor) -> Tensor:
    """Compute 1 - 2 |P E| / (|P| + |E|) with P = sigmoid(scores) (Milletari et al., 2016)."""
    probability, wanted = scores.float().sigmoid(), evidence.float()
    overlap = 2.0 * (probability * wanted).sum() + _DICE_EPSILON
    return 1.0 - overlap / (probability.sum() + wanted.sum() + _DICE_EPSILON)


def localisation(scores: Tensor, evidence: Tensor) -> Tensor:
    """Dice and binary cross-entropy, 10 : 1, of the scores against the tokens under boxes: ``[N]``, ``[N]`` bool."""
    entropy = F.binary_cross_entropy_with_logits(scores.float(), evidence.float())
    return _DICE_WEIGHT * dice(scores, evidence) + _BCE_WEIGHT * entropy


def expected_retention(scores: Tensor) -> Tensor:
    """Mean keep probability of the visual tokens, in 0..1."""
    return scores.float().sigmoid().mean()
