"""A page that is read once and asked as often as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glimpseprune.decode.pool import DecodePool
from glimpseprune.errors import InputError
from glimpseprune.families.base import EncodedImage, Prompt
from glimpseprune.generation import (
    Keep,
    ask_pruned,
    ask_unpruned,
    encode_images,
    one_each,
    prefill_alone,
    read_page,
)
from glimpseprune.model import GlimpseModel
from glimpseprune.prefill.alone import Prefilled
from glimpseprune.prefill.shared import SharedPrefix
from glimpseprune.stats import PruneStats


@dataclass(frozen=True, slots=True)
class EncodedPage:
    """A page after the vision tower and, where the model has an add-on, after layers 0..K.

    Attributes:
        prefix: what every prompt about the page begins with.
        images: the page after the vision tower.
        shared: the prefix up to layer K; ``None`` without an add-on.
        vision_ms: wall time of the vision tower.
        prefix_ms: wall time of the prefix; ``None`` without an add-on.
    """

    prefix: Prompt
    images: list[EncodedImage]
    shared: SharedPrefix | None
    vision_ms: float | None
    prefix_ms: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question.

    Attributes:
        tokens: new tokens, the end of sequence included.
        logprobs: the log-probability of each under the model.
        scores: importance logits ``[N]``; ``None`` where nothing was scored.
        keep: which visual tokens stayed, bool ``[N]``.
        stats: figures of the pruning.
    """

    tokens: list[int]
    logprobs: list[float]
    scores: Tensor | None
    keep: Tensor
    stats: PruneStats


@torch.inference_mode()
def encode_page(model: GlimpseModel, prefix_ids: Tensor, pixels: Tensor, grid: tuple[int, int]) -> EncodedPage:
    """Run the vision tower, and what all questions share, once.

    Args:
        model: from :func:`glimpseprune.load`.
        prefix_ids: ``[P]``, the beginning of every prompt up to behind the image.
        pixels: patches of the image, ``[patches, patch_dim]``.
        grid: rows and columns of patches.

    Raises:
        InputError: the image and its tokens do not match.
    """
    (prefix,) = model.backbone.page_prompts([prefix_ids], pixels, grid)
    images, vision_ms = encode_images(model, prefix)
    if model.glimpse is None:
        return EncodedPage(prefix, images, None, vision_ms, None)
    shared, prefix_ms = read_page(model, prefix, images)
    return EncodedPage(prefix, images, shared, vision_ms, prefix_ms)


@torch.inference_mode()
def ask_page(
    model: GlimpseModel,
    page: EncodedPage,
    questions: Sequence[Tensor],
    rule: Keep | Sequence[Keep] = None,
    max_new_tokens: int | Sequence[int] = 32,
) -> list[Answer]:
    """Answer questions about a page; each gets the tokens that :func:`glimpseprune.generate` gives it alone.

    Args:
        model: the one that encoded the page.
        page: from :func:`encode_page`.
        questions: token ids ``[T_q]`` behind the prefix, at least one each, up to where the answer begins.
        rule: as in :func:`glimpseprune.generate`.
        max_new_tokens: for all questions or one for each.

    Raises:
        InputError: a question is empty, or a rule is given and the model has no add-on.
    """
    rules = one_each(rule, len(questions), "rule")
    limits = one_each(max_new_tokens, len(questions), "max_new_tokens")
    if any(question.numel() == 0 for question in questions):
        raise InputError("a question has to have at least one token behind the prefix")
    ids = [torch.cat([page.prefix.input_ids, question.to(page.prefix.input_ids.device)]) for question in questions]
    prompts = model.backbone.page_prompts(ids, page.prefix.pixels[0], page.prefix.grids[0])
    ready = _prefill(model, page, prompts, rules, limits)
    pool = DecodePool(model.backbone, model.eos_token_ids, model.repetition_penalty)
    for row, (sequence, _) in enumerate(ready):
        pool.add(row, sequence, prompts[row].input_ids, limits[row])
    pool.run()
    answers = []
    for row, (sequence, stats) in enumerate(ready):
        stats.decode_ms = pool.done[row].decode_ms
        answers.append(Answer(pool.done[row].tokens, pool.done[row].logprobs, sequence.scores, sequence.keep, stats))
    return answers


def _prefill(
    model: GlimpseModel, page: EncodedPage, prompts: Sequence[Prompt], rules: Sequence[Keep], limits: Sequence[int]
) -> list[tuple[Prefilled, PruneStats]]:
    pruned = [(i, rule) for i, rule in enumerate(rules) if rule is not None]
    whole = [i for i, rule in enumerate(rules) if rule is None]
    found: dict[int, tuple[Prefilled, PruneStats]] = {}
    if pruned:
        if page.shared is None:
            raise InputError("a rule needs the glimpse add-on: load the model with glimpse=..., or pass rule=None")
        asked = ask_pruned(model, page.shared, [prompts[i] for i, _ in pruned], [rule for _, rule in pruned])
        found |= zip([i for i, _ in pruned], asked, strict=True)
    if whole and model.backbone.supports_attention_bias:
        mine, most = [prompts[i] for i in whole], [limits[i] for i in whole]
        found |= zip(whole, ask_unpruned(model, page.prefix, page.images, mine, most)[0], strict=True)
    elif whole:
        found |= {i: prefill_alone(model, prompts[i], page.images, None) for i in whole}
    return [found[i] for i in range(len(prompts))]
