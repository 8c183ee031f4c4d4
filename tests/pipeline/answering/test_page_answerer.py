from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import glimpseprune as gp
from glimpseprune import golden
from glimpseprune.rule import KeepRule
from pipeline.answering.checkpoints import addon_rule, check_fit, fingerprint, resolve_addon, resolve_model
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.errors import ModelError, PageError, UsageError
from pipeline.families.qwen_vl_input import Processor
from pipeline.records import Ask

ASKS = [
    Ask("a", "What is the total?", "text", 9, KeepRule(max_ratio=0.3)),
    Ask("b", "Who?", "text", 5, None),
    Ask("c", "When is it due, and why?", "text", 7, KeepRule(max_ratio=0.05, min_tokens=2)),
]


def ready(
    page_answerer: PageAnswerer, pages: Iterable[tuple[Any, np.ndarray, Sequence[Ask]]]
) -> Iterator[tuple[Any, Any]]:
    """Pages as the page_answerer takes them: made ready when their turn comes."""
    for key, pixels, asks in pages:
        yield key, partial(page_answerer.prepare, pixels, asks)


def page(seed: int = 0, width: int = 224, height: int = 308) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def page_answerer(tiny_base: Path, tiny_addon: Path) -> PageAnswerer:
    return PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


def test_the_prompt_is_the_chat_template_with_the_image_first(tiny_base: Path) -> None:
    processor = Processor(tiny_base)
    ids = processor.prompt("What?", (4, 6))
    text = processor.chat.tokenizer.decode(ids)
    assert text == (
        "<|im_start|>user\n<|vision_start|>"
        + "<|image_pad|>" * 6
        + "<|vision_end|>What?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_image_is_what_the_stock_processor_makes(tiny_base: Path) -> None:
    processor = Processor(tiny_base)
    pixels, grid = processor.image(page())
    assert grid == (22, 16)
    stock = processor.images(images=[Image.fromarray(page())], return_tensors="pt")
    assert torch.equal(pixels, stock["pixel_values"])
    by_hand = (page()[:14, :14].astype(np.float32) / 255 - np.array([0.48145466, 0.4578275, 0.40821073])) / np.array(
        [0.26862954, 0.26130258, 0.27577711]
    )
    first = pixels[0].view(3, 2, 14, 14)
    np.testing.assert_allclose(first[:, 0].numpy(), by_hand.transpose(2, 0, 1), atol=1e-5)
    assert torch.equal(first[:, 0], first[:, 1])


def test_templates_of_older_checkpoints_and_missing_ones(tiny_base: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(tiny_base, tmp_path / "old"))
    template = (old / "chat_template.jinja").read_text()
    (old / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        Processor(old)
    (old / "chat_template.json").write_text(json.dumps({"chat_template": "OLD" + template}))
    assert Processor(old).chat.tokenizer.decode(Processor(old).prompt("?", (2, 2))).startswith("OLD<|im_start|>")
    (old / "chat_template.json").write_text(json.dumps({"chat_template": "no image here"}))
    with pytest.raises(ModelError, match="writes the text 0 times; expected once"):
        Processor(old).prompt("?", (2, 2))
    (old / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages[0]['content'][1]['text'] }}"}))
    with pytest.raises(ModelError, match="0 image tokens for 1 image; expected 1"):
        Processor(old).prompt("?", (2, 2))


def test_questions_about_a_page_equal_single_calls(page_answerer: PageAnswerer) -> None:
    answers = page_answerer.answer_page(page(), ASKS)
    pixels, grid = page_answerer.processor.image(page())
    for ask, answer in zip(ASKS, answers, strict=True):
        ids = page_answerer.processor.prompt(ask.prompt, grid)[None]
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": pixels,
            "image_grid_thw": torch.tensor([[1, *grid]]),
        }
        out = gp.generate(page_answerer.model, inputs, rule=ask.rule, max_new_tokens=ask.max_new_tokens)
        assert answer.text == page_answerer.processor.text(out.sequences[0])
        assert answer.new_tokens == len(out.sequences[0]) <= ask.max_new_tokens
        assert answer.finish_reason == (
            "stop" if int(out.sequences[0][-1]) in page_answerer.model.eos_token_ids else "length"
        )
        logprobs = out.logprobs[0]
        assert answer.signals.confidence_raw == pytest.approx(math.exp(logprobs.mean()), abs=1e-6)
        assert answer.signals.logprob_min == pytest.approx(float(logprobs.min()), abs=1e-5)
        assert answer.signals.logprob_first == pytest.approx(float(logprobs[0]), abs=1e-5)
        first = out.first_logits[0].log_softmax(dim=-1).topk(2).values
        assert 0 <= answer.signals.margin_min <= float(first[0] - first[1]) + 1e-5
        assert (answer.signals.glimpse_mass is None) == (answer.signals.glimpse_spread is None) == (ask.rule is None)
        assert answer.grids == ((11, 8),)
        assert answer.stats.kept_tokens == out.stats[0].kept_tokens
        assert (answer.keep is None) == (ask.rule is None)
        if answer.keep is not None:
            assert answer.keep.tolist() == out.keep[0].tolist()


