"""Attention is kept away from cuDNN while the model runs, and at no other time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.backends import cuda

import glimpseprune as gp
from glimpseprune.cost.rates import measure_rates
from glimpseprune.families.qwen2_5_vl import Qwen25VL
from glimpseprune.without_cudnn import without_cudnn
from tests.support.batches import ITEMS, RULE, batch
from tests.support.pages import split_prompts

FOUND = list[bool]


@pytest.fixture
def model(tiny_base: Path, tiny_addon: Path) -> gp.GlimpseModel:
    return gp.load(tiny_base, tiny_addon, "cpu", "float32")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> FOUND:
    """Whether cuDNN was enabled at each run of a layer, of the tower and of the language model."""
    found: FOUND = []

    def noting(run: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            found.append(cuda.cudnn_sdp_enabled())
            return run(*args, **kwargs)

        return noted

    monkeypatch.setattr(Qwen25VL, "run_layer", noting(Qwen25VL.run_layer))
    monkeypatch.setattr(Qwen25VL, "encode", noting(Qwen25VL.encode))
    return found


def test_a_batch(model: gp.GlimpseModel, found: FOUND) -> None:
    gp.generate(model, batch(ITEMS[:2]), [RULE, None], 3)
    assert len(found) > 10
    assert not any(found)
    assert cuda.cudnn_sdp_enabled()


def test_a_page_its_questions_and_each_step(model: gp.GlimpseModel, found: FOUND) -> None:
    prompt = model.backbone.prompts(ITEMS[0])[0]
    prefix, tails = split_prompts(model, [prompt.input_ids, torch.cat([prompt.input_ids[:-3], torch.tensor([1, 2])])])
    seen = []
    page = gp.encode_page(model, prefix, prompt.pixels[0], prompt.grids[0])
    seen.append(len(found))
    for rule in (RULE, None):
        page.ask(tails, rule, 3)
        seen.append(len(found))
    ready, _ = page.prefill(tails, [RULE] * 2, [4] * 2)
    seen.append(len(found))
    pool = gp.DecodePool(model.backbone, frozenset())
    for row, sequence in enumerate(ready):
        pool.add(row, sequence, prompt.input_ids, 4)
    pool.step()
    seen.append(len(found))
    assert seen == sorted(set(seen))  # each of them ran layers
    assert not any(found)
    assert cuda.cudnn_sdp_enabled()


def test_what_is_measured_is_what_runs(model: gp.GlimpseModel, found: FOUND) -> None:
    measure_rates(model)
    assert found
    assert not any(found)


def test_an_error_leaves_no_trace() -> None:
    @without_cudnn
    def fail() -> None:
        raise RuntimeError(cuda.cudnn_sdp_enabled())

    with pytest.raises(RuntimeError, match="False"):
        fail()
    assert cuda.cudnn_sdp_enabled()


def test_what_the_user_switched_off_stays_off() -> None:
    cuda.enable_cudnn_sdp(False)
    try:
        with without_cudnn, without_cudnn:
            assert not cuda.cudnn_sdp_enabled()
        assert not cuda.cudnn_sdp_enabled()
    finally:
        cuda.enable_cudnn_sdp(True)


def test_the_last_thread_to_leave_puts_it_back() -> None:
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with without_cudnn:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    with without_cudnn:
        thread.start()
        assert entered.wait(10)
    assert not cuda.cudnn_sdp_enabled()
    leave.set()
    thread.join(10)
    assert cuda.cudnn_sdp_enabled()
