"""An add-on that reads more layers scores as before, and learns from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from glimpseprune import save_addon
from glimpseprune.methods.glimpse.addon import load_addon
from glimpseprune.methods.glimpse.module import Glimpse
from pipeline.nano.training.read_more_layers import read_more_layers


@pytest.fixture
def glimpse(tiny_addon: Path) -> Glimpse:
    return load_addon(tiny_addon)


def test_scores_are_the_same_until_the_new_layers_have_weights(glimpse: Glimpse, tmp_path: Path) -> None:
    (layer,) = glimpse.config.selected_layers
    heads, grid = glimpse.config.base.num_attention_heads, (3, 4)
    features = [torch.randn(12, glimpse.config.base.vision_hidden_size) for _ in glimpse.config.selected_visual_layers]
    attention = torch.randn(2, 12, heads)
    save_addon(read_more_layers(glimpse, (0, layer)), tmp_path)
    more = load_addon(tmp_path).requires_grad_(True)
    assert more.attention_layers == (0, layer)
    with torch.no_grad():
        before = glimpse.score(attention, glimpse.precompute(features, grid))
    after = more.score(torch.cat([torch.randn(2, 12, heads), attention], 2), more.precompute(features, grid))
    assert torch.allclose(after, before, atol=1e-5)
    after.sum().backward()  # type: ignore[no-untyped-call]
    gradient = more.attn_fuser.attn_in_proj.weight.grad
    assert gradient is not None
    assert gradient[:, :heads].abs().max() > 0


def test_the_layers_that_it_reads_have_to_stay(glimpse: Glimpse) -> None:
    (layer,) = glimpse.config.selected_layers
    with pytest.raises(ValueError, match=f"found no \\[{layer}\\]"):
        read_more_layers(glimpse, (layer - 1,))
