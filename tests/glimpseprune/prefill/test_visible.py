"""Visual tokens left out before anything is computed: the stock model on what is left, and pruning on top."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.vision_utils import get_vision_position_ids

import glimpseprune as gp
from tests.support.batches import IMAGE, item
from tests.support.pages import ask_page
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

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
    """The questions of a page, all at once or each on a page of its own."""
    if share:
        return ask_page(model, PROMPTS, PAGE["pixel_values"], GRID, rule, 6, visible)
    outs = [ask_page(model, [prompt], PAGE["pixel_values"], GRID, rule, 6, visible) for prompt in PROMPTS]
    return gp.Output(
        sequences=[out.sequences[0] for out in outs],
        logprobs=[out.logprobs[0] for out in outs],
        scores=[out.scores[0] for out in outs],
        keep=[out.keep[0] for out in outs],
        first_logits=torch.cat([out.first_logits for out in outs]),
        stats=[out.stats[0] for out in outs],
    )


def _tower(model: gp.GlimpseModel, visible: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The stock tower's own blocks, window by window, on the patches that are seen: tokens, and each block's output."""
    stock: Any = model.base
    vision = stock.model.visual
    rows, columns = GRID[0] // 2, GRID[1] // 2
    side = vision.window_size // 2 // vision.patch_size
    windows: dict[Any, list[int]] = {}
    for place, cell in enumerate(visible.nonzero()[:, 0].tolist()):
        windows.setdefault((cell // columns // side, cell % columns // side), []).extend(
            range(4 * place, 4 * place + 4)
        )
    assert 1 < len(windows) <= -(-rows // side) * -(-columns // side)
    keep = visible.repeat_interleave(4)
    hidden = vision.patch_embed(PAGE["pixel_values"])[keep]
    rotary = vision.rotary_pos_emb(hidden, get_vision_position_ids(PAGE["image_grid_thw"], 2)[keep])
    outputs = []
    for number, block in enumerate(vision.blocks):
        out = torch.empty_like(hidden)
        for part in [list(range(len(hidden)))] if number in vision.fullatt_block_indexes else windows.values():
            ends = torch.tensor([0, len(part)], dtype=torch.int32)
            cos, sin = (turn[part] for turn in rotary)
            out[part] = block(hidden[part], cu_seqlens=ends, max_seqlen=len(part), position_embeddings=(cos, sin))
        hidden = out
        outputs.append(hidden.view(-1, 4, hidden.shape[-1]).mean(1))
    return vision.merger(hidden), outputs


def test_the_tower_on_what_is_left(model: gp.GlimpseModel) -> None:
    with torch.inference_mode():
        image = model.backbone.encode(PAGE["pixel_values"], GRID, (3, 0, 1), VISIBLE)
        tokens, outputs = _tower(model, VISIBLE)
    assert image.cells is not None
    assert torch.equal(image.cells, VISIBLE.nonzero()[:, 0])
    torch.testing.assert_close(image.tokens, tokens)
    for feature, layer in zip(image.features, (3, 0, 1), strict=True):
        torch.testing.assert_close(feature, outputs[layer])


def test_unpruned_is_the_stock_model_on_what_is_left(model: gp.GlimpseModel) -> None:
    stock: Any = model.base
    for share in (True, False):
        out = _page(model, None, VISIBLE, share)
        for ids, tokens in zip(PROMPTS, out.sequences, strict=True):
            with torch.inference_mode():
                prompt = model.backbone.page_prompts([ids], [PAGE["pixel_values"]], [GRID])[0]
                stays = torch.ones_like(ids, dtype=torch.bool)
                stays[prompt.image_slots[0][~VISIBLE]] = False
                embedded = model.backbone.embed_tokens(ids[stays][None])
                embedded[:, (ids[stays] == IMAGE).nonzero()[:, 0]] = _tower(model, VISIBLE)[0]
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
