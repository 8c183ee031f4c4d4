"""Family and method are seams: a toy of each runs through every path that the shipped ones take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.families import registry
from tests.support.families import FAMILIES
from tests.support.tiny_model import make_glimpse, tiny_addon_config
from tests.support.toy_family import IMAGE, MODEL_TYPE, PATCH_DIM, VOCABULARY, ToyBackbone, make_toy_checkpoint
from tests.support.toy_method import EverySecondToken

GRID = (4, 4)
PIXELS = torch.randn(16, PATCH_DIM, generator=torch.Generator().manual_seed(5))
PREFIX = torch.tensor([7, 8, *[IMAGE] * 16])
QUESTIONS = [torch.tensor(ids) for ids in ([9, 10, 11], [12], [13, 14, 15, 16])]
VISIBLE = torch.tensor([True, True, False, True] * 4)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gp.GlimpseModel:
    monkeypatch.setattr(registry, "_registered", {})
    gp.register_family(MODEL_TYPE, "tests.support.toy_family")
    return gp.load(make_toy_checkpoint(tmp_path / "toy"), device="cpu")


def methods(model: gp.GlimpseModel) -> list[Any]:
    torch.manual_seed(2)
    glimpse = gp.new_glimpse(model).requires_grad_(False).eval()
    return [None, EverySecondToken(), EverySecondToken(prune_layer=model.backbone.num_layers - 1), glimpse]


def inputs(question: Tensor) -> dict[str, Any]:
    return {"input_ids": torch.cat([PREFIX, question])[None], "pixel_values": PIXELS, "grid": GRID}


def stock_tokens(backbone: ToyBackbone, question: Tensor, limit: int) -> list[int]:
    """The toy's answer with every token, computed without any cache, layer by layer over the whole sequence."""
    model, ids = backbone.model, torch.cat([PREFIX, question])
    hidden = model.embed(ids)
    hidden[2:18] = model.vision(PIXELS)
    tokens: list[int] = []
    while len(tokens) < limit and tokens[-1:] != [2]:
        states, length = hidden[None], hidden.shape[0]
        rotary = backbone.rotary(torch.arange(length)[None, None])
        for layer in range(backbone.num_layers):
            query, keys, values, gate = backbone._project(layer, states)
            scores = torch.einsum("bqhd,bkhd->bhqk", backbone._turn(query, rotary), backbone._turn(keys, rotary))
            scores = scores * query.shape[-1] ** -0.5 + torch.full((length, length), float("-inf")).triu(1)
            out = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), values)
            states = states + out.flatten(2) * gate.flatten(2).tanh()
        tokens.append(int(model.head(states[0, -1]).argmax()))
        hidden = torch.cat([hidden, model.embed(torch.tensor(tokens[-1:]))])
    return tokens


def test_keeping_everything_gives_the_toys_own_tokens(toy: gp.GlimpseModel) -> None:
    backbone: Any = toy.backbone
    answers = gp.encode_page(toy, PREFIX, PIXELS, GRID).ask(QUESTIONS, None, 6)
    with torch.inference_mode():
        want = [stock_tokens(backbone, question, 6) for question in QUESTIONS]
    assert [answer.tokens for answer in answers] == want
    assert len({tuple(tokens) for tokens in want}) > 1
    assert all(0 <= token < VOCABULARY for tokens in want for token in tokens)


@pytest.mark.parametrize("number", range(4), ids=["unpruned", "every second", "every second, last layer", "glimpse"])
@pytest.mark.parametrize("visible", [None, VISIBLE], ids=["paper", "paper left out"])
def test_a_page_asked_at_once_is_every_question_alone(
    toy: gp.GlimpseModel, number: int, visible: Tensor | None
) -> None:
    model = replace(toy, method=methods(toy)[number])
    rule = None if model.method is None else gp.KeepRule(threshold=0.5, min_tokens=2)
    together = gp.encode_page(model, PREFIX, PIXELS, GRID, visible).ask(QUESTIONS, rule, [3, 5, 7])
    for question, limit, answer in zip(QUESTIONS, [3, 5, 7], together, strict=True):
        (alone,) = gp.encode_page(model, PREFIX, PIXELS, GRID, visible).ask([question], rule, limit)
        assert answer.tokens == alone.tokens
        assert torch.equal(answer.keep, alone.keep)
        torch.testing.assert_close(answer.first_logits, alone.first_logits, rtol=1e-4, atol=1e-4)
        if visible is None:
            out = gp.generate(model, inputs(question), rule=rule, max_new_tokens=limit)
            assert out.sequences[0].tolist() == answer.tokens
    if isinstance(model.method, EverySecondToken):
        even = torch.arange(16) % 2 == 0
        assert all(torch.equal(answer.keep, even if visible is None else even & visible) for answer in together)


def test_the_toy_method_prunes_the_shipped_family(tiny_base: Path) -> None:
    model = replace(gp.load(tiny_base, device="cpu"), method=EverySecondToken(prune_layer=1))
    ids = torch.tensor([1, 2, *[model.backbone.image_token_id] * 24])
    pixels = torch.randn(96, 1176, generator=torch.Generator().manual_seed(1))
    page = gp.encode_page(model, ids, pixels, (8, 12))
    answers = page.ask(QUESTIONS, model.rule, 6)
    assert all(answer.keep.tolist() == [True, False] * 12 for answer in answers)
    again = gp.encode_page(model, ids, pixels, (8, 12)).ask(QUESTIONS[1:2], model.rule, 6)
    assert again[0].tokens == answers[1].tokens
    glimpse = replace(model, method=make_glimpse(tiny_addon_config()))
    masked = gp.encode_page(glimpse, ids, pixels, (8, 12)).ask(QUESTIONS, [answer.keep for answer in answers], 1)
    assert all(one.stats.kept_tokens == 12 for one in masked)


def test_an_unknown_family_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "paligemma"}', encoding="utf-8")
    with pytest.raises(
        gp.UnsupportedModelError, match=f"'paligemma'.*supported: {', '.join(sorted(FAMILIES))}.*CONTRIBUTING"
    ):
        gp.load(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(gp.UnsupportedModelError, match="model_type"):
        gp.load(tmp_path)


def test_parts_of_a_family_are_no_families() -> None:
    assert registry.supported_families() == sorted(FAMILIES)
    assert list(registry.golden_families()) == ["qwen2_5_vl", "qwen3_vl"]
