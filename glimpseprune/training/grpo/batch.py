"""Computes the loss of a batch of questions for GlimpsePrune+: GRPO of the language model on the pruned sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from glimpseprune.errors import InputError
from glimpseprune.families.base import Backbone, Prompt
from glimpseprune.methods.base import Method
from glimpseprune.model import GlimpseModel
from glimpseprune.prefill.visible import drop_from_prompt
from glimpseprune.training import losses
from glimpseprune.training.forward import run_prefix, token_scores
from glimpseprune.training.grpo.lora import Lora
from glimpseprune.training.grpo.loss import group_advantages, grpo_loss
from glimpseprune.training.grpo.policy import answer_logprobs
from glimpseprune.training.grpo.sampling import AnswerGroup, SeenPrompt, sample_groups
from glimpseprune.without_cudnn import without_cudnn

Quality = Callable[[Sequence[Sequence[Tensor]]], Sequence[Sequence[float]]]
"""Says how good answers are, in 0..1: tokens ``[A_g]`` of each answer to each question -> quality of each."""


@torch.no_grad()
def see_prompts(model: GlimpseModel, prompts: Sequence[tuple[Prompt, Tensor | None]]) -> list[SeenPrompt]:
    """Run the vision tower for prompts, once for those in a row that share their image.

    Args:
        model: loaded model.
        prompts: prompts with one image, each with the mask of its visible tokens, bool ``[N]``, or ``None`` for all.

    Raises:
        InputError: a prompt has no image, or several.
    """
    seen: list[SeenPrompt] = []
    before: Prompt | None = None
    for prompt, visible in prompts:
        if len(prompt.pixels) != 1:
            raise InputError(f"expected one image per prompt, found {len(prompt.pixels)}; leave the prompt out")
        if before is not None and before.pixels[0] is prompt.pixels[0]:
            images = seen[-1].images
        else:
            images = model.encode_images(prompt, None if visible is None else [visible])[0]
        shown = prompt if visible is None else drop_from_prompt(prompt, visible)
        seen.append(SeenPrompt(shown, images, prompt.image_slots[0].numel()))
        before = prompt
    return seen


@without_cudnn
def plus_loss(
    model: GlimpseModel,
    method: Method,
    lora: Lora,
    asked: Sequence[SeenPrompt],
    quality: Quality,
    size: int,
    max_new_tokens: int,
    kl: float,
    pruning: float,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Sample answers, reward them, and compute the mean loss of the questions.

    The reward of an answer is its quality plus ``pruning`` times the pruning rate. The rate depends on the question,
    not on what is sampled: it is the same for all answers of a group and cancels in their advantages. What it asks of
    the weights is therefore computed directly, from the scores: the loss has ``pruning`` times the expected retention.

    Args:
        model: loaded model, with LoRA.
        method: pruning method, which does not learn.
        lora: weights that learn.
        asked: the questions.
        quality: function that says how good answers are.
        size: number of answers per question, at least two.
        max_new_tokens: longest answer.
        kl: weight of the KL divergence from the model without LoRA.
        pruning: weight of the pruning rate.
        generator: source of randomness on the model's device.

    Returns:
        The loss to differentiate, and figures: ``reward``, ``quality``, ``retention``, ``kl``, ``clipped``, and mean
        ``length`` of answers in tokens.
    """
    backbone, ends = model.backbone, model.eos_token_ids
    groups = sample_groups(backbone, method, asked, size, max_new_tokens, ends, generator)
    found = quality([group.answers() for group in groups])
    totals: list[Tensor] = []
    parts: dict[str, list[float]] = {}
    for group, values in zip(groups, found, strict=True):
        rewards = torch.tensor(values, device=backbone.device) + pruning * group.pruning_rate
        loss, figures = _group_loss(backbone, method, lora, group, rewards, kl, pruning)
        figures |= {
            "reward": float(rewards.mean()),
            "quality": sum(values) / len(values),
            "retention": 1.0 - group.pruning_rate,
            "length": float(group.written.sum(dim=1).float().mean()),
        }
        totals.append(loss)
        for name, value in figures.items():
            parts.setdefault(name, []).append(value)
    return torch.stack(totals).mean(), {name: sum(values) / len(values) for name, values in parts.items()}


def _group_loss(
    backbone: Backbone, method: Method, lora: Lora, group: AnswerGroup, rewards: Tensor, kl: float, pruning: float
) -> tuple[Tensor, dict[str, float]]:
    prompt, images = group.asked.prompt, group.asked.images
    with torch.no_grad(), lora.off():
        frozen = run_prefix(backbone, prompt, images, method.prune_layer)
        reference = answer_logprobs(backbone, frozen, group.keep, group.tokens)
    prefix = run_prefix(backbone, prompt, images, method.prune_layer)
    logprobs = answer_logprobs(backbone, prefix, group.keep, group.tokens)
    advantages = group_advantages(rewards)
    loss, figures = grpo_loss(logprobs, group.logprobs, reference, group.written, advantages, kl)
    if pruning:
        expected = losses.expected_retention(token_scores(backbone, method, prefix))
        share = len(group.keep) / group.asked.visual_tokens  # what is not visible counts as dropped
        loss = loss + pruning * share * expected
    return loss, figures
