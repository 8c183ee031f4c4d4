"""Computes the loss of stage 1 of GlimpsePrune, which trains glimpse token and predictor on a frozen base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from glimpseprune.errors import InputError
from glimpseprune.families.base import Backbone, EncodedImage, Prompt
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.prefill.shared import shared_prefix
from glimpseprune.prefill.visible import drop_from_prompt
from glimpseprune.training import losses
from glimpseprune.training.forward import Prefix, answer_logits, extend_prefix, run_prefix, token_scores
from glimpseprune.training.gate import log_gate, uniform_noise
from glimpseprune.without_cudnn import without_cudnn


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """Holds one question with its answer.

    Attributes:
        prompt: image and question, up to where the answer begins.
        answer: answer tokens ``[A]``, the end-of-sequence token included.
        evidence: mask of the visual tokens under the boxes of the answer, bool ``[N]``; ``None`` without boxes.
        visible: mask of the visual tokens that the model sees, bool ``[N]``, the same in all examples about an image;
            ``None`` for all.
    """

    prompt: Prompt
    answer: Tensor
    evidence: Tensor | None
    visible: Tensor | None = None


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Holds the weight of each loss; a loss of weight 0 is not computed.

    Args:
        kl: weight of the KL divergence between the answers of the unpruned and the pruned model.
        language: weight of the cross-entropy of the pruned answer.
        localisation: weight of Dice and binary cross-entropy against the boxes.
        retention: weight of the expected retention.
    """

    kl: float = 0.0
    language: float = 1.0
    localisation: float = 1.0
    retention: float = 0.0


@without_cudnn
def batch_loss(
    backbone: Backbone,
    glimpse: Glimpse,
    examples: Sequence[TrainingExample],
    weights: LossWeights,
    noise: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Compute the mean loss of some examples, and its parts.

    The vision tower runs once for consecutive examples that share an image.

    Args:
        backbone: backbone of the frozen model.
        glimpse: add-on that learns.
        examples: at least one example, each with an image.
        weights: weights of the losses.
        noise: source of the gates' noise.

    Returns:
        The loss to differentiate, and figures as plain numbers: each part (``kl``, ``language``, ``localisation``), the
        share of tokens above the threshold (``retention``), and the share of tokens under boxes that are above it
        (``coverage``). A part that no example has is left out.

    Raises:
        InputError: an example's prompt has no image.
    """
    if any(not example.prompt.pixels for example in examples):
        raise InputError("expected an image in every example, found an example with no image; leave it out")
    totals: list[Tensor] = []
    parts: dict[str, list[float]] = {}
    for group in _by_image([_seen(example) for example in examples]):
        for example, prefix in zip(group, _prefixes(backbone, glimpse, group), strict=True):
            loss, figures = _example_loss(backbone, glimpse, example, prefix, weights, noise)
            totals.append(loss)
            for name, value in figures.items():
                parts.setdefault(name, []).append(value)
    return torch.stack(totals).mean(), {name: sum(values) / len(values) for name, values in parts.items()}


def _seen(example: TrainingExample) -> TrainingExample:
    """Restrict an example to its visible tokens; its ``visible`` mask still covers all."""
    if example.visible is None:
        return example
    evidence = None if example.evidence is None else example.evidence[example.visible]
    return replace(example, prompt=drop_from_prompt(example.prompt, example.visible), evidence=evidence)


def _by_image(examples: Sequence[TrainingExample]) -> list[list[TrainingExample]]:
    """Group consecutive examples that share the same image tensors."""
    groups: list[list[TrainingExample]] = []
    for example in examples:
        last = groups[-1][-1].prompt.pixels if groups else ()
        pixels = example.prompt.pixels
        if len(last) == len(pixels) and all(a is b for a, b in zip(last, pixels, strict=True)):
            groups[-1].append(example)
        else:
            groups.append([example])
    return groups


def _prefixes(backbone: Backbone, glimpse: Glimpse, group: Sequence[TrainingExample]) -> Iterator[Prefix]:
    """Run the prompt of each example through layers 0..K, and their common beginning only once."""
    last = glimpse.prune_layer
    prompts = [example.prompt for example in group]
    images = _encode(backbone, glimpse, prompts[0], group[0].visible)
    common = shared_prefix(prompts) if len(prompts) > 1 else None
    begun = None if common is None else run_prefix(backbone, common, images, last)
    for prompt in prompts:
        if begun is None:
            yield run_prefix(backbone, prompt, images, last)
        else:
            yield extend_prefix(backbone, begun, prompt)


@torch.no_grad()
def _encode(backbone: Backbone, glimpse: Glimpse, prompt: Prompt, visible: Tensor | None) -> list[EncodedImage]:
    layers = glimpse.vision_layers
    pairs = zip(prompt.pixels, prompt.grids, strict=True)
    return [backbone.encode(pixels, grid, layers, visible) for pixels, grid in pairs]


def _example_loss(
    backbone: Backbone,
    glimpse: Glimpse,
    example: TrainingExample,
    prefix: Prefix,
    weights: LossWeights,
    noise: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    last = glimpse.prune_layer
    scores = token_scores(backbone, glimpse, prefix).float()
    loss = weights.retention * losses.expected_retention(scores)
    kept = scores.detach().sigmoid() > glimpse.rule.threshold
    figures = {"retention": float(kept.float().mean())}
    if weights.kl or weights.language:
        gate = log_gate(scores, uniform_noise(scores.numel(), noise).to(scores.device))
        student = answer_logits(backbone, prefix, example.answer, last, gate)
        if weights.kl:
            with torch.no_grad():
                teacher = answer_logits(backbone, prefix, example.answer, last, None)
            part = losses.kl_divergence(teacher, student)
            loss, figures["kl"] = loss + weights.kl * part, float(part.detach())
        if weights.language:
            part = losses.language(student, example.answer)
            loss, figures["language"] = loss + weights.language * part, float(part.detach())
    if example.evidence is not None:
        figures["coverage"] = float(kept[example.evidence].float().mean())
        if weights.localisation:
            part = losses.localisation(scores, example.evidence)
            loss, figures["localisation"] = loss + weights.localisation * part, float(part.detach())
    return loss, figures
