"""Prefills the questions of a page together, with every visual token and one cache for all of them.

The prefix is never copied, and all questions decode together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.graphs import StepGraphs
from glimpseprune.decode.greedy import Row
from glimpseprune.decode.log_cache import LogCache
from glimpseprune.decode.log_step import LogPage, room_for_answers
from glimpseprune.families.base import Backbone, EncodedImage, Prompt, deep_features, run_layers
from glimpseprune.prefill.alone import next_position
from glimpseprune.stats import now_ms


def prefill_together(
    backbone: Backbone,
    prefix: Prompt,
    images: Sequence[EncodedImage],
    prompts: Sequence[Prompt],
    limits: Sequence[int],
    constraints: Sequence[BeginConstraint | None],
    graphs: StepGraphs | None,
) -> tuple[LogPage, tuple[float, float]]:
    """Prefill the questions of a page with every visual token.

    Args:
        backbone: backbone of the model.
        prefix: common beginning of the prompts, images included.
        images: images of the page after the vision tower.
        prompts: prompts that begin with the prefix and go on beyond it.
        limits: largest number of new tokens of each prompt.
        constraints: function that makes the limits of each answer's tokens; ``None`` for none.
        graphs: graphs of steps of decode, which need more room; ``None`` where steps run as they are.

    Returns:
        The questions, which decode to the same tokens as each prompt alone; and two wall times in milliseconds, of the
        prefix and of the questions up to their first logits.
    """
    shared = prefix.input_ids.numel()
    device = backbone.device
    lengths = [prompt.input_ids.numel() - shared for prompt in prompts]
    log = LogCache(shared, shared + sum(lengths) + room_for_answers(limits, graphs), device)
    start = now_ms(device)
    _begin(backbone, log, prefix, images)
    read = now_ms(device)
    whose = torch.repeat_interleave(torch.arange(len(prompts)), torch.tensor(lengths)).to(device)
    hidden = torch.cat([backbone.embed_tokens(prompt.input_ids[None, shared:]) for prompt in prompts], dim=1)
    positions = torch.cat([prompt.position_ids[:, shared:] for prompt in prompts], dim=1)
    bias = log.bias_behind(whose, hidden)
    rotary = backbone.rotary(positions[:, None])
    hidden = run_layers(backbone, range(backbone.num_layers), hidden, rotary, log, bias=bias)
    log.advance(len(whose))
    logits = backbone.logits(hidden[0, torch.tensor(lengths, device=device).cumsum(0) - 1])
    asked = now_ms(device)
    rows = [
        Row(prompt.input_ids, limit, next_position(prompt), begin and begin())
        for prompt, limit, begin in zip(prompts, limits, constraints, strict=True)
    ]
    return LogPage(log, rows, logits), (read - start, asked - read)


def _begin(backbone: Backbone, log: LogCache, prefix: Prompt, images: Sequence[EncodedImage]) -> None:
    """Run the prefix; the last layer computes only its keys and values, since nothing reads its output.

    Args:
        backbone: backbone of the model.
        log: empty log.
        prefix: common beginning of the prompts.
        images: images of the page after the vision tower.
    """
    last = backbone.num_layers - 1
    rotary = backbone.rotary(prefix.position_ids[:, None])
    hidden = backbone.embed(prefix, images)
    hidden = run_layers(backbone, range(last), hidden, rotary, log, deep=deep_features(prefix, images))
    log.update(*backbone.keys_values(last, hidden, rotary), last)
    log.advance(hidden.shape[1])
