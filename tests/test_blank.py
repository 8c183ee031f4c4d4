"""Visual tokens left out before the language model: the stock model on the shorter sequence, and pruning on top."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from tests.batches import item
from tests.tiny_model import make_tiny_addon, make_tiny_checkpoint

PAGE = item([(6, 8)], 0, 0)
GRID = (12, 16)
PROMPTS = [torch.cat([PAGE["input_ids"][0], torch.tensor(more)]) for more in ([5, 6, 7], [8], [9, 10, 11, 12])]
VISIBLE = torch.rand(48, generator=torch.Generator().manual_seed(3)) < 0.6
RULE = gp.KeepRule(threshold=0.5, max_ratio=0.25, min_tokens=3)


@pytest.fixture(scope="module", params=[True, False], ids=["global", "windowed"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> gp.GlimpseModel:
    folder = tmp_path_factory.mktemp("blank")
    addon = make_tiny_addon(folder / "glimpse", attn_fuse_global=request.param)
    return gp.load(make_tiny_checkpoint(folder / "base"), glimpse=addon, device="cpu")


def _page(model: gp.GlimpseModel, rule: Any, visible: Tensor | None, share: bool = True) -> gp.Output:
    return gp.generate_page(model, PROMPTS, PAGE["pixel_values"], GRID, rule, 6, share, visible)


def test_unpruned_is_the_stock_model_on_what_is_left(model: gp.GlimpseModel) -> None:
    stock: Any = model.base
    for share in (True, False):
        out = _page(model, None, VISIBLE, share)
        for ids, tokens in zip(PROMPTS, out.sequences, strict=True):
            with torch.inference_mode():
                prompt = model.backbone.page_prompts([ids], PAGE["pixel_values"], GRID)[0]
                image = model.backbone.encode(PAGE["pixel_values"], GRID, ())
                stays = torch.ones_like(ids, dtype=torch.bool)
                stays[prompt.image_slots[0][~VISIBLE]] = False
                embedded = model.backbone.embed(prompt, [image])[:, stays]
                positions = prompt.position_ids[:, None, stays]
                expected = []
                for step in range(6):
                    logits = stock.lm_head(
                        stock.model.language_model(inputs_embeds=embedded, position_ids=positions).last_hidden_state
                    )[0, -1]
                    expected.append(int(logits.argmax()))
                    more = model.backbone.embed_tokens(torch.tensor([[expected[-1]]]))
                    following = prompt.position_ids[:, None, -1:] + 1 + step
                    embedded = torch.cat([embedded, more], dim=1)
                    positions = torch.cat([positions, following], dim=2)
            assert tokens.tolist() == expected[: len(tokens)]


def test_nothing_left_out_changes_nothing(model: gp.GlimpseModel) -> None:
    every = torch.ones(48, dtype=torch.bool)
    for rule in (None, RULE):
        ours, theirs = _page(model, rule, every), _page(model, rule, None)
        torch.testing.assert_close(ours.first_logits, theirs.first_logits)
        for a, b in zip(ours.keep, theirs.keep, strict=True):
            assert torch.equal(a, b)
        assert [t.tolist() for t in ours.sequences] == [t.tolist() for t in theirs.sequences]


def test_together_as_alone_and_never_a_blank_token(model: gp.GlimpseModel) -> None:
    together, alone = _page(model, RULE, VISIBLE), _page(model, RULE, VISIBLE, share=False)
    torch.testing.assert_close(together.first_logits, alone.first_logits, rtol=1e-4, atol=1e-4)
    for a, b, keep, scores in zip(together.sequences, alone.sequences, together.keep, together.scores, strict=True):
        assert torch.equal(a, b)
        assert keep.shape == VISIBLE.shape
        assert not keep[~VISIBLE].any()
        assert 3 <= int(keep.sum()) <= 12
        assert scores is not None
        assert torch.equal(scores.isinf(), ~VISIBLE)
    for figures in together.stats:
        assert figures.visual_tokens == 48
        assert figures.kv_tokens_full - figures.kv_tokens_kept == 48 - figures.kept_tokens


def test_a_mask_is_over_the_whole_page(model: gp.GlimpseModel) -> None:
    mask = torch.zeros(48, dtype=torch.bool)
    mask[VISIBLE.nonzero()[:5, 0]] = True
    mask[(~VISIBLE).nonzero()[:5, 0]] = True
    out = _page(model, [mask] * 3, VISIBLE)
    assert all(torch.equal(keep, mask & VISIBLE) for keep in out.keep)


@pytest.mark.parametrize("visible", [torch.ones(47, dtype=torch.bool), torch.zeros(48, dtype=torch.bool)])
def test_a_mask_that_does_not_fit_is_refused(model: gp.GlimpseModel, visible: Tensor) -> None:
    with pytest.raises(gp.InputError, match="visible"):
        _page(model, None, visible)