@pytest.mark.parametrize("threads", [1, 3], ids=["one lane", "three lanes"])
@pytest.mark.parametrize("room", [0, 1 << 30], ids=["no room", "much room"])
def test_pages_together_are_pages_alone(page_answerer: PageAnswerer, room: int, threads: int) -> None:
    pages = {number: (page(number, 112 + 28 * number), ASKS[number % 2 :]) for number in range(5)}
    alone = {number: page_answerer.answer_page(*one) for number, one in pages.items()}
    pooled = PageAnswerer(page_answerer.model, page_answerer.processor)
    assert pooled.divide(threads, 100) == threads
    pooled.memory.limit_bytes = room
    together = dict(pooled.answer_pages(ready(pooled, ((number, *one) for number, one in pages.items()))))
    assert sorted(together) == sorted(alone)
    for number, want in alone.items():
        found = together[number]
        assert not isinstance(found, PageError)
        for ours, theirs in zip(found, want, strict=True):
            assert (ours.text, ours.new_tokens, ours.finish_reason) == (
                theirs.text,
                theirs.new_tokens,
                theirs.finish_reason,
            )
            assert (ours.keep is None) == (theirs.keep is None)
            if ours.keep is not None:
                assert np.array_equal(ours.keep, theirs.keep)
            for one, other in zip(asdict(ours.signals).values(), asdict(theirs.signals).values(), strict=True):
                assert one == (None if other is None else pytest.approx(other, rel=1e-4, abs=1e-4))


def test_lanes_are_no_more_than_memory_allows(page_answerer: PageAnswerer) -> None:
    one = PageAnswerer(page_answerer.model, page_answerer.processor)
    one.memory.free_bytes = lambda: 1000
    assert one.divide(8, 100) == 1
    many = PageAnswerer(page_answerer.model, page_answerer.processor)
    limit = many.memory.limit_bytes
    assert many.divide(64, 1) == 4
    assert many.memory.limit_bytes == limit // 4  # each lane has a pool of its own


