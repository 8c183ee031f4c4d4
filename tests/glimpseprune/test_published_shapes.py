"""The 3B, 7B and 32B shapes walk every path with an A4 page, on the meta device: no weights, and no hidden reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.families.shape import ModelShape
from tests.support.published_shapes import IMAGE, PUBLISHED, VISION_END, VISION_START, published_model
from tests.support.shapes_only import shapes_only

ROWS, COLUMNS = 84, 60  # an A4 page at 200 dpi: 5,040 visual tokens
VISUAL = ROWS * COLUMNS
BEFORE = [5, 6, VISION_START]
STEPS = 2
REAL_BYTES = 16 << 20  # whole numbers of a page: windows, positions, places


@pytest.fixture(scope="module", params=PUBLISHED)
def model(request: pytest.FixtureRequest) -> gp.GlimpseModel:
    return published_model(request.param)


def mask(every: int) -> Tensor:
    return torch.arange(VISUAL) % every == 0


def questions(*lengths: int) -> list[Tensor]:
    return [torch.cat([torch.tensor([number]), torch.full((length - 1,), 9)]) for number, length in enumerate(lengths)]


def pixels() -> Tensor:
    return torch.empty(4 * VISUAL, 1176, device="meta")


def token_bytes(shape: ModelShape) -> int:
    """Bytes of the keys and values of one token, in 16 bits."""
    return 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * 2


def page(model: gp.GlimpseModel, visible: Tensor | None = None) -> gp.EncodedPage:
    prefix = torch.tensor([*BEFORE, *[IMAGE] * VISUAL, VISION_END])
    return gp.encode_page(model, prefix, pixels(), (2 * ROWS, 2 * COLUMNS), visible)


def check(model: gp.GlimpseModel, answer: gp.Answer, kept: int, question: int) -> None:
    shape, stats = model.backbone.shape, answer.stats
    text = len(BEFORE) + 1 + question
    assert (answer.first_logits.shape, answer.first_logits.dtype) == ((shape.vocab_size,), torch.float32)
    assert len(answer.tokens) == STEPS
    assert (stats.visual_tokens, stats.kept_tokens) == (VISUAL, kept)
    assert (stats.kv_tokens_full, stats.kv_tokens_kept) == (VISUAL + text, kept + text)
    assert stats.kv_bytes_full == (VISUAL + text) * token_bytes(shape)
    assert stats.kv_bytes_kept == (kept + text) * token_bytes(shape)


def test_the_sizes_are_the_published_ones(model: gp.GlimpseModel) -> None:
    parameters = sum(parameter.numel() for parameter in model.base.parameters())
    layers = model.backbone.num_layers
    assert (parameters, layers) in {(3_754_622_976, 36), (8_292_166_656, 28), (33_452_718_336, 64)}
    assert model.method is not None
    assert model.method.prune_layer == {36: 23, 28: 18, 64: 42}[layers]


def test_every_path_is_walked(model: gp.GlimpseModel) -> None:
    """Vision tower, prefill up to K, glimpse, predictor, pruning to masks, the layers behind K, caches, and decode."""
    with shapes_only() as walk:
        encoded = page(model)
        (alone,) = encoded.ask(questions(4), mask(25), STEPS)
        check(model, alone, int(mask(25).sum()), 4)
        assert walk.reads == [(1, 3)] * STEPS  # the host looks once per step, and nowhere else
        check(model, encoded.ask(questions(4), None, STEPS)[0], VISUAL, 4)

        lengths, masks = (2, 9, 5), [mask(every) for every in (30, 60, 15)]
        assert encoded.shared is None
        scores = encoded.scores(questions(*lengths))
        assert [(one.shape, one.device.type) for one in scores] == [((VISUAL,), "meta")] * 3
        for answer, length, kept in zip(
            encoded.ask(questions(*lengths), masks, STEPS), lengths, masks, strict=True
        ):  # behind one prefix, and in one pool
            check(model, answer, int(kept.sum()), length)
        for answer, length in zip(encoded.ask(questions(*lengths), None, STEPS), lengths, strict=True):
            check(model, answer, VISUAL, length)  # in one cache

        with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
            encoded.ask(questions(4), gp.KeepRule(), STEPS)  # which looks at scores
    assert walk.real_bytes < REAL_BYTES


def test_blank_paper_is_left_out() -> None:
    model, seen, kept = published_model("3B"), mask(3), mask(30)
    with shapes_only():
        encoded = page(model, seen)
        assert encoded.images[0].tokens.shape == (int(seen.sum()), 2048)
        for answer, length in zip(encoded.ask(questions(2, 9), kept, STEPS), (2, 9), strict=True):
            check(model, answer, int(kept.sum()), length)


@pytest.mark.parametrize("read", [bool, int, float, Tensor.tolist, Tensor.numpy])
def test_what_has_no_value_cannot_be_read(read: Callable[[Tensor], object]) -> None:
    with shapes_only() as walk:
        computed = torch.zeros(4, device="meta").argmax()
        with pytest.raises((RuntimeError, NotImplementedError, TypeError), match="meta"):
            read(computed)
    assert walk.reads == []


def test_whole_numbers_have_values_until_something_without_is_written_into_them() -> None:
    with shapes_only() as walk:
        places = torch.arange(4, device="meta") + torch.tensor([1, 0, 0, 1], device="meta")
        first, states = places[:1], torch.zeros(4, 2, device="meta")
        assert places[places > 1].tolist() == [2, 4]
        assert states[places > 1].shape == (2, 2)
        places[0] = states.argmax()
        for read in (Tensor.tolist, Tensor.numpy, int):
            with pytest.raises((RuntimeError, NotImplementedError, TypeError), match="meta"):
                read(first)
    assert walk.real_bytes == 32
