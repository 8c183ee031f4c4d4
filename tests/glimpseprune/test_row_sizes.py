"""Matrix products on a CPU get rows of few different numbers, and give what they gave."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glimpseprune.row_sizes import in_rounded_rows, linear, rounded_rows


def test_rows_are_rounded_up_by_little() -> None:
    for rows in range(20_000):
        assert 0 <= rounded_rows(rows) - rows <= rows / (8 if rows < 256 else 16)


def test_numbers_of_rows_become_few() -> None:
    assert [rounded_rows(rows) for rows in (0, 1, 17, 64, 65)] == [0, 1, 17, 64, 72]
    assert len({rounded_rows(rows) for rows in range(65, 257)}) == 16
    assert len({rounded_rows(rows) for rows in range(1024, 2048)}) <= 17


@pytest.mark.parametrize("shape", [(24,), (0, 24), (1, 24), (19, 24), (2, 150, 24), (300, 24)])
def test_a_product_meets_rounded_rows_and_its_result_has_those_of_the_input(shape: tuple[int, ...]) -> None:
    x, weight, met = torch.randn(shape), torch.randn(40, 24), []

    def product(rows: Tensor) -> Tensor:
        met.append(rows.numel() // 24)
        return F.linear(rows, weight)

    found = in_rounded_rows(product, x)
    assert met == [rounded_rows(x.numel() // 24)]
    torch.testing.assert_close(found, F.linear(x, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_computes_what_it_did_and_passes_gradients(dtype: torch.dtype) -> None:
    x = torch.randn(3, 91, 24, dtype=dtype, requires_grad=True)
    weight, bias = torch.randn(40, 24, dtype=dtype, requires_grad=True), torch.randn(40, dtype=dtype)
    found, want = linear(x, weight, bias), F.linear(x, weight, bias)
    torch.testing.assert_close(found, want)
    for mine, theirs in zip(*(torch.autograd.grad(y.square().sum(), (x, weight)) for y in (found, want)), strict=True):
        torch.testing.assert_close(mine, theirs)
