"""Computes the losses of stage 1 (arXiv 2508.01548, section 3.3, and its published training code)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_DICE_WEIGHT, _BCE_WEIGHT = 1.0, 0.1
_DICE_EPSILON = 1e-6


def kl_divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Compute KL(teacher || student) of the next-token distributions, in nats per answer token.

    Args:
        teacher: logits ``[A, vocab]`` of the unpruned model.
        student: logits ``[A, vocab]`` of the pruned model.
    """
    return F.kl_div(
        student.float().log_softmax(-1), teacher.float().log_softmax(-1), reduction="batchmean", log_target=True
    )


def language(student: Tensor, answer: Tensor) -> Tensor:
    """Compute the cross-entropy of an answer, in nats per token.

    Args:
        student: logits ``[A, vocab]`` of the pruned model.
        answer: answer tokens ``[A]``.
    """
    return F.cross_entropy(student.float(), answer)


def dice(scores: Tensor, evidence: Tensor) -> Tensor:
    """Compute the Dice loss of scores against boxes (Milletari et al., 2016).

    It is 1 - 2 |P E| / (|P| + |E|) with P = sigmoid(scores).

    Args:
        scores: importance logits ``[N]``.
        evidence: mask E of the visual tokens under boxes, bool ``[N]``.
    """
    probability, wanted = scores.float().sigmoid(), evidence.float()
    overlap = 2.0 * (probability * wanted).sum() + _DICE_EPSILON
    return 1.0 - overlap / (probability.sum() + wanted.sum() + _DICE_EPSILON)


def localisation(scores: Tensor, evidence: Tensor) -> Tensor:
    """Compare scores with the tokens under boxes, by Dice loss plus 0.1 times binary cross-entropy.

    Args:
        scores: importance logits ``[N]``.
        evidence: mask of the visual tokens under boxes, bool ``[N]``.
    """
    entropy = F.binary_cross_entropy_with_logits(scores.float(), evidence.float())
    return _DICE_WEIGHT * dice(scores, evidence) + _BCE_WEIGHT * entropy


def expected_retention(scores: Tensor) -> Tensor:
    """Compute the mean keep probability, in 0..1, of visual tokens with scores ``[N]``."""
    return scores.float().sigmoid().mean()
