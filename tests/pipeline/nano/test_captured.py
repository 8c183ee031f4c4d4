"""Captured losses are the losses, with the same gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.nano.training import recipe
from pipeline.nano.training.captured import CapturedLosses
from pipeline.nano.training.draws import draw
from pipeline.nano.training.recipe import SOURCES, Phase
from pipeline.nano.training.task import NanoTask


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_captured_losses_have_the_gradients_of_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "OPENED", {"known": 1.0})
    monkeypatch.setitem(SOURCES, "small", replace(SOURCES["small"], pages=2))
    phases = (Phase(6, {"small": 1.0}),)
    task = NanoTask(0, torch.device("cuda"), phases)
    parameters = list(task.module.parameters())
    captured = CapturedLosses(task._compute, parameters)
    for step in range(6):
        inputs = {name: tensor.cuda() for name, tensor in draw(0, phases, step, 0).tensors().items()}
        plain, told = task._compute(inputs)
        wanted = torch.autograd.grad(plain, parameters, allow_unused=True)
        loss, figures = captured(inputs)
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        torch.testing.assert_close(loss, plain, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(figures["read"], told["read"], rtol=1e-2, atol=1e-2)
        for one, other in zip(found, wanted, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert float((one - other).norm()) <= 0.05 * float(other.norm()) + 1e-4
