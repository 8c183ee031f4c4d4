"""The probability of a text as a whole is what the stock model gives its tokens one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import glimpseprune as gp
from glimpseprune.decode.continuations import continuation_logprobs
from tests.support.batches import item
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

TEXTS = [torch.tensor(ids) for ids in ([40, 41, 42], [40], [99], [40, 41, 77, 13, 12, 11], [5, 6])]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> gp.GlimpseModel:
    folder: Path = tmp_path_factory.mktemp("continuations")
    return gp.load(make_tiny_checkpoint(folder / "base"), glimpse=make_tiny_addon(folder / "glimpse"), device="cpu")


def page_of(model: gp.GlimpseModel) -> tuple[gp.EncodedPage, list[torch.Tensor], dict[str, Any]]:
    whole = item([(4, 6)], 12, 3)
    ids = whole["input_ids"][0]
    return gp.encode_page(model, ids[:-12], whole["pixel_values"], (8, 12)), [ids[-12:], ids[-12:-5]], whole


def stock_logprob(model: gp.GlimpseModel, whole: dict[str, Any], text: torch.Tensor) -> float:
    ids = torch.cat([whole["input_ids"], text[None]], dim=1)
    base: Any = model.base
    inputs = {**whole, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs["mm_token_type_ids"] = (ids == model.backbone.image_token_id).long()
    with torch.inference_mode():
        logprobs = base(**inputs).logits[0].float().log_softmax(dim=-1)
    start = whole["input_ids"].shape[1] - 1
    said = sum(logprobs[start + i, token].item() for i, token in enumerate(text.tolist()))
    return said + logprobs[start + len(text), list(model.eos_token_ids)].logsumexp(dim=0).item()


def test_they_are_those_of_the_stock_model(model: gp.GlimpseModel) -> None:
    page, questions, whole = page_of(model)
    sequences, _ = page.prefill(questions, [None, None], [4, 4], None, [TEXTS, ()])
    assert sequences[0].page is None
    assert sequences[1].continuations is None
    found = sequences[0].continuations
    assert found is not None
    assert found.tolist() == pytest.approx([stock_logprob(model, whole, text) for text in TEXTS], abs=1e-3)


def test_a_pruned_sequence_goes_on_as_if_they_were_not_computed(model: gp.GlimpseModel) -> None:
    rule = gp.KeepRule(max_ratio=0.4)
    page, questions, _ = page_of(model)
    plain = page.ask(questions, rule, 8)
    sequences, _ = page.prefill(questions, [rule] * 2, [8, 8], None, [TEXTS, TEXTS[:1]])
    pool = gp.DecodePool(model.backbone, model.eos_token_ids)
    for i, sequence in enumerate(sequences):
        pool.add(i, sequence, page.prompt_ids(questions[i]), 8)
    pool.run()
    assert [pool.done[i].tokens for i in range(2)] == [answer.tokens for answer in plain]
    # What it said itself is one of those that can be scored, and then it may end or not.
    said = torch.tensor([token for token in plain[0].tokens if token not in model.eos_token_ids])
    again, _ = page.prefill(questions, [rule] * 2, [8, 8], None, [[said], ()])
    assert again[0].continuations is not None
    assert again[0].continuations.item() < sum(plain[0].logprobs[: len(said)]) + 1e-3


def test_many_are_scored_in_batches(model: gp.GlimpseModel) -> None:
    page, questions, _ = page_of(model)
    texts = [torch.tensor([number, number + 1]) for number in range(40)]
    sequences, _ = page.prefill(questions[:1], [None], [4], None, [texts])
    whole = sequences[0].continuations
    assert whole is not None
    with torch.inference_mode():
        alone = [continuation_logprobs(model.backbone, sequences[0], [text], model.eos_token_ids) for text in texts]
    assert whole.tolist() == pytest.approx(torch.cat(alone).tolist(), abs=1e-4)
