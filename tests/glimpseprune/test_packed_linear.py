"""Packed weights change how fast a model answers, not what."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import glimpseprune as gp
from glimpseprune import model as model_module
from glimpseprune import packed_linear
from glimpseprune.packed_linear import PackedLinear, packing_pays
from tests.support.batches import batch, item
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

ITEMS = [item([(6, 9)], text=11, seed=1), item([(3, 5)], text=30, seed=2), item([], text=12, seed=6)]
RULES = (None, gp.KeepRule(max_ratio=0.4, min_tokens=3))
GRID = (9, 7)
PREFIX = torch.tensor([5, 6, 259, *[261] * (GRID[0] * GRID[1]), 260])

pytestmark = pytest.mark.usefixtures("one_thread")
needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


def load(folder: Path) -> gp.GlimpseModel:
    return gp.load(folder / "base", glimpse=folder / "glimpse", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    make_tiny_checkpoint(folder / "base")
    make_tiny_addon(folder / "glimpse")
    return folder


@pytest.fixture
def packed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> gp.GlimpseModel:
    model = load(folder)
    monkeypatch.setattr(model_module, "packing_pays", lambda dtype: True)
    assert model.pack()
    return model


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (7, 24), (2, 5, 24), (300, 24)])
@torch.inference_mode()
def test_a_packed_layer_computes_what_the_layer_does(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(24, 40, bias=bias), torch.randn(shape)
    torch.testing.assert_close(PackedLinear(linear)(x), linear(x), rtol=1e-5, atol=1e-6)


@needs_onednn
@pytest.mark.parametrize("rule", RULES)
def test_a_packed_model_gives_the_same_tokens_and_scores(
    folder: Path, packed: gp.GlimpseModel, rule: gp.KeepRule | None
) -> None:
    plain = load(folder)
    want, found = (gp.generate(model, batch(ITEMS), rule=rule, max_new_tokens=8) for model in (plain, packed))
    assert [tokens.tolist() for tokens in found.sequences] == [tokens.tolist() for tokens in want.sequences]
    torch.testing.assert_close(found.first_logits, want.first_logits, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(found.keep, want.keep, strict=True):
        assert torch.equal(ours, theirs)
    pixels = torch.randn(GRID[0] * GRID[1] * 4, 1176, generator=torch.Generator().manual_seed(3))
    questions = [torch.arange(first, first + 5) for first in (1, 20, 40)]
    pages = [gp.encode_page(model, PREFIX, pixels, (2 * GRID[0], 2 * GRID[1])) for model in (plain, packed)]
    want_answers, answers = (page.ask(questions, rule, 6) for page in pages)
    assert [answer.tokens for answer in answers] == [answer.tokens for answer in want_answers]


@needs_onednn
def test_the_stock_model_still_answers_when_it_is_packed(folder: Path, packed: gp.GlimpseModel) -> None:
    base: Any = packed.base
    ids = torch.arange(9)[None]
    want: Any = load(folder).base
    with torch.inference_mode():
        torch.testing.assert_close(base(input_ids=ids).logits, want(input_ids=ids).logits, rtol=1e-4, atol=1e-5)


@needs_onednn
def test_packing_frees_the_weights_it_replaces(packed: gp.GlimpseModel) -> None:
    left = [name for name, module in packed.base.named_modules() if type(module) is nn.Linear]
    assert left == ["lm_head"]
    layer = packed.backbone.decoder.layers[0]  # type: ignore[attr-defined]
    assert isinstance(layer.qkv, PackedLinear)
    assert not [name for name, _ in layer.attention.named_parameters()]


@pytest.mark.parametrize(
    ("times", "pays"),
    [
        ([2.0, 0.1, 1.0, 0.1], True),  # plain: many rows, few rows; packed: many rows, few rows
        ([1.0, 0.2, 1.0, 0.1], True),  # decode alone pays, since it takes many steps
        ([1.1, 0.1, 1.0, 0.1], False),
        ([1.0, 0.1, 2.0, 0.1], False),
        ([2.0, 0.1, 1.0, 0.3], False),
    ],
)
def test_weights_are_packed_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, times: list[float], pays: bool
) -> None:
    monkeypatch.setattr(packed_linear, "fastest_s", lambda device, *runs: times)
    assert packing_pays(torch.float32) is pays


def test_weights_are_not_packed_where_products_would_be_cut_short() -> None:
    """In a process of its own, since OpenMP reads the variable once."""
    code = "import torch; from glimpseprune.packed_linear import packing_pays\n"
    code += "torch.set_num_threads(2); print(packing_pays(torch.float32))"
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_other_types_than_the_kernels_take_are_left_alone() -> None:
    assert not packing_pays(torch.float16)


def test_a_model_that_is_not_packed_stays_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(folder)
    before = copy.deepcopy(model.base.state_dict())
    monkeypatch.setattr(model_module, "packing_pays", lambda dtype: False)
    assert not model.pack()
    assert all(torch.equal(weight, before[name]) for name, weight in model.base.state_dict().items())


@pytest.mark.parametrize("given", [None, "9"])
def test_kernels_of_few_sizes_are_kept_unless_told_otherwise(given: str | None) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    environment = {key: value for key, value in os.environ.items() if key != name} | ({name: given} if given else {})
    call = "import sys, glimpseprune, os; assert 'torch' not in sys.modules; print(os.environ['" + name + "'])"
    done = subprocess.run([sys.executable, "-c", call], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (given or "256")
