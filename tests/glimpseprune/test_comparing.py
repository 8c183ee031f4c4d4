"""The methods that GlimpsePrune is compared with, run on every family: all tokens kept, and fewer, the long way."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.comparing import Apart, contender, prefill_compared
from glimpseprune.families.base import TellsTowerAttention
from glimpseprune.methods.vscan import VScan
from tests.support.families import FAMILIES
from tests.support.slow_path import additive, rotate
from tests.support.tiny_family import Inputs, TinyFamily
from tests.support.tiny_model import make_glimpse, tiny_addon_config

NAMES = ("glimpse-fixed", "mean-attention", "last-token", "fastv", "grid", "pyramiddrop", "visionzip", "vscan",
         "divprune", "cdpruner")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    family: TinyFamily
    model: gp.GlimpseModel

    @property
    def item(self) -> Inputs:
        return self.family.items[0]

    def page(self) -> tuple[gp.EncodedPage, Tensor]:
        """The first item as a page and a question about it."""
        ids = self.item["input_ids"][0]
        base: Any = self.model.base
        end = int((ids == base.config.image_token_id).nonzero()[-1]) + 1
        model = dataclasses.replace(self.model, method=None)
        return gp.encode_page(model, ids[:end], *self.family.page()), ids[end:]


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    family = FAMILIES[request.param]
    base = family.make_checkpoint(tmp_path_factory.mktemp(request.param) / "base")
    glimpse = make_glimpse(tiny_addon_config(**family.addon))  # type: ignore[arg-type]
    return Case(family, dataclasses.replace(gp.load(base, device="cpu", dtype="float32"), method=glimpse))


def made(case: Case, name: str) -> Any:
    try:
        return contender(name, case.model)
    except gp.UnsupportedModelError as error:
        if name in ("visionzip", "vscan"):
            assert not isinstance(case.model.backbone, TellsTowerAttention)
        else:
            assert (name, case.family.deep_layers > 0) == ("pyramiddrop", True)
        pytest.skip(str(error))


def logits_of(case: Case, method: Any, count: int) -> tuple[Tensor, Tensor]:
    """First logits and kept tokens."""
    page, question = case.page()
    if isinstance(method, Apart):
        (sequence,), (stats,) = prefill_compared(page, method, [question], [count])
        assert stats.kept_tokens == count
        assert sequence.cache.tokens == stats.kv_tokens_kept
        return sequence.logits, sequence.keep
    rule = gp.KeepRule(threshold=0.0, max_ratio=min(1.0, (count + 0.5) / page.images[0].tokens.shape[0]))
    out = gp.generate(dataclasses.replace(case.model, method=method), case.item, rule=rule, max_new_tokens=1)
    return out.first_logits[0], out.keep[0]


@pytest.mark.parametrize("name", NAMES)
def test_keeping_everything_is_the_stock_model(case: Case, name: str) -> None:
    method, base = made(case, name), case.model.base
    total = case.page()[0].images[0].tokens.shape[0]
    logits, keep = logits_of(case, method, total)
    with torch.no_grad():
        want = base(**case.family.stock_inputs(base, case.item)).logits[0, -1]
    torch.testing.assert_close(logits, want, rtol=0, atol=2e-5)
    assert keep.all()


@pytest.mark.parametrize("name", NAMES)
def test_a_share_of_the_tokens_stays(case: Case, name: str) -> None:
    method = made(case, name)
    total = case.page()[0].images[0].tokens.shape[0]
    logits, keep = logits_of(case, method, total // 3)
    assert int(keep.sum()) == total // 3
    assert not torch.equal(logits, logits_of(case, method, total)[0])


@pytest.mark.parametrize("name", ["visionzip", "divprune", "cdpruner"])
def test_reduced_tokens_are_all_that_the_stock_model_gets(case: Case, name: str) -> None:
    if case.family.deep_layers:
        pytest.skip("the stock model adds deep features inside")
    method, base = made(case, name), case.model.base
    page, question = case.page()
    (image,), count = page.images, 3
    tower = None
    if method.reads_tower:
        assert isinstance(case.model.backbone, TellsTowerAttention)
        tower = case.model.backbone.tower_attention(page.pixels[0], page.grids[0])
    text: Any = base.model.language_model  # type: ignore[union-attr]
    with torch.no_grad():
        reduced = method.reduce(image.tokens, tower, text.embed_tokens(question), count)
        ids = case.item["input_ids"][0]
        slots = (ids == base.config.image_token_id).nonzero()[:, 0]  # type: ignore[union-attr]
        embeds = text.embed_tokens(ids)
        stays = torch.ones(len(ids), dtype=torch.bool)
        stays[slots] = False
        stays[slots[reduced.places]] = True
        embeds[slots[reduced.places]] = reduced.tokens
        positions = case.family.positions(base, case.item)[:, stays]
        hidden = embeds[stays][None]
        rope = case.family.rope(base, positions)
        causal = additive(torch.ones(hidden.shape[1], hidden.shape[1], dtype=torch.bool).tril())
        for layer in text.layers:
            hidden = layer(hidden, attention_mask=causal, position_embeddings=rope, past_key_values=None)
        want = base.lm_head(text.norm(hidden[0, -1]))  # type: ignore[operator,union-attr]
    torch.testing.assert_close(logits_of(case, method, count)[0], want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["pyramiddrop", "vscan"])
def test_stages_drop_what_the_last_token_attends_to_least(case: Case, name: str) -> None:
    method = made(case, name)
    base: Any = case.model.base
    text, config = base.model.language_model, base.config.text_config
    ids = case.item["input_ids"][0]
    slots = (ids == base.config.image_token_id).nonzero()[:, 0].tolist()
    (image,) = case.family.images(base, case.item, ())
    staged, count = method.staged if isinstance(method, VScan) else method, 3
    counts = dict(zip(staged.layers, staged.counts(len(slots), count), strict=True))
    positions, alive = case.family.positions(base, case.item), list(range(len(ids)))
    with torch.no_grad():
        hidden = text.embed_tokens(ids)
        hidden[slots] = image.tokens
        if isinstance(method, VScan):
            page, question = case.page()
            assert isinstance(case.model.backbone, TellsTowerAttention)
            tower = case.model.backbone.tower_attention(page.pixels[0], page.grids[0])
            reduced = method.early.reduce(image.tokens, tower, text.embed_tokens(question), 3 * count)
            left = [slots[place] for place in reduced.places.tolist()]
            assert len(left) == 3 * count < len(slots)
            hidden[left] = reduced.tokens
            alive = [place for place in alive if place not in slots or place in left]
            hidden = hidden[alive]
        for number, layer in enumerate(text.layers):
            cos, sin = case.family.rope(base, positions[:, alive])
            if number in counts:
                normed, heads = layer.input_layernorm(hidden), config.num_attention_heads
                q = layer.self_attn.q_proj(normed).unflatten(-1, (heads, -1)).transpose(0, 1)
                k = layer.self_attn.k_proj(normed).unflatten(-1, (config.num_key_value_heads, -1)).transpose(0, 1)
                k = k.repeat_interleave(heads // config.num_key_value_heads, 0)
                weights = rotate(q, cos[0], sin[0])[:, -1:] @ rotate(k, cos[0], sin[0]).transpose(1, 2)
                mean = (weights[:, 0] / math.sqrt(q.shape[-1])).softmax(-1).mean(0)
                visual = [i for i, place in enumerate(alive) if place in slots]
                best = sorted(visual, key=lambda i: -float(mean[i]))[: counts[number]]
                stays = [i for i, place in enumerate(alive) if place not in slots or i in best]
                hidden, alive = hidden[stays], [alive[i] for i in stays]
                cos, sin = case.family.rope(base, positions[:, alive])
            causal = additive(torch.ones(len(alive), len(alive), dtype=torch.bool).tril())
            hidden = layer(hidden[None], attention_mask=causal, position_embeddings=(cos, sin), past_key_values=None)[0]
        want = base.lm_head(text.norm(hidden[-1]))
    logits, keep = logits_of(case, method, count)
    assert [slots[i] for i in keep.nonzero()[:, 0].tolist()] == [place for place in alive if place in slots]
    torch.testing.assert_close(logits, want, rtol=0, atol=2e-5)


def test_the_tower_tells_what_two_of_its_blocks_attend_to(tiny_base: Path) -> None:
    family = FAMILIES["qwen2_5_vl"]
    model = gp.load(tiny_base, device="cpu", dtype="float32")
    pixels, grid = family.page()
    vision: Any = model.base.model.visual  # type: ignore[union-attr]
    rows, columns = grid[0] // 2, grid[1] // 2
    side = vision.window_size // 28
    order = sorted(range(rows * columns), key=lambda n: (n // columns // side, n % columns // side))
    raster = torch.tensor(order).argsort()

    def received_in(block: Any) -> tuple[Tensor, Tensor]:
        seen: dict[str, Any] = {}

        def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            seen.update(kwargs, hidden=args[0] if args else kwargs["hidden_states"])

        handle = block.attn.register_forward_pre_hook(keep, with_kwargs=True)
        with torch.no_grad():
            vision(pixels, grid_thw=torch.tensor([[1, *grid]]))
            handle.remove()
            q, k, _ = block.attn.qkv(seen["hidden"]).unflatten(-1, (3, block.attn.num_heads, -1)).permute(1, 2, 0, 3)
            cos, sin = seen["position_embeddings"]
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            received, ends = torch.zeros(len(pixels)), seen["cu_seqlens"].tolist()
            for a, b in zip(ends, ends[1:], strict=False):
                scores = q[:, a:b] @ k[:, a:b].transpose(1, 2) / math.sqrt(q.shape[-1])
                received[a:b] = scores.softmax(-1).mean(0).sum(0)
        return received.view(-1, 4).mean(1)[raster], k.mean(0).view(rows * columns, 4, -1).mean(1)[raster]

    assert isinstance(model.backbone, TellsTowerAttention)
    found = model.backbone.tower_attention(pixels, grid)
    received, keys = received_in(vision.blocks[-1])
    torch.testing.assert_close(found.received, received)
    torch.testing.assert_close(found.keys, keys)
    torch.testing.assert_close(found.early, received_in(vision.blocks[1])[0])
    assert (found.grid, found.cells.tolist()) == ((rows, columns), list(range(rows * columns)))
    some = torch.arange(rows * columns) % 3 > 0
    assert model.backbone.tower_attention(pixels, grid, some).received.shape == (int(some.sum()),)


@pytest.mark.parametrize("name", ["divprune", "pyramiddrop", "mean-attention", "vscan"])
def test_a_page_with_hidden_paper_keeps_tokens_that_are_seen(tiny_base: Path, name: str) -> None:
    family = FAMILIES["qwen2_5_vl"]
    glimpse = make_glimpse(tiny_addon_config())
    model = dataclasses.replace(gp.load(tiny_base, device="cpu", dtype="float32"), method=glimpse)
    method = contender(name, model)
    case = Case(family, model)
    whole, question = case.page()
    visible = torch.arange(whole.images[0].tokens.shape[0]) % 2 == 0
    page = gp.encode_page(dataclasses.replace(model, method=None), whole.prefix_ids, *family.page(), visible)
    if isinstance(method, Apart):
        (sequence,), (stats,) = prefill_compared(page, method, [question], [3])
        keep, kept = sequence.keep, stats.kept_tokens
    else:
        given = dataclasses.replace(model, method=method)
        page = gp.encode_page(given, whole.prefix_ids, *family.page(), visible)
        rule = gp.KeepRule(threshold=0.0, max_ratio=3.5 / len(visible))
        (answer,) = page.ask([question], rule, 1)
        keep, kept = answer.keep, answer.stats.kept_tokens
    assert kept == int(keep.sum()) == 3
    assert not keep[~visible].any()


def test_a_model_without_an_add_on_is_refused(tiny_base: Path) -> None:
    with pytest.raises(gp.UnsupportedModelError, match="add-on"):
        contender("divprune", gp.load(tiny_base, device="cpu"))
