from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.families.qwen2_5_vl import Qwen25VL
from tests.support.tiny_model import make_tiny_checkpoint


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_tiny_checkpoint(Path(tmp_path_factory.mktemp("model")) / "tiny")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, attn_implementation="sdpa")
    return model.eval().requires_grad_(False)


def work(stock: Any, batch: int, tokens: int, kind: str) -> tuple[Tensor, Tensor | None, Any]:
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(batch, tokens, stock.config.text_config.hidden_size, generator=generator)
    positions = torch.randint(0, 50, (3, batch, tokens), generator=generator)
    bias = None
    if kind == "bias":
        unseen = torch.rand(batch, 1, tokens, tokens, generator=generator) > 0.5
        bias = torch.zeros(unseen.shape).masked_fill(unseen & ~torch.eye(tokens, dtype=torch.bool), float("-inf"))
    return hidden, bias, positions


@pytest.mark.parametrize("kind", ["causal", "bias"])
@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (3, 1), (1, 7), (2, 5)])
@torch.inference_mode()
def test_a_layer_computes_what_the_stock_layer_does(stock: Any, batch: int, tokens: int, kind: str) -> None:
    backbone = Qwen25VL(stock)
    hidden, bias, positions = work(stock, batch, tokens, kind)
    rotary, turned = backbone.rotary(positions), stock.model.language_model.rotary_emb(hidden, positions)
    for layer, block in enumerate(stock.model.language_model.layers):
        theirs, ours = PrefillCache(), PrefillCache()
        for cache in (theirs, ours):  # the layers before are not run
            cache.keys, cache.values = [hidden] * layer, [hidden] * layer
        want = block(hidden, attention_mask=bias, position_embeddings=turned, past_key_values=theirs)
        found = backbone.run_layer(layer, hidden, rotary, ours, bias=bias)
        torch.testing.assert_close(found, want, rtol=0, atol=1e-6)
        for mine, other in ((ours.keys, theirs.keys), (ours.values, theirs.values)):
            torch.testing.assert_close(mine[layer], other[layer], rtol=0, atol=1e-6)
        keys, values = backbone.keys_values(layer, hidden, rotary)
        torch.testing.assert_close(keys, theirs.keys[layer], rtol=0, atol=1e-6)
        torch.testing.assert_close(values, theirs.values[layer], rtol=0, atol=1e-6)


def test_cached_keys_and_values_keep_nothing_else_in_memory(stock: Any) -> None:
    hidden, _, positions = work(stock, 1, 9, "causal")
    cache = PrefillCache()
    backbone = Qwen25VL(stock)
    rotary = backbone.rotary(positions)
    backbone.run_layer(0, hidden, rotary, cache)
    backbone.decoder.layers[1].attention.layer_idx = 1
    cache.update(*backbone.keys_values(1, hidden, rotary), 1)
    for tensor in (*cache.keys, *cache.values):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


@torch.inference_mode()
def test_the_stock_model_stays_as_it_was_and_takes_no_more_memory(stock: Any, tmp_path: Path) -> None:
    ids = torch.arange(5)[None]
    before = {name: weight.clone() for name, weight in stock.state_dict().items()}
    want = stock(input_ids=ids).logits
    backbone = Qwen25VL(stock)
    assert all(torch.equal(weight, before[name]) for name, weight in stock.state_dict().items())
    torch.testing.assert_close(stock(input_ids=ids).logits, want, rtol=0, atol=0)
    attention = stock.model.language_model.layers[0].self_attn
    assert attention.q_proj.weight.data_ptr() == backbone.decoder.layers[0].qkv.weight.data_ptr()
    stock.save_pretrained(tmp_path)
    again = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path)
    assert all(torch.equal(weight, before[name]) for name, weight in again.state_dict().items())
