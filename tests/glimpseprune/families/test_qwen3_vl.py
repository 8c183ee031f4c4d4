"""What Qwen3-VL has and other families do not: deep features, norms of queries and keys, interpolated positions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl import modeling_qwen3_vl as stock
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

import glimpseprune as gp
from glimpseprune import golden
from glimpseprune.decode.cache import PrefillCache
from glimpseprune.families.qwen3_vl import Qwen3VL, read_shape
from glimpseprune.families.qwen3_vl_golden import GOLDEN
from glimpseprune.families.registry import find_family
from glimpseprune.loading import family_of
from glimpseprune.methods.glimpse.addon_config import new_addon_config
from tests.support.tiny_model import make_tiny_addon, make_tokenizer
from tests.support.tiny_qwen3_vl import PATCH_DIM, make_checkpoint, tiny_config
from tests.support.toy_method import EverySecondToken

GRID = (10, 14)  # patches
PIXELS = torch.randn(140, PATCH_DIM, generator=torch.Generator().manual_seed(8))
VISIBLE = torch.rand(35, generator=torch.Generator().manual_seed(3)) < 0.6


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("qwen3") / "base")


@pytest.fixture(scope="module")
def model(base: Path, tmp_path_factory: pytest.TempPathFactory) -> gp.GlimpseModel:
    addon = make_tiny_addon(tmp_path_factory.mktemp("qwen3") / "glimpse")
    return gp.load(base, glimpse=addon, device="cpu", dtype="float32")


def stock_tower(model: gp.GlimpseModel, visible: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The stock tower's own modules on the patches that are seen: tokens, deep features, each block's output."""
    base: Any = model.base
    vision, whole, keep = base.model.visual, torch.tensor([[1, *GRID]]), visible.repeat_interleave(4)
    places, weights = get_vision_interpolation_indices_and_weights(whole, 6, "bilinear", True, 2)
    hidden = (vision.patch_embed(PIXELS) + (vision.pos_embed(places) * weights[..., None]).sum(1))[keep]
    rotary = vision.rotary_pos_emb(hidden, get_vision_position_ids(whole, 2)[keep])
    deep, outputs = [], []
    for number, block in enumerate(vision.blocks):
        hidden = block(hidden, cu_seqlens=torch.tensor([0, len(hidden)]), position_embeddings=rotary)
        outputs.append(hidden.view(-1, 4, hidden.shape[-1]).mean(1))
        if number in (1, 2):
            deep.append(vision.deepstack_merger_list[number - 1](hidden))
    return vision.merger(hidden), deep, outputs


