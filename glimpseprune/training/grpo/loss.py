"""Computes the loss of GRPO (arXiv 2402.03300), on tensors alone."""

from __future__ import annotations

import torch
from torch import Tensor

CLIP = 0.2
_SPREAD = 1e-4


def group_advantages(rewards: Tensor) -> Tensor:
    """Compare the rewards of a group with one another: ``(r - mean) / (standard deviation + 1e-4)``.

    Args:
        rewards: rewards ``[G]`` of the answers to one question, at least two.
    """
    return (rewards - rewards.mean()) / (rewards.std() + _SPREAD)


def grpo_loss(
    logprobs: Tensor, sampled: Tensor, reference: Tensor, written: Tensor, advantages: Tensor, kl: float
) -> tuple[Tensor, dict[str, float]]:
    """Compute the loss of one group: a mean over the tokens of each answer, then over the answers.

    Each token loses ``-min(ratio * A, clip(ratio, 1 - 0.2, 1 + 0.2) * A) + kl * (exp(d) - d - 1)`` with its ratio of
    probabilities now and when it was sampled, and d = log of its probability under the reference less that now.

    Args:
        logprobs: log-probabilities ``[G, A]`` of the answers' tokens, with gradients.
        sampled: the same when they were sampled.
        reference: the same under the frozen model.
        written: mask of the tokens that count, bool ``[G, A]``.
        advantages: advantage A of each answer, ``[G]``.
        kl: weight of the KL divergence from the frozen model.

    Returns:
        The loss, and figures as plain numbers: ``kl`` in nats per token, and the share of ``clipped`` tokens.
    """
    ratio = (logprobs - sampled).exp()
    gain = advantages[:, None]
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * gain)
    away = reference - logprobs
    divergence = away.exp() - away - 1.0
    clipped = (ratio - 1.0).abs() > CLIP
    figures = {"kl": _mean(divergence.detach(), written), "clipped": _mean(clipped.float(), written)}
    return _mean_of_answers(kl * divergence - surrogate, written), {name: float(one) for name, one in figures.items()}


def _mean(values: Tensor, written: Tensor) -> Tensor:
    return values[written].mean()


def _mean_of_answers(values: Tensor, written: Tensor) -> Tensor:
    """Average the tokens ``[G, A]`` that count of each answer, then the answers."""
    return (values.masked_fill(~written, 0.0).sum(dim=1) / written.sum(dim=1)).mean()
