from __future__ import annotations

import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.prefill import alone as prefill_module
from tests.support.batches import ITEMS, RULE, batch, item
from tests.support.pages import ask_page
from tests.support.tiny_model import make_glimpse, tiny_addon_config

KEEP_ALL = gp.KeepRule(threshold=0.0)
TWO_IMAGES = item([(4, 6), (7, 3)], text=9, seed=5)
NO_IMAGE = item([], text=12, seed=6)


@pytest.fixture(scope="module")
def model(tiny_base: Path, tiny_addon: Path) -> gp.GlimpseModel:
    return gp.load(tiny_base, glimpse=tiny_addon, device="cpu", dtype="float32")


def with_addon(model: gp.GlimpseModel, **changes: object) -> gp.GlimpseModel:
    return dataclasses.replace(model, method=make_glimpse(tiny_addon_config(**changes)))


def stock_tokens(model: gp.GlimpseModel, inputs: dict[str, Tensor], new_tokens: int) -> list[list[int]]:
    """Greedy tokens of the unmodified transformers model, cut after the end of sequence."""
    base: Any = model.base
    extra = {"mm_token_type_ids": (inputs["input_ids"] == base.config.image_token_id).int()}
    given = {k: v for k, v in inputs.items() if v.numel()}
    out = base.generate(**given, **extra, max_new_tokens=new_tokens, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    cut = []
    for row in out.tolist():
        end = next((i for i, token in enumerate(row) if token in model.eos_token_ids), len(row) - 1)
        cut.append(row[: end + 1])
    return cut


def tokens_of(out: gp.Output) -> list[list[int]]:
    return [sequence.tolist() for sequence in out.sequences]


def test_rules_and_limits_of_each_item(model: gp.GlimpseModel) -> None:
    rules = [None, RULE, gp.KeepRule(max_ratio=0.1), KEEP_ALL]
    limits = [1, 12, 3, 7]
    together = gp.generate(model, batch(ITEMS), rule=rules, max_new_tokens=limits)
    for i, (one, rule, limit) in enumerate(zip(ITEMS, rules, limits, strict=True)):
        alone = gp.generate(model, one, rule=rule, max_new_tokens=limit)
        assert tokens_of(together)[i] == tokens_of(alone)[0]
        assert len(together.sequences[i]) <= limit


def test_selection_is_by_image(model: gp.GlimpseModel) -> None:
    rule = gp.KeepRule(threshold=0.9999, min_tokens=3)
    out = gp.generate(model, TWO_IMAGES, rule=rule, max_new_tokens=1)
    first, second = out.keep[0].split([24, 21])
    assert int(first.sum()) >= 3
    assert int(second.sum()) >= 3
    assert out.stats[0].floor_hit
    assert out.stats[0].kept_tokens == int(out.keep[0].sum())


def test_the_cache_holds_only_what_was_kept(model: gp.GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[weakref.ref[Tensor]] = []
    after: list[Any] = []
    original = prefill_module.PrefillCache.keep

    def watched(cache: prefill_module.PrefillCache, index: Tensor) -> None:
        before.extend(weakref.ref(t) for t in (*cache.keys, *cache.values))
        original(cache, index)
        after.append(cache)

    monkeypatch.setattr(prefill_module.PrefillCache, "keep", watched)
    seen: list[int] = []
    base: Any = model.base
    handle = base.lm_head.register_forward_pre_hook(lambda _module, args: seen.append(args[0].shape[:-1].numel()))
    layer_lengths: list[set[int]] = []
    finish = model.backbone.logits

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return getattr(model.backbone, name)

        def logits(self, hidden: Tensor) -> Tensor:
            if after:
                layer_lengths.append({k.shape[2] for k in (*after[0].keys, *after[0].values)})
            return finish(hidden)

    out = gp.generate(dataclasses.replace(model, backbone=Spy()), ITEMS[0], rule=RULE, max_new_tokens=1)
    handle.remove()
    gc.collect()
    assert [ref() for ref in before] == [None] * len(before)
    assert len(before) == 2 * 3  # keys and values of layers 0..K
    kept = 3 + 2 + 11 + int(out.keep[0].sum())
    assert layer_lengths[0] == {kept}
    assert out.stats[0].kv_tokens_kept == kept
    assert out.stats[0].kv_bytes_kept == 4 * 2 * 2 * 16 * 4 * kept  # layers, k and v, kv heads, head dim, float32
    assert out.stats[0].kv_bytes_full == 4 * 2 * 2 * 16 * 4 * (3 + 2 + 11 + 54)
    assert seen == [1]  # the head saw the last position only


def test_repetition_penalty_of_the_checkpoint_is_applied_as_the_stock_model_does(model: gp.GlimpseModel) -> None:
    base: Any = model.base
    base.generation_config.repetition_penalty = 1.3
    try:
        penalised = dataclasses.replace(model, repetition_penalty=1.3)
        want = [stock_tokens(model, one, 12)[0] for one in ITEMS]
    finally:
        base.generation_config.repetition_penalty = None
    assert tokens_of(gp.generate(penalised, batch(ITEMS), rule=None, max_new_tokens=12)) == want
    assert tokens_of(gp.generate(model, batch(ITEMS), rule=None, max_new_tokens=12)) != want


def test_figures(model: gp.GlimpseModel) -> None:
    out = gp.generate(model, batch([ITEMS[0], NO_IMAGE]), rule=gp.KeepRule(max_ratio=0.1), max_new_tokens=4)
    pruned, plain = out.stats
    assert (pruned.visual_tokens, pruned.kept_tokens, pruned.cap_hit) == (54, 5, True)
    assert pruned.retention == pytest.approx(5 / 54)
    assert (plain.visual_tokens, plain.retention, plain.vision_ms) == (0, None, None)
    assert pruned.vision_ms is not None
    assert pruned.prefill_ms is not None
    assert pruned.decode_ms is not None
    assert min(pruned.vision_ms, pruned.prefill_ms, pruned.decode_ms) > 0
    logits = out.first_logits[0].log_softmax(-1)
    assert float(out.logprobs[0][0]) == pytest.approx(float(logits.max()), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_values": None}, "image_grid_thw together"),
        ({"image_grid_thw": torch.tensor([[1, 12, 16]])}, "192 patches"),
        ({"image_grid_thw": torch.tensor([[2, 12, 9]])}, "frame"),
        ({"attention_mask": torch.zeros(1, 70, dtype=torch.long)}, "no tokens"),
        ({"attention_mask": torch.ones(1, 69, dtype=torch.long)}, r"\[B, T\]"),
        ({"input_ids": torch.zeros(1, 70, dtype=torch.long)}, "1 images"),
        ({"image_grid_thw": torch.tensor([[1, 6, 36]])}, None),
        ({"input_ids": torch.full((1, 70), 261)}, "image tokens more"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    model: gp.GlimpseModel, change: dict[str, Any], message: str | None
) -> None:
    inputs = {**ITEMS[0], **change}
    if message is None:  # another grid of the same number of tokens is a fair input
        gp.generate(model, inputs, rule=RULE, max_new_tokens=1)
        return
    with pytest.raises(gp.InputError, match=message):
        gp.generate(model, inputs, rule=RULE)


def test_a_rule_needs_an_addon(tiny_base: Path) -> None:
    bare = gp.load(tiny_base, device="cpu")
    assert bare.rule is None
    with pytest.raises(gp.InputError, match="glimpse"):
        gp.generate(bare, ITEMS[0], rule=RULE)
    with pytest.raises(gp.InputError, match="3 entries for a batch of 1"):
        gp.generate(bare, ITEMS[0], rule=[None] * 3)
    with pytest.raises(gp.InputError, match="at least 1"):
        gp.generate(bare, ITEMS[0], max_new_tokens=0)


def test_questions_about_one_image_run_the_vision_tower_once(model: gp.GlimpseModel) -> None:
    base: Any = model.base
    image = ITEMS[0]
    grid = (int(image["image_grid_thw"][0, 1]), int(image["image_grid_thw"][0, 2]))
    suffixes = [[5, 6], [7, 8, 9, 10, 11], [12]]
    prompts = [torch.cat([image["input_ids"][0], torch.tensor(suffix)]) for suffix in suffixes]
    rules = [RULE, None, gp.KeepRule(max_ratio=0.1)]
    runs: list[int] = []
    handle = base.model.visual.merger.register_forward_hook(lambda *_: runs.append(1))
    together = ask_page(model, prompts, image["pixel_values"], grid, rules, 10)
    handle.remove()
    assert len(runs) == 1
    assert [figures.vision_ms is not None for figures in together.stats] == [True, False, False]
    assert [figures.prefix_ms is not None for figures in together.stats] == [True, False, False]
    for i, (ids, rule) in enumerate(zip(prompts, rules, strict=True)):
        inputs = {**image, "input_ids": ids[None], "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        alone = gp.generate(model, inputs, rule=rule, max_new_tokens=10)
        assert tokens_of(together)[i] == tokens_of(alone)[0]
        assert torch.equal(together.keep[i], alone.keep[0])
        torch.testing.assert_close(together.first_logits[i], alone.first_logits[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(gp.InputError, match="item 0 has no image tokens"):
        gp.encode_page(model, torch.tensor([1, 2]), image["pixel_values"], grid)
