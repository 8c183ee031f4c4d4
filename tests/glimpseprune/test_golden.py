from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as stock

from glimpseprune import golden
from glimpseprune.errors import StackError
from glimpseprune.families import qwen2_5_vl_prompts as prompts
from glimpseprune.families import qwen2_5_vl_vision as vision


def test_this_stack_computes_the_known_numbers() -> None:
    golden.check("cpu")


def test_a_release_that_rotates_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def interleaved(self: stock.Qwen2_5_VLRotaryEmbedding, freq: torch.Tensor) -> torch.Tensor:
        mixed = torch.cat([m[(i + 1) % 3] for i, m in enumerate(freq.split(self.mrope_section, dim=-1))], dim=-1)
        return torch.cat((mixed, mixed), dim=-1)

    monkeypatch.setattr(stock.Qwen2_5_VLRotaryEmbedding, "recomposition_frequencies", interleaved)
    with pytest.raises(
        StackError, match="importance scores of qwen2_5_vl, logits of the first token of .*, generated tokens of"
    ):
        golden.check("cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "wrong",
    [lambda axes: axes + torch.tensor([[0], [1], [0]]), lambda axes: axes[[0, 2, 1]]],
    ids=["rows off by one", "rows for columns"],
)
def test_wrong_positions_are_told_in_16_bits_too(
    dtype: torch.dtype, wrong: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = prompts.rope_positions
    monkeypatch.setattr(prompts, "rope_positions", lambda *given: wrong(original(*given)))
    with pytest.raises(StackError, match="importance scores of qwen2_5_vl, .*importance scores of qwen3_vl"):
        golden.check("cpu", dtype)


def test_a_release_that_turns_the_vision_tower_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = vision.apply_rotary_pos_emb_vision
    monkeypatch.setattr(
        vision, "apply_rotary_pos_emb_vision", lambda q, k, cos, sin: original(q, k, cos.flip(0), sin.flip(0))
    )
    with pytest.raises(StackError, match="importance scores"):
        golden.check("cpu")
