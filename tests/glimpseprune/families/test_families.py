"""What every shipped family has to keep to: the stock model when everything stays, the long way when it is pruned."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.methods.glimpse.addon import load_addon
from glimpseprune.training.forward import answer_logits, run_prefix, token_scores
from tests.support import slow_path
from tests.support.batches import RULE, batch
from tests.support.families import FAMILIES
from tests.support.pages import ask_page
from tests.support.tiny_family import Inputs, TinyFamily, publish_addon
from tests.support.tiny_model import make_glimpse, make_tiny_addon, tiny_addon_config

KEEP_ALL = gp.KeepRule(threshold=0.0)


@dataclasses.dataclass(frozen=True)
class Case:
    family: TinyFamily
    model: gp.GlimpseModel
    base: Path
    addon: Path

    def inputs(self) -> list[Inputs]:
        return [*self.family.items, self.family.two_images, self.family.no_image]

    def with_addon(self, **changes: object) -> gp.GlimpseModel:
        config = tiny_addon_config(**{**self.family.addon, **changes})  # type: ignore[arg-type]
        return dataclasses.replace(self.model, method=make_glimpse(config))


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    family, folder = FAMILIES[request.param], tmp_path_factory.mktemp(request.param)
    base = family.make_checkpoint(folder / "base")
    addon = make_tiny_addon(folder / "glimpse", **family.addon)  # type: ignore[arg-type]
    return Case(family, gp.load(base, glimpse=addon, device="cpu", dtype="float32"), base, addon)


def stock_tokens(case: Case, inputs: Inputs, new_tokens: int) -> list[int]:
    """Greedy tokens of the unmodified transformers model, cut after the end of sequence."""
    base: Any = case.model.base
    given = case.family.stock_inputs(base, inputs)
    row = base.generate(**given, max_new_tokens=new_tokens, do_sample=False)[0, inputs["input_ids"].shape[1] :].tolist()
    end = next((i for i, token in enumerate(row) if token in case.model.eos_token_ids), len(row) - 1)
    return row[: end + 1]


def tokens_of(out: gp.Output) -> list[list[int]]:
    return [sequence.tolist() for sequence in out.sequences]


@pytest.mark.parametrize("rule", [None, KEEP_ALL], ids=["no rule", "keep everything"])
def test_keeping_everything_is_the_stock_model(case: Case, rule: gp.KeepRule | None) -> None:
    base: Any = case.model.base
    for inputs in case.inputs():
        out = gp.generate(case.model, inputs, rule=rule, max_new_tokens=12)
        with torch.no_grad():
            logits = base(**case.family.stock_inputs(base, inputs)).logits[:, -1]
        torch.testing.assert_close(out.first_logits, logits, rtol=0, atol=1e-5)
        assert tokens_of(out) == [stock_tokens(case, inputs, 12)]
        assert out.keep[0].all()
        assert out.stats[0].kv_tokens_kept == out.stats[0].kv_tokens_full == inputs["input_ids"].shape[1]


def test_the_answers_of_the_tiny_model_differ(case: Case) -> None:
    """Otherwise the comparisons of tokens in this file would prove nothing."""
    answers, pruned = (
        [tuple(tokens_of(gp.generate(case.model, one, rule=rule, max_new_tokens=12))[0]) for one in case.family.items]
        for rule in (None, RULE)
    )
    assert len(set(answers)) == len(answers)
    assert sum(len(set(answer)) > 3 for answer in answers) >= len(answers) - 1
    assert sum(a != b for a, b in zip(answers, pruned, strict=True)) >= 2


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "rule", [None, RULE, gp.KeepRule(max_ratio=0.2, min_tokens=5)], ids=["full", "cap", "tighter cap"]
)
def test_a_batch_gives_each_item_what_it_gets_alone(case: Case, side: str, rule: gp.KeepRule | None) -> None:
    items = case.inputs()
    together = gp.generate(case.model, batch(items, side), rule=rule, max_new_tokens=12)
    for i, one in enumerate(items):
        alone = gp.generate(case.model, one, rule=rule, max_new_tokens=12)
        assert tokens_of(together)[i] == tokens_of(alone)[0]
        assert torch.equal(together.keep[i], alone.keep[0])
        assert torch.equal(together.first_logits[i], alone.first_logits[0])
        torch.testing.assert_close(together.logprobs[i], alone.logprobs[0], rtol=0, atol=1e-5)


FORMATS: dict[str, dict[str, object]] = {
    "default": {},
    "first layer": {"reduce_layer": 0, "selected_layers": (0,)},
    "last layer": {"reduce_layer": 3, "selected_layers": (3,)},
    "several selected layers": {"selected_layers": (2, 0, 1)},
    "selected before reduced": {"selected_layers": (0,), "reduce_layer": 2},
    "raw scores": {"use_attention_logits": True},
    "log-softmax": {"use_attention_logits": False},
    "windowed predictor": {"attn_fuse_global": False, "window": 4},
    "glimpse of two tokens": {"le_length": 2},
    "glimpse of two tokens, log-softmax": {"le_length": 2, "use_attention_logits": False},
    "no glimpse token": {"le_length": 0},
    "glimpse in some layers": {"le_layers": (0, 2)},
    "glimpse in layer 0 only": {"le_layers": (0,)},
    "layernorm": {"le_norm_type": "layernorm"},
    "one visual layer": {"selected_visual_layers": (1,)},
    "deep supervision": {"deep_supervision": True},
    "other widths": {"attn_fuse_size": 16, "visual_cond_size": 48, "attn_fuse_num_heads": 2},
}


@pytest.mark.parametrize("changes", FORMATS.values(), ids=FORMATS.keys())
def test_pruning_equals_the_long_way(case: Case, changes: dict[str, object]) -> None:
    family = case.family
    if tiny_addon_config(**{**family.addon, **changes}).reduce_layer < family.deep_layers:
        with pytest.raises(gp.UnsupportedModelError, match=f"prune layer of at least {family.deep_layers}"):
            case.with_addon(**changes)
        return
    variant = case.with_addon(**changes)
    for one, rule in [
        (family.items[0], RULE),
        (family.items[2], gp.KeepRule(max_ratio=0.25)),
        (family.two_images, gp.KeepRule(0.95, None, 4)),
    ]:
        out = gp.generate(variant, one, rule=rule, max_new_tokens=8)
        scores, keep, tokens, first = slow_path.answer(family, variant, one, rule, 8)
        assert out.scores[0] is not None
        torch.testing.assert_close(out.scores[0], scores, rtol=0, atol=1e-4)
        assert torch.equal(out.keep[0], keep)
        torch.testing.assert_close(out.first_logits[0], first, rtol=0, atol=2e-5)
        assert tokens_of(out)[0] == tokens


def prompts_about_one_page(case: Case) -> list[Tensor]:
    return [torch.cat([case.family.items[0]["input_ids"][0], torch.tensor(more)]) for more in ([5, 6], [7, 8, 9], [12])]


def test_questions_about_one_page_are_answered_as_alone(case: Case) -> None:
    pixels, grid = case.family.page()
    prompts, rules = prompts_about_one_page(case), [RULE, None, gp.KeepRule(max_ratio=0.1)]
    together = ask_page(case.model, prompts, pixels, grid, rules, 10)
    assert [figures.vision_ms is not None for figures in together.stats] == [True, False, False]
    for i, (ids, rule) in enumerate(zip(prompts, rules, strict=True)):
        item = {**case.family.items[0], "input_ids": ids[None], "attention_mask": torch.ones_like(ids[None])}
        alone = gp.generate(case.model, item, rule=rule, max_new_tokens=10)
        assert tokens_of(together)[i] == tokens_of(alone)[0]
        assert torch.equal(together.keep[i], alone.keep[0])
        torch.testing.assert_close(together.first_logits[i], alone.first_logits[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(gp.InputError, match="item 0 has no image tokens"):
        gp.encode_page(case.model, torch.tensor([1, 2]), pixels, grid)


def test_questions_about_several_pages_at_once_are_answered_as_alone(case: Case) -> None:
    one = case.family.two_images
    (whole,) = case.model.backbone.prompts(one)
    end = int(whole.image_slots[-1][-1]) + 1
    questions = [torch.cat([whole.input_ids[end:], torch.tensor(more)]) for more in ([5, 6], [7, 8, 9], [12])]
    rules = [gp.KeepRule(0.95, None, 4), None, gp.KeepRule(max_ratio=0.25)]
    page = gp.encode_pages(case.model, whole.input_ids[:end], whole.pixels, whole.grids)
    for question, rule, found in zip(questions, rules, page.ask(questions, rules, 8), strict=True):
        ids = torch.cat([whole.input_ids[:end], question])[None]
        item = {**one, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        alone = gp.generate(case.model, item, rule=rule, max_new_tokens=8)
        assert found.tokens == tokens_of(alone)[0]
        assert torch.equal(found.keep, alone.keep[0])
        torch.testing.assert_close(found.first_logits, alone.first_logits[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(gp.InputError, match="no image tokens for 1 of 2 pages"):
        gp.encode_pages(case.model, whole.input_ids[: int(whole.image_slots[0][-1]) + 1], whole.pixels, whole.grids)


def test_blank_paper_of_several_pages_is_left_out_of_each(case: Case) -> None:
    (whole,) = case.model.backbone.prompts(case.family.two_images)
    end = int(whole.image_slots[-1][-1]) + 1
    sizes = [slots.numel() for slots in whole.image_slots]
    visible = torch.rand(sum(sizes), generator=torch.Generator().manual_seed(3)) < 0.6
    visible[: sizes[0]] = True

    def encoded(seen: Tensor | None) -> gp.EncodedPage:
        return gp.encode_pages(case.model, whole.input_ids[:end], whole.pixels, whole.grids, seen)

    questions, rules = [whole.input_ids[end:], torch.tensor([7, 8])], [gp.KeepRule(max_ratio=0.25), None]
    together = encoded(visible).ask(questions, rules, 6)
    for question, rule, found in zip(questions, rules, together, strict=True):
        (alone,) = encoded(visible).ask([question], rule, 6)
        assert found.tokens == alone.tokens
        assert torch.equal(found.keep, alone.keep)
        assert not found.keep[~visible].any()
        assert found.stats.visual_tokens == sum(sizes)
    for kept, size in zip(together[0].keep.split(sizes), sizes, strict=True):
        assert 0 < int(kept.sum()) <= 0.25 * size  # a share of each page, blank paper included
    plainly, all_visible = (encoded(seen).ask(questions, rules, 6) for seen in (None, visible | True))
    for plain, seen in zip(plainly, all_visible, strict=True):
        assert plain.tokens == seen.tokens
        torch.testing.assert_close(plain.first_logits, seen.first_logits, rtol=1e-4, atol=1e-4)
    first, second = (encoded(seen).images for seen in (None, visible))
    torch.testing.assert_close(first[0].tokens, second[0].tokens)
    with pytest.raises(gp.InputError, match="at least one true entry per image"):
        encoded(torch.arange(sum(sizes)) < sizes[0])


def test_blank_paper_left_out_is_answered_together_as_alone(case: Case) -> None:
    pixels, grid = case.family.page()
    prompts = prompts_about_one_page(case)
    total = int((prompts[0] == case.model.backbone.image_token_id).sum())
    visible = torch.rand(total, generator=torch.Generator().manual_seed(3)) < 0.6
    for rule in (None, RULE):
        together = ask_page(case.model, prompts, pixels, grid, rule, 6, visible)
        for i, ids in enumerate(prompts):
            alone = ask_page(case.model, [ids], pixels, grid, rule, 6, visible)
            assert tokens_of(together)[i] == tokens_of(alone)[0]
            assert torch.equal(together.keep[i], alone.keep[0])
            assert not together.keep[i][~visible].any()
            assert together.stats[i].visual_tokens == total
    whole, all_visible = (ask_page(case.model, prompts, pixels, grid, RULE, 6, seen) for seen in (None, visible | True))
    assert tokens_of(whole) == tokens_of(all_visible)
    torch.testing.assert_close(whole.first_logits, all_visible.first_logits, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_training_computes_what_inference_does(case: Case) -> None:
    backbone, glimpse = case.model.backbone, case.model.method
    assert glimpse is not None
    for one in (case.family.items[0], case.family.two_images):
        (prompt,) = backbone.prompts(one)
        images, _ = case.model.encode_images(prompt)
        prefix = run_prefix(backbone, prompt, images, glimpse.prune_layer)
        pruned, whole = (gp.generate(case.model, one, rule=rule, max_new_tokens=4) for rule in (RULE, None))
        assert pruned.scores[0] is not None
        torch.testing.assert_close(token_scores(backbone, glimpse, prefix), pruned.scores[0], rtol=0, atol=1e-4)
        logits = answer_logits(backbone, prefix, whole.sequences[0], glimpse.prune_layer, None)
        assert logits.argmax(-1).tolist() == whole.sequences[0].tolist()
        torch.testing.assert_close(logits[0], whole.first_logits[0], rtol=0, atol=1e-4)


def test_an_addon_of_our_own_gives_the_same_masks_once_saved(case: Case, tmp_path: Path) -> None:
    glimpse: Any = case.model.method
    gp.save_addon(glimpse, tmp_path)
    again = gp.load(case.base, glimpse=tmp_path, device="cpu", dtype="float32")
    for one in case.family.items:
        before, after = (gp.generate(model, one, rule=RULE, max_new_tokens=4) for model in (case.model, again))
        assert torch.equal(before.keep[0], after.keep[0])
        assert tokens_of(before) == tokens_of(after)


def test_an_addon_in_the_published_layout_gives_the_same_masks(case: Case, tmp_path: Path) -> None:
    glimpse: Any = case.model.method
    if case.family.published is None:
        pytest.skip("the published code knows no such base")
    folder = publish_addon(case.family, case.model.base, glimpse, tmp_path / "published")
    published = gp.load(case.base, glimpse=folder, device="cpu", dtype="float32")
    gp.save_addon(load_addon(folder), tmp_path / "own")
    own = gp.load(case.base, glimpse=tmp_path / "own", device="cpu", dtype="float32")
    assert published.rule == own.rule == glimpse.rule
    for one in case.family.items:
        want, *found = (gp.generate(m, one, rule=RULE, max_new_tokens=4) for m in (case.model, published, own))
        assert all(torch.equal(out.keep[0], want.keep[0]) for out in found)
        assert all(tokens_of(out) == tokens_of(want) for out in found)


def state_of(model: gp.GlimpseModel) -> dict[str, Any]:
    base: Any = model.base
    return {
        "hooks": {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in base.named_modules()},
        "attributes": {name: sorted(vars(m)) for name, m in base.named_modules()},
        "weights": {name: t.clone() for name, t in base.state_dict().items()},
        "rope_deltas": getattr(base.model, "rope_deltas", None),
        "training": base.training,
        "config": base.config.to_dict(),
    }


def assert_same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    weights = before.pop("weights"), after.pop("weights")
    assert before == after
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_call_leaves_no_trace(case: Case) -> None:
    before = state_of(case.model)
    gp.generate(case.model, batch(case.inputs()), rule=RULE, max_new_tokens=3)
    assert_same_state(before, state_of(case.model))


def test_a_failed_call_leaves_no_trace(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_of(case.model)
    kind = type(case.family.failing_module(case.model.base))
    original, calls = kind.forward, []

    def failing(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("in the middle of the vision tower")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(kind, "forward", failing)
    with pytest.raises(RuntimeError, match="in the middle"):
        gp.generate(case.model, case.family.items[0], rule=RULE)
    monkeypatch.undo()
    assert_same_state(before, state_of(case.model))
