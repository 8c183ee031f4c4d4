"""Questions behind a shared prefix hold no copy of it."""

from __future__ import annotations

from pathlib import Path

import torch

import glimpseprune as gp
from glimpseprune.prefill.shared import prefill_questions, read_prefix, shared_prefix
from glimpseprune.prefill.tails import run_tails
from tests.support.pages import questions_about_one_page

LENGTHS = (9, 4, 17, 1, 6)


@torch.inference_mode()
def test_tails_hold_their_own_tokens_and_caches_their_survivors(tiny_base: Path, tiny_addon: Path) -> None:
    model = gp.load(tiny_base, tiny_addon, "cpu", "float32")
    backbone, method = model.backbone, model.method
    assert method is not None
    ids, pixels, grid = questions_about_one_page(LENGTHS)
    prompts = backbone.page_prompts(ids, [pixels], [grid])
    images = [backbone.encode(prompts[0].pixels[0], prompts[0].grids[0], method.vision_layers)]
    prefix = shared_prefix(prompts)
    assert prefix is not None
    page = read_prefix(backbone, method, prefix, images)
    token_bytes = page.cache.nbytes // page.cache.tokens
    tails = run_tails(backbone, method, page.cache, prompts)
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tail in tails
        for tensor in (*tail.keys, *tail.values)
    }
    assert sum(storages.values()) == (sum(LENGTHS) + len(LENGTHS) * method.appended) * token_bytes
    assert sum(storages.values()) < page.cache.nbytes
    for found in prefill_questions(backbone, method, page, prompts, [gp.KeepRule(max_ratio=0.1)] * len(prompts)):
        for tensor in (*found.cache.keys, *found.cache.values):
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
            assert tensor.shape[2] < page.cache.tokens
