"""What operations take is measured on the layers that run, and the runs that are counted are those that happen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import glimpseprune as gp
from glimpseprune.cost import rates as rates_module
from glimpseprune.cost.flops import DecoderShape, Operations, PageWork, pruned_operations, unpruned_operations
from glimpseprune.cost.rates import Rates, measure_rates
from glimpseprune.model import GlimpseModel
from tests.support.pages import ask_page, questions_about_one_page, split_prompts

TAILS, LIMIT = [1, 7, 3], 5


@pytest.fixture(scope="module")
def model(tiny_base: Path, tiny_addon: Path) -> GlimpseModel:
    return dataclasses.replace(gp.load(tiny_base, glimpse=tiny_addon, device="cpu"), eos_token_ids=frozenset())


def _pictured(model: GlimpseModel, side: int, questions: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Attention of questions and features of an image, as the predictor takes them."""
    assert model.method is not None
    width = len(model.method.attention_layers) * model.backbone.shape.num_attention_heads
    features = [torch.ones(side * side, model.backbone.shape.vision_hidden_size) for _ in model.method.vision_layers]
    return torch.ones(questions, side * side, width), features


def test_the_time_is_the_sum_over_the_kinds() -> None:
    rates = Rates(linear=2.0, attention=3.0, predictor=5.0, predictor_token=11.0, layer_run=7.0)
    operations = Operations(linear=10, attention=20, predictor=30, predictor_tokens=40, layer_runs=8, decode_runs=6)
    assert rates.seconds(operations) == 20 + 60 + 150 + 440 + 56
    assert rates.seconds(operations, pages_together=3) == 20 + 60 + 150 + 440 + 7 * (2 + 2)
    assert (operations + operations) == operations * 2 == Operations(20, 40, 60, 80, 16, 12)


def test_the_rates_of_a_machine_are_found(model: GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine whose every operation takes a known time."""
    products, attention, begin, token = 2e-12, 7e-12, 1e-4, 3e-6

    def known(device: torch.device, *runs: Callable[[], object]) -> list[float]:
        found = []
        for run in runs:
            # torch does not count the fused attention of a CPU; written out, it is batched matrix products.
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                run()
            counts = counter.get_flop_counts()["Global"]
            batched = sum(count for op, count in counts.items() if "bmm" in str(op))
            spent = attention * batched + products * (counter.get_total_flops() - batched)
            if isinstance(run, partial):  # of the predictor, whose second argument is the attention that it scores
                spent += token * run.args[1].shape[:2].numel() - begin
            found.append(begin + spent)
        return found

    monkeypatch.setattr(rates_module, "fastest_s", known)
    found = measure_rates(model)
    assert found.linear == pytest.approx(products, rel=0.02)
    assert found.attention == pytest.approx(attention, rel=0.02)
    assert found.layer_run == pytest.approx(begin, rel=0.02)
    method, cells, questions = model.method, 400, 2
    assert method is not None
    scored = method.precompute_flops(cells) + questions * method.score_flops(cells)
    between = Operations(predictor=scored, predictor_tokens=questions * cells)
    run = partial(rates_module._score, method, *_pictured(model, 20, questions), (20, 20))
    assert found.seconds(between) == pytest.approx(known(torch.device("cpu"), run)[0], rel=0.05)
    assert found.predictor_token > 0.5 * token


def test_times_that_make_no_sense_give_one_rate(model: GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may find that more attention takes less."""
    monkeypatch.setattr(rates_module, "fastest_s", lambda device, *runs: [0.1, 1.0, 1.1][: len(runs)])
    found = measure_rates(model)
    assert found.linear == found.attention > 0
    assert min(found.predictor, found.predictor_token) >= 0


@pytest.mark.parametrize(("short", "long"), [(0.3, 1.0), (0.01, 10.0)], ids=["of its tokens", "of its operations"])
def test_a_predictor_has_one_rate_where_two_make_no_sense(
    model: GlimpseModel, short: float, long: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        rates_module, "fastest_s", lambda device, *runs: [short, long] if len(runs) == 2 else [0.1, 1.0, 1.1]
    )
    found = measure_rates(model)
    if short > long / 4:
        assert (found.predictor, found.predictor_token) == (0.0, pytest.approx(long / (2 * 28 * 28)))
    else:
        assert found.predictor > 0
        assert found.predictor_token == 0.0


@pytest.mark.parametrize("pruned", [False, True])
def test_the_counted_runs_are_those_that_happen(
    model: GlimpseModel, pruned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, pixels, grid = questions_about_one_page(TAILS)
    runs: list[int] = []
    backbone = model.backbone
    plain = type(backbone).run_layer

    def counted(self: Any, layer: int, *args: Any, **named: Any) -> torch.Tensor:
        runs.append(layer)
        hidden: torch.Tensor = plain(self, layer, *args, **named)
        return hidden

    monkeypatch.setattr(type(backbone), "run_layer", counted)
    rules = [torch.arange(96) % 2 == 0] * 3 if pruned else None
    ask_page(model, prompts, pixels, grid, rules, LIMIT)
    prefix, tails = split_prompts(model, prompts)
    work = PageWork(prefix.numel(), 96, [tail.numel() for tail in tails], [LIMIT] * 3)
    shape = DecoderShape.of(backbone.shape)
    if not pruned:
        expected = unpruned_operations(shape, work)
    else:
        assert model.method is not None
        expected = pruned_operations(shape, model.method, work, 0.5)
    assert expected.decode_runs == shape.layers * (LIMIT - 1)
    assert expected.layer_runs == len(runs)
