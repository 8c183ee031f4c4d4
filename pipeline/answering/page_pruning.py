"""Chooses whether to prune the questions of a page, where they leave it open."""

from __future__ import annotations

import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.cost.prune_or_not import PruningChoice, choose_pruning
from glimpseprune.cost.rates import Rates
from pipeline.answering.open_page import PreparedPage


def choose_for_page(model: gp.GlimpseModel, page: PreparedPage, rates: Rates) -> PruningChoice | None:
    """Choose whether to prune the questions of a page that leave it open; ``None`` where none does.

    Args:
        model: model with a pruning method.
        page: the page, or pages that are read together.
        rates: what operations take.
    """
    left = [(i, ask.rule) for i, ask in enumerate(page.asks) if ask.prune_auto and ask.rule is not None]
    if not left:
        return None
    limits = [page.asks[i].max_new_tokens for i, _ in left]
    prompts = [_seen(page, page.prompts[i], model.backbone.image_token_id) for i, _ in left]
    return choose_pruning(model, prompts, [rule for _, rule in left], limits, rates)


def _seen(page: PreparedPage, prompt: Tensor, image_token_id: int) -> Tensor:
    """Cut a prompt down to the image tokens that the language model sees, ``[T]``."""
    if page.visible is None:
        return prompt
    stays = torch.ne(prompt, image_token_id)
    stays[~stays] = page.visible.to(stays.device)
    return prompt[stays]
