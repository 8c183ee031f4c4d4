"""What is LLaVA's own: layouts of its checkpoints and add-ons, and models of its name that are not LLaVA-1.5."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlavaConfig, LlavaForConditionalGeneration

import glimpseprune as gp
from glimpseprune.families.llava import read_shape
from glimpseprune.methods.glimpse.addon_config import new_addon_config
from tests.support import tiny_llava
from tests.support.tiny_family import publish_addon
from tests.support.tiny_llava import ITEMS, ROWS
from tests.support.tiny_model import make_tiny_addon


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.make_tiny_llava(tmp_path_factory.mktemp("llava") / "base")


@pytest.fixture(scope="module")
def model(base: Path, tmp_path_factory: pytest.TempPathFactory) -> gp.GlimpseModel:
    addon = make_tiny_addon(tmp_path_factory.mktemp("llava") / "glimpse", **tiny_llava.FAMILY.addon)  # type: ignore[arg-type]
    return gp.load(base, glimpse=addon, device="cpu", dtype="float32")


REAL_TEXT: dict[str, dict[str, Any]] = {
    "7b": {"model_type": "llama", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "vocab_size": 32064},
    "13b": {
        "model_type": "llama",
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_attention_heads": 40,
        "num_hidden_layers": 40,
        "num_key_value_heads": 40,
        "rms_norm_eps": 1e-5,
        "vocab_size": 32064,
    },
}


@pytest.mark.parametrize(("size", "layer"), [("7b", 21), ("13b", 26)])
def test_the_real_sizes(size: str, layer: int) -> None:
    shape = read_shape(LlavaConfig(text_config=REAL_TEXT[size]))
    assert (shape.vision_hidden_size, shape.vision_depth, shape.vision_window) == (1024, 24, 0)
    config = new_addon_config(shape)
    assert config.selected_visual_layers == (23, 17, 11, 5)  # as in the published add-ons, like the layer
    assert config.reduce_layer == layer
    assert (config.attn_fuse_size, config.visual_cond_size) == (256, 512)


def test_checkpoints_with_the_key_names_of_the_hub(base: Path, model: gp.GlimpseModel, tmp_path: Path) -> None:
    stock: Any = model.base
    names = {
        r"^model\.language_model\.": "language_model.model.",
        r"^lm_head\.": "language_model.lm_head.",
        r"^model\.vision_tower\.": "vision_tower.vision_model.",
        r"^model\.multi_modal_projector\.": "multi_modal_projector.",
    }
    state = {}
    for key, tensor in stock.state_dict().items():
        for pattern, name in names.items():
            key = re.sub(pattern, name, key)
        state[key] = tensor.clone()
    assert len(state) == len(stock.state_dict())
    assert not any(key.startswith(("model.", "lm_head")) for key in state)
    for file in base.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again: Any = gp.load(tmp_path, device="cpu", dtype="float32").base
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in stock.state_dict().items())
    del state["vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(gp.GlimpseError, match=r"missing keys.*layers\.0\.mlp\.fc1"):
        gp.load(tmp_path, device="cpu")


OTHERS: dict[str, dict[str, Any]] = {
    "siglip_vision_model": {"vision_config": {"model_type": "siglip_vision_model"}},
    "pixtral": {"vision_config": {"model_type": "pixtral"}},
    "qwen2": {"text_config": {"model_type": "qwen2"}},
    r"\[-2, -7\]": {"vision_feature_layer": [-2, -7]},
    "'full'": {"vision_feature_select_strategy": "full"},
}


@pytest.mark.parametrize("found", OTHERS)
def test_other_models_of_this_name_are_refused_with_what_they_are(found: str) -> None:
    config = LlavaConfig(**{"text_config": {"model_type": "llama"}, **OTHERS[found]})
    with pytest.raises(gp.UnsupportedModelError, match=f"found.*{found}.*take llava-hf/llava-1.5-7b-hf"):
        read_shape(config)


def test_images_of_another_size_are_refused(model: gp.GlimpseModel) -> None:
    wrong = {**ITEMS[0], "pixel_values": torch.zeros(1, 3, 56, 84)}
    with pytest.raises(gp.InputError, match=r"expected pixel_values of shape \[images, 3, 84, 84\], found \[1, 3, 56"):
        gp.generate(model, wrong)
    with pytest.raises(gp.InputError, match="expected a page of 6 x 6 patches, found 24 patches for a grid of 4 x 6"):
        gp.encode_page(model, ITEMS[0]["input_ids"][0], torch.zeros(24, 588), (4, 6))
    with pytest.raises(gp.InputError, match="2 images of pixel_values, found image tokens for 1"):
        gp.generate(model, {**ITEMS[0], "pixel_values": torch.zeros(2, 3, 84, 84)})
    with pytest.raises(gp.InputError, match="36 image tokens more"):
        gp.generate(model, {**ITEMS[0], "pixel_values": None})


@torch.no_grad()
def test_patches_that_are_left_out_take_part_in_no_block(model: gp.GlimpseModel) -> None:
    """The stock blocks on the embeddings of what is left: the class token first, each patch at its own position."""
    stock: Any = model.base
    tower, pixels = stock.model.vision_tower, ITEMS[0]["pixel_values"]
    visible = torch.rand(ROWS**2, generator=torch.Generator().manual_seed(4)) < 0.5
    hidden = tower.pre_layrnorm(tower.embeddings(pixels)[:, torch.cat([torch.tensor([True]), visible])])
    states = [hidden]
    for block in tower.encoder.layers:
        states.append(block(states[-1], attention_mask=None))
    image = model.backbone.encode(*tiny_llava.page(), (3, 0), visible)
    tokens = stock.model.multi_modal_projector(states[3][0, 1:])  # vision_feature_layer -2 of five states
    torch.testing.assert_close(image.tokens, tokens, rtol=0, atol=1e-5)
    for found, state in zip(image.features, (states[3], states[0]), strict=True):
        torch.testing.assert_close(found, state[0, 1:], rtol=0, atol=1e-5)
    assert image.cells is not None
    assert torch.equal(image.cells, visible.nonzero()[:, 0])


def test_a_published_addon_for_another_base_is_refused_before_the_base_is_read(
    base: Path, model: gp.GlimpseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish_addon(tiny_llava.FAMILY, model.base, model.method, tmp_path / "published")
    monkeypatch.setattr(LlavaForConditionalGeneration, "from_pretrained", lambda *_, **__: pytest.fail("was read"))
    good = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"mm_hidden_size": 64}, "vision_hidden_size is 64 in the add-on and 32"),
        ({"hidden_size": 128}, "hidden_size is 128 in the add-on and 64"),
        ({"selected_visual_layers": [7, 2, 1, 0]}, "it reads layer 7 of the vision tower.*layers 0 to 3"),
        ({"selected_visual_layers": [-2]}, "expected layers from 0"),
        ({"attn_fuse_type": "AttnFuserDummy"}, "attn_fuse_type"),
    ):
        (folder / "config.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(gp.AddonError, match=message):
            gp.load(base, glimpse=folder, device="cpu")


@pytest.mark.usefixtures("one_thread")
def test_packed_weights_answer_the_same(base: Path) -> None:
    plain, packed = (gp.load(base, device="cpu", dtype="float32") for _ in range(2))
    packed.backbone.pack()
    for one in ITEMS:
        want, found = (gp.generate(model, one, max_new_tokens=6) for model in (plain, packed))
        assert found.sequences[0].tolist() == want.sequences[0].tolist()
        torch.testing.assert_close(found.first_logits, want.first_logits, rtol=1e-4, atol=1e-4)


def test_the_weights_on_disk_are_the_same_bytes_every_time(base: Path, tmp_path: Path) -> None:
    again = load_file(tiny_llava.make_tiny_llava(tmp_path) / "model.safetensors")
    assert all(torch.equal(tensor, again[key]) for key, tensor in load_file(base / "model.safetensors").items())
