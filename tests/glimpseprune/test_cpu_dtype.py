"""A CPU computes in bfloat16 only where that is clearly faster and right."""

from __future__ import annotations

import pytest
import torch

from glimpseprune import cpu_dtype as module
from glimpseprune import golden
from glimpseprune.cpu_dtype import cpu_dtype
from glimpseprune.errors import StackError


@pytest.fixture
def instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_bfloat16_products", lambda: True)
    monkeypatch.setattr(module, "PackedLinear", lambda linear: linear)  # which needs the instructions indeed


def seconds(monkeypatch: pytest.MonkeyPatch, *found: float) -> None:
    """Let the probe find these times: float32 plain and packed, bfloat16 plain and packed."""

    def timed(device: torch.device, *runs: object) -> list[float]:
        assert [run().dtype for run in runs] == [torch.float32] * 2 + [torch.bfloat16] * 2  # type: ignore[operator]
        return list(found)

    monkeypatch.setattr(module, "fastest_s", timed)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ((2.0, 1.0, 0.9, 0.5), torch.bfloat16),
        ((1.0, 2.0, 0.5, 0.9), torch.bfloat16),
        ((2.0, 1.0, 0.9, 0.9), torch.float32),  # not clearly faster
        ((1.0, 1.0, 30.0, 40.0), torch.float32),  # emulated
    ],
)
@pytest.mark.usefixtures("instructions")
def test_the_faster_type_is_chosen(
    found: tuple[float, ...], chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds(monkeypatch, *found)
    assert cpu_dtype() == chosen


@pytest.mark.usefixtures("instructions")
def test_wrong_numbers_are_not_chosen_however_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds(monkeypatch, 1.0, 1.0, 0.1, 0.1)

    def wrong(device: str, dtype: torch.dtype) -> None:
        assert (device, dtype) == ("cpu", torch.bfloat16)
        raise StackError("other numbers")

    monkeypatch.setattr(golden, "check", wrong)
    assert cpu_dtype() == torch.float32


def test_without_instructions_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_bfloat16_products", lambda: False)
    monkeypatch.setattr(module, "fastest_s", None)
    assert cpu_dtype() == torch.float32


def test_the_golden_numbers_hold_in_16_bits_and_tell_other_numbers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        golden.check("cpu", dtype)
    monkeypatch.setattr(golden, "_noise", lambda count, seed: torch.linspace(-1, 1, count, dtype=torch.float64))
    with pytest.raises(StackError, match="on cpu in bfloat16; different: importance scores"):
        golden.check("cpu", torch.bfloat16)
