"""What only a CUDA device can show."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import glimpseprune as gp
from glimpseprune import golden
from glimpseprune.decode import graphs
from glimpseprune.decode.greedy import Choice
from glimpseprune.families import tower_attention
from tests.support.batches import ITEMS, RULE, batch
from tests.support.flash_paths import PATHS
from tests.support.pools import Alternately, come_and_go, new_pool, sequence

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_the_golden_numbers_hold_on_the_device() -> None:
    golden.check("cuda")


def test_the_device_gives_the_tokens_of_the_cpu(tiny_base: Path, tiny_addon: Path) -> None:
    out = {
        device: gp.generate(gp.load(tiny_base, tiny_addon, device, "float32"), batch(ITEMS), RULE, 8)
        for device in ("cpu", "cuda")
    }
    for one, other in zip(out["cpu"].sequences, out["cuda"].sequences, strict=True):
        assert one.tolist() == other.tolist()
    for one, other in zip(out["cpu"].keep, out["cuda"].keep, strict=True):
        assert one.tolist() == other.tolist()


def _agrees_with_sdpa(base: Path, addon: Path, name: str) -> None:
    """The tower's kernel is the one named, and rounds otherwise than SDPA at most."""
    chosen = gp.load(base, addon, "cuda", "bfloat16")
    sdpa = gp.load(base, addon, "cuda", "bfloat16", "sdpa")
    assert chosen.backbone.attention.name == name  # type: ignore[attr-defined]
    for rule in (None, RULE):
        one, other = (gp.generate(model, batch(ITEMS), rule, 4) for model in (chosen, sdpa))
        torch.testing.assert_close(one.first_logits, other.first_logits, rtol=0.05, atol=0.1)


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is None, reason="flash-attn is not installed")
def test_flash_attention_is_chosen_and_agrees_with_sdpa(tiny_base: Path, tiny_addon: Path) -> None:
    _agrees_with_sdpa(tiny_base, tiny_addon, "flash_attention_2")


@pytest.mark.skipif(importlib.util.find_spec("torch.nn.attention.varlen") is None, reason="torch is older than 2.10")
def test_without_flash_attention_torchs_kernel_is_chosen_and_agrees_with_sdpa(
    tiny_base: Path, tiny_addon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tower_attention, "flash_attn", lambda: "missing")
    _agrees_with_sdpa(tiny_base, tiny_addon, "varlen")


def test_steps_of_many_lengths_take_no_plan_each(tiny_base: Path) -> None:
    """cuDNN's attention plans for each length of the keys, which takes longer than all else in a step."""
    model = gp.load(tiny_base, device="cuda", dtype="bfloat16")
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        gp.generate(model, batch(ITEMS), None, 16)
    assert not [event.key for event in found.key_averages() if "cudnn" in event.key.lower() and "sdpa" in event.key]


@pytest.fixture(params=["float32", "bfloat16"])
def endless(request: pytest.FixtureRequest, tiny_base: Path, tiny_addon: Path) -> gp.GlimpseModel:
    """A model that never ends an answer, with a repetition penalty."""
    model = gp.load(tiny_base, tiny_addon, "cuda", request.param)
    return replace(model, eos_token_ids=frozenset(), repetition_penalty=1.3)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[torch.cuda.CUDAGraph]:
    """Graphs in the order in which they were replayed; each step is recorded as early as may be."""
    found: list[torch.cuda.CUDAGraph] = []
    original = torch.cuda.CUDAGraph.replay

    def noted(graph: torch.cuda.CUDAGraph) -> None:
        found.append(graph)
        original(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", noted)
    monkeypatch.setattr(graphs, "_LEAST_STEPS", 1)
    return found


def _run(self: graphs.StepGraphs, key: tuple[int, int], step: Callable[[], Choice], left: int) -> Choice:
    return step()


@pytest.mark.filterwarnings("error:expected to record")
@pytest.mark.parametrize("name", PATHS)
def test_graphs_give_the_tokens_of_the_steps_that_they_repeat(
    endless: gp.GlimpseModel, replays: list[torch.cuda.CUDAGraph], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, _ = PATHS[name]
    got = answer(endless)
    assert replays
    monkeypatch.setattr(graphs.StepGraphs, "run", _run)
    want = answer(endless)
    assert [one.tolist() for one in got.sequences] == [one.tolist() for one in want.sequences]
    for ours, theirs in zip(got.logprobs, want.logprobs, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.filterwarnings("error:expected to record")
@pytest.mark.parametrize("constraints", [{}, {1: Alternately, 8: Alternately}], ids=["free", "limited"])
@pytest.mark.parametrize("seed", range(3))
def test_graphs_hold_while_sequences_come_and_go(
    endless: gp.GlimpseModel,
    replays: list[torch.cuda.CUDAGraph],
    seed: int,
    constraints: dict[int, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got = come_and_go(endless, seed, constraints)
    assert replays
    monkeypatch.setattr(graphs.StepGraphs, "run", _run)
    want = come_and_go(endless, seed, constraints)
    assert {number: tokens for number, (tokens, _) in got.items()} == {
        number: tokens for number, (tokens, _) in want.items()
    }


def test_decode_in_float32_gives_the_tokens_of_the_cpu(
    tiny_base: Path, tiny_addon: Path, replays: list[torch.cuda.CUDAGraph]
) -> None:
    found = []
    for device in ("cpu", "cuda"):
        model = replace(gp.load(tiny_base, tiny_addon, device, "float32"), repetition_penalty=1.3)
        found.append([tokens for tokens, _ in come_and_go(model, 0, {1: Alternately}).values()])
    assert replays
    assert found[0] == found[1]


def test_the_host_waits_once_for_four_steps(endless: gp.GlimpseModel, replays: list[torch.cuda.CUDAGraph]) -> None:
    pool = new_pool(endless)
    for number in range(8):
        pool.add(number, *sequence(endless, number), 64)
    for _ in range(2):
        pool.step()
    replays.clear()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            pool.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(replays) == 4
    assert len([one for one in noted if "synchronizing" in str(one.message)]) == 1


def test_what_cannot_be_recorded_runs_as_it_is(tiny_base: Path) -> None:
    """In a process of its own, because a recording that failed leaves its traces in torch before 2.12."""
    command = [sys.executable, "-m", "tests.support.failed_recording", str(tiny_base)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["warnings"] == 1
    assert found["after"] == found["before"]