@pytest.mark.parametrize("visible", [None, VISIBLE], ids=["paper", "paper left out"])
@torch.inference_mode()
def test_the_tower_computes_what_the_stock_modules_do(model: gp.GlimpseModel, visible: Tensor | None) -> None:
    image = model.backbone.encode(PIXELS, GRID, (3, 0), visible)
    tokens, deep, outputs = stock_tower(model, torch.ones(35, dtype=torch.bool) if visible is None else visible)
    assert image.grid == (5, 7)
    assert (image.cells is None) == (visible is None)
    torch.testing.assert_close(image.tokens, tokens, rtol=1e-5, atol=1e-5)
    for found, want in zip((*image.features, *image.deep), (outputs[3], outputs[0], *deep), strict=True):
        torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)
    if visible is None:
        base: Any = model.base
        stock = base.model.visual(PIXELS, grid_thw=torch.tensor([[1, *GRID]]))
        torch.testing.assert_close(image.tokens, stock.pooler_output, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("packed", [False, True])
@torch.inference_mode()
def test_a_layer_computes_what_the_stock_layer_does(base: Path, packed: bool) -> None:
    stock: Any = gp.load(base, device="cpu", dtype="float32").base
    generator = torch.Generator().manual_seed(1)
    hidden, positions = torch.randn(2, 5, 64, generator=generator), torch.randint(0, 50, (3, 2, 5), generator=generator)
    turned, wanted = stock.model.language_model.rotary_emb(hidden, positions), []
    for number, block in enumerate(stock.model.language_model.layers):
        theirs = PrefillCache()
        theirs.keys, theirs.values = [hidden] * number, [hidden] * number  # the layers before are not run
        out = block(hidden, attention_mask=None, position_embeddings=turned, past_key_values=theirs)
        normed, attention = block.input_layernorm(hidden), block.self_attn
        query = attention.q_norm(attention.q_proj(normed).unflatten(-1, (4, 24)))
        wanted.append((out, theirs.keys[number], theirs.values[number], query))
    backbone = Qwen3VL(stock)
    if packed:
        backbone.pack()
    rotary = backbone.rotary(positions)
    for number, (out, keys, values, query) in enumerate(wanted):
        ours = PrefillCache()
        ours.keys, ours.values = [hidden] * number, [hidden] * number
        torch.testing.assert_close(backbone.run_layer(number, hidden, rotary, ours), out, rtol=0, atol=1e-5)
        for found in ((ours.keys[number], ours.values[number]), backbone.keys_values(number, hidden, rotary)):
            torch.testing.assert_close(found[0], keys, rtol=0, atol=1e-5)
            torch.testing.assert_close(found[1], values, rtol=0, atol=1e-5)
        still = backbone.rotary(torch.zeros_like(positions))  # position 0 turns nothing
        found_query = backbone.queries(number, hidden[:1], (still[0][:1], still[1][:1]))
        torch.testing.assert_close(found_query, query[0] * 24**-0.5, rtol=0, atol=1e-5)


@pytest.mark.parametrize("part", ["axes", "positions", "deep features"])
def test_the_golden_numbers_tell_a_release_that_computes_otherwise(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    assert golden.differences("qwen3_vl", GOLDEN, "cpu") == []

    def apart(self: stock.Qwen3VLTextRotaryEmbedding, freq: Tensor) -> Tensor:
        mixed = torch.cat([m[i] for i, m in enumerate(freq.split(self.mrope_section, dim=-1))], dim=-1)
        return torch.cat((mixed, mixed), dim=-1)

    def made() -> Any:
        model = GOLDEN.make_model()
        if part == "positions":
            model.model.visual.interpolation_align_corners = False
        elif part == "deep features":
            model.model.visual.deepstack_visual_indexes = []
        return model

    if part == "axes":
        monkeypatch.setattr(stock.Qwen3VLTextRotaryEmbedding, "recomposition_frequencies", apart)
    found = golden.differences("qwen3_vl", replace(GOLDEN, make_model=made), "cpu")
    assert found == ["importance scores", "logits of the first token", "generated tokens"]


def test_pruning_before_the_last_deep_features_is_refused(model: gp.GlimpseModel, base: Path, tmp_path: Path) -> None:
    early = make_tiny_addon(tmp_path / "early", reduce_layer=1, selected_layers=(0,))
    with pytest.raises(gp.UnsupportedModelError, match=r"prune layer of at least 2.*found 1; take an add-on whose"):
        gp.load(base, glimpse=early, device="cpu")
    with pytest.raises(gp.UnsupportedModelError, match="prune layer of at least 2.*found 0"):
        replace(model, method=EverySecondToken())
    with pytest.raises(gp.AddonError, match="reduce_layer is 1; expected a layer .* 2 to 3"):
        gp.new_glimpse(model, 1)
    assert gp.new_glimpse(model).config.reduce_layer == 2
    assert replace(model, method=EverySecondToken(prune_layer=2)).rule is not None


@pytest.mark.parametrize(
    ("layers", "depth", "prune_layer", "blocks"),
    [(28, 24, 18, (23, 17, 11, 5)), (36, 24, 23, (23, 17, 11, 5)), (36, 27, 23, (26, 19, 12, 5))],
    ids=["2B", "4B", "8B"],
)
def test_a_new_addon_for_the_published_sizes(
    layers: int, depth: int, prune_layer: int, blocks: tuple[int, ...]
) -> None:
    config = Qwen3VLConfig(
        text_config={"num_hidden_layers": layers, "hidden_size": 2560, "num_attention_heads": 32, "head_dim": 128},
        vision_config={"depth": depth, "deepstack_visual_indexes": [5, 11, 17]},
    )
    shape = read_shape(config)
    assert (shape.deep_layers, shape.head_dim, shape.vision_window) == (3, 128, 0)
    addon = new_addon_config(shape)
    assert addon.reduce_layer == prune_layer
    assert addon.selected_visual_layers == blocks


def test_the_released_layout_of_a_configuration_is_read(tmp_path: Path) -> None:
    """As the 2B checkpoint has it: older names of the rotary settings, and the tower under the family's own type."""
    text = {"num_hidden_layers": 28, "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 8}
    rotary = {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"}
    tower = {"deepstack_visual_indexes": [5, 11, 17], "depth": 24, "hidden_size": 1024, "out_hidden_size": 2048}
    fields = {
        "model_type": "qwen3_vl",
        "text_config": {**text, "head_dim": 128, "rope_scaling": rotary, "rope_theta": 5_000_000},
        "vision_config": {**tower, "model_type": "qwen3_vl"},
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    config = family_of(tmp_path).read_config(tmp_path)
    assert config.text_config.rope_parameters == {**rotary, "rope_theta": 5_000_000}
    shape = read_shape(config)
    assert (shape.vision_hidden_size, shape.vision_depth, shape.num_key_value_heads) == (1024, 24, 8)


def test_a_model_with_deep_features_to_its_end_is_refused() -> None:
    config = tiny_config(make_tokenizer())
    config.vision_config.deepstack_visual_indexes = [0, 1, 2, 3]
    with torch.device("meta"):
        stock = Qwen3VLForConditionalGeneration(config)
    with pytest.raises(gp.UnsupportedModelError, match="fewer decoder layers than the 4 of the model"):
        Qwen3VL(stock)


@pytest.mark.parametrize(("model_type", "reason"), [("qwen3_5", "linear attention"), ("qwen3_vl_moe", "experts")])
def test_relatives_are_refused_with_the_reason(model_type: str, reason: str) -> None:
    with pytest.raises(gp.UnsupportedModelError, match=f"'{model_type}' is not supported: .*{reason}.*qwen3_vl"):
        find_family(model_type)
