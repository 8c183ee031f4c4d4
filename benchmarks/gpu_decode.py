"""Not a benchmark by itself: times steps of decode in a pool, for ``gpu.py``.

Caches are random, so no prefill runs. The same sequences are decoded in several ways, which have to agree in every
token but for the first way, whose kernels are others where sequences are equally long:

    exact    as on a CPU: a step sees just the slots that hold a token, and the host reads every token
    fixed    a step is the same until a sequence comes or goes, launched kernel by kernel
    graph    the same, repeated as a CUDA graph, the host reads every token
    docpipe  the same, the host reads the tokens of up to four steps at once
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

import glimpseprune as gp
from glimpseprune.decode import graphs, step
from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.model import GlimpseModel
from glimpseprune.stats import now_ms

NEW_TOKENS = 48
WAYS = ("exact", "fixed", "graph", "docpipe")


@contextmanager
def way(name: str) -> Iterator[None]:
    """Decode in one of the ways."""
    with ExitStack() as changed:
        if name == "exact":
            changed.enter_context(patch.object(step, "graphs_for", lambda device: None))
        if name == "fixed":
            changed.enter_context(patch.object(graphs.StepGraphs, "run", lambda self, key, run, left: run()))
        if name != "docpipe":
            changed.enter_context(patch.object(step, "MOST_STEPS", 1))
        yield


def filled_pool(model: GlimpseModel, rows: int, tokens: int) -> gp.DecodePool:
    """A pool of equally long sequences of random keys and values, a few tokens apart from each other."""
    backbone, shape = model.backbone, model.backbone.shape
    generator = torch.Generator(backbone.device).manual_seed(0)
    pool = gp.DecodePool(backbone, frozenset(), 1.05)
    for row in range(rows):
        length, cache = tokens - row % 7, PrefillCache()
        size = (2, 1, shape.num_key_value_heads, length, shape.head_dim)
        for layer in range(shape.num_hidden_layers):
            keys, values = torch.randn(size, generator=generator, device=backbone.device, dtype=backbone.dtype)
            cache.update(keys, values, layer)
        logits = torch.randn(shape.vocab_size, generator=generator, device=backbone.device)
        prompt = torch.arange(20, device=backbone.device)
        ready = Prefilled(cache, logits, length, None, torch.ones(0, dtype=torch.bool))
        pool.add(row, ready, prompt, NEW_TOKENS)
    return pool


def measure(model: GlimpseModel, rows: int, tokens: int) -> tuple[dict[str, Any], list[list[int]]]:
    """Milliseconds of a step at its pace, and of all steps from the first, with what comes once."""
    device, pool = model.backbone.device, filled_pool(model, rows, tokens)
    paces, started = [], now_ms(device)
    while len(pool):
        before = len(pool._rows[0][1].result.tokens)
        start = now_ms(device)
        pool.step()
        took = now_ms(device) - start
        after = len(pool._rows[0][1].result.tokens) if len(pool) else NEW_TOKENS
        paces.append(took / (after - before))
    total = now_ms(device) - started
    return {"step": statistics.median(paces), "all": total}, [pool.done[row].tokens for row in range(rows)]


def decode_rows(model: GlimpseModel, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """A row per number of sequences and of cached tokens; times in milliseconds."""
    found = []
    for rows, tokens in sizes:
        row: dict[str, Any] = {"sequences": rows, "cached tokens": tokens}
        answers = {}
        for name in WAYS:
            with way(name):
                if name == WAYS[0]:
                    measure(model, rows, tokens)  # kernels are chosen and memory is taken the first time
                times, answers[name] = measure(model, rows, tokens)
            row[f"{name}: step ms"], row[f"{name}: {NEW_TOKENS - 1} steps ms"] = times["step"], times["all"]
        for name in ("fixed", "exact"):
            pairs = zip(answers["docpipe"], answers[name], strict=True)
            row[f"answers as {name}"] = sum(one == other for one, other in pairs)
        found.append(row)
    return found