@pytest.mark.parametrize("threads", [1, 3], ids=["one lane", "three lanes"])
def test_a_page_that_does_not_fit_costs_that_page(
    page_answerer: PageAnswerer, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    original = gp.EncodedPage.prefill

    def small(self: gp.EncodedPage, *args: Any) -> Any:
        if self.pixels[0].shape[0] > 400:
            raise torch.OutOfMemoryError("full")
        return original(self, *args)

    monkeypatch.setattr(gp.EncodedPage, "prefill", small)
    pages = [("small", page(0), ASKS), ("large", page(1, 308, 308), ASKS), ("other", page(2), ASKS)]
    in_lanes = PageAnswerer(page_answerer.model, page_answerer.processor)
    assert in_lanes.divide(threads, 400) == threads
    found = dict(in_lanes.answer_pages(ready(in_lanes, pages)))
    assert isinstance(found["large"], PageError)
    assert [len(found[name]) for name in ("small", "other")] == [3, 3]  # type: ignore[arg-type]


def test_out_of_memory_halves_the_questions(page_answerer: PageAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
    want = [answer.text for answer in page_answerer.answer_page(page(), ASKS)]
    sizes: list[int] = []
    original = gp.EncodedPage.prefill

    def small(self: gp.EncodedPage, questions: list[Any], *args: Any) -> Any:
        sizes.append(len(questions))
        if len(questions) > 1:
            raise torch.OutOfMemoryError("full")
        return original(self, questions, *args)

    monkeypatch.setattr(gp.EncodedPage, "prefill", small)
    assert [answer.text for answer in page_answerer.answer_page(page(), ASKS)] == want
    assert sizes == [3, 1, 2, 1, 1]

    def never(*_: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(gp.EncodedPage, "prefill", never)
    with pytest.raises(PageError, match="OutOfMemory.*88 visual tokens"):
        page_answerer.answer_page(page(), ASKS)


def test_the_repetition_penalty_is_the_checkpoints_unless_one_is_given(tiny_base: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    generation = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps({**generation, "repetition_penalty": 1.05}))
    for given, want in ((None, 1.05), (1.0, 1.0), (1.3, 1.3)):
        loaded = PageAnswerer.load(str(base), None, "cpu", "auto", "auto", 0, repetition_penalty=given)
        assert loaded.model.repetition_penalty == loaded._pool().greedy.penalty == want


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_stack_that_computes_other_numbers_answers_nothing(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    seen: list[tuple[object, ...]] = []
    original = golden.differences

    def noted(*given: Any) -> list[str]:
        seen.append((given[0], *given[2:]))
        return original(*given)

    monkeypatch.setattr(golden, "differences", noted)
    state = torch.random.get_rng_state()
    PageAnswerer.load(str(tiny_base), None, "cpu", dtype, "sdpa", 0)
    assert seen == [("qwen2_5_vl", "cpu", getattr(torch, dtype), "sdpa")]
    torch.random.set_rng_state(state)
    golden.check("cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    monkeypatch.setattr(golden, "_TOLERANCE", {getattr(torch, dtype): 0.0})
    with pytest.raises(ModelError, match=f"expected the golden numbers, found others .* on cpu in {dtype}"):
        PageAnswerer.load(str(tiny_base), None, "cpu", dtype, "sdpa", 0)


def test_names_that_stand_for_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="--model Qwen/nothing: no such folder"):
        resolve_model("Qwen/nothing")
    with pytest.raises(UsageError, match="--glimpse not a name at all: no such folder"):
        resolve_addon("not a name at all")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="llama"):
        PageAnswerer.load(str(tmp_path), None, "cpu", "auto", "auto", 0)


def test_fingerprints_follow_the_content(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(tiny_base, tmp_path / "copy"))
    assert fingerprint(copy) == fingerprint(tiny_base)
    monkeypatch.setattr("pipeline.answering.checkpoints._WHOLE_BYTES", 1 << 12)
    sampled = fingerprint(copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-9] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert fingerprint(copy) != sampled
    snapshot = Path(shutil.copytree(tiny_base, tmp_path / "snapshots" / "abc123"))
    assert fingerprint(snapshot) == "abc123"


def test_an_addon_is_checked_against_its_base_from_the_configurations(tiny_base: Path, tiny_addon: Path) -> None:
    parity = Path(__file__).parents[2] / "parity"
    check_fit(tiny_base, tiny_addon)
    check_fit(parity / "base", parity / "glimpse")
    with pytest.raises(ModelError, match="num_hidden_layers is 6 in the add-on and 4 in the base"):
        check_fit(tiny_base, parity / "glimpse")
    assert addon_rule(tiny_addon) == KeepRule(0.5, 0.111, 1)
    with pytest.raises(ModelError, match="no add-on in"):
        addon_rule(parity)
