"""What the published GlimpsePrune code computes on a small random model; ours has to agree, number for number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import glimpseprune as gp
from glimpseprune.methods.glimpse import predictor as vip
from glimpseprune.prefill import alone as prefill

PARITY = Path(__file__).parents[1] / "parity"
CASES = ("single", "wide")


@pytest.fixture(scope="module")
def model() -> gp.GlimpseModel:
    return gp.load(PARITY / "base", glimpse=PARITY / "glimpse", device="cpu", dtype="float32")


def differences(model: gp.GlimpseModel, case: str) -> list[str]:
    """The outputs of one case that do not agree within the tolerances."""
    with np.load(PARITY / f"{case}.npz") as data:
        want = {name: torch.from_numpy(data[name]) for name in data.files}
    names = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw")
    out = gp.generate(model, {name: want[name] for name in names}, rule=model.rule, max_new_tokens=12)
    wrong = []
    for item, tokens in enumerate(out.sequences):
        scores = out.scores[item]
        if scores is None or not torch.allclose(scores, want[f"mask_logits_{item}"], rtol=0, atol=1e-4):
            wrong.append("mask_logits")
        if not torch.equal(out.keep[item], want[f"keep_{item}"]):
            wrong.append("keep")
        if not torch.equal(tokens, want["generated"][item][: len(tokens)]):
            wrong.append("generated")
        kept = int(want["reduced_attention_mask"][item].sum())
        if out.stats[item].kv_tokens_kept != kept:
            wrong.append("kv_tokens_kept")
    if not torch.allclose(out.first_logits, want["last_logits"], rtol=0, atol=1e-5):
        wrong.append("last_logits")
    return wrong


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_published_code(model: gp.GlimpseModel, case: str) -> None:
    assert differences(model, case) == []


def shifted_glimpse(monkeypatch: pytest.MonkeyPatch) -> None:
    original = prefill.appended_positions
    monkeypatch.setattr(prefill, "appended_positions", lambda prompt, length: original(prompt, length) - 1)


def swapped_rotary(monkeypatch: pytest.MonkeyPatch) -> None:
    def columns_first(grid: tuple[int, int], dim: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = original(grid, dim, device)
        order = torch.arange(dim).unflatten(0, (2, 2, -1)).flip(1).flatten()
        return cos[:, order], sin[:, order]

    original = vip.grid_rotary
    monkeypatch.setattr(vip, "grid_rotary", columns_first)


def blind_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    original = vip.Predictor.precompute
    monkeypatch.setattr(
        vip.Predictor, "precompute", lambda self, features, *where: original(self, [0 * f for f in features], *where)
    )


def renumbered_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        prefill, "kept_positions", lambda prompt, survivors: torch.arange(survivors.numel()).expand(3, -1)
    )


@pytest.mark.parametrize(
    ("breakage", "noticed_in"),
    [
        (shifted_glimpse, "mask_logits"),
        (swapped_rotary, "mask_logits"),
        (blind_condition, "mask_logits"),
        (renumbered_positions, "last_logits"),
    ],
)
def test_breaking_one_part_of_the_method_is_noticed(
    model: gp.GlimpseModel,
    monkeypatch: pytest.MonkeyPatch,
    breakage: Callable[[pytest.MonkeyPatch], None],
    noticed_in: str,
) -> None:
    breakage(monkeypatch)
    for case in CASES:
        assert noticed_in in differences(model, case)
