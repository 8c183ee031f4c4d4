from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

import glimpseprune as gp
from glimpseprune.methods.glimpse.addon import load_addon
from glimpseprune.methods.glimpse.addon_file import read_addon_config
from tests.support.tiny_model import make_glimpse, tiny_addon_config

PARITY = Path(__file__).parents[2] / "parity"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PARITY / "glimpse", tmp_path / "published"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def test_the_published_form_survives_our_own(tmp_path: Path) -> None:
    published = load_addon(PARITY / "glimpse")
    gp.save_addon(published, tmp_path)
    again = load_addon(tmp_path)
    assert again.config == published.config
    assert sorted(again.state_dict()) == sorted(published.state_dict())
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in published.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [{}, {"le_length": 0}, {"le_norm_type": "layernorm", "le_length": 2}, {"deep_supervision": True}],
    ids=str,
)
def test_our_own_form_round_trips(tmp_path: Path, changes: dict[str, object]) -> None:
    glimpse = make_glimpse(tiny_addon_config(**changes))
    gp.save_addon(glimpse, tmp_path)
    again = load_addon(tmp_path)
    assert again.config == glimpse.config
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in glimpse.state_dict().items())


def test_nested_text_config_is_read_too(published: Path) -> None:
    flat = read_addon_config(published)

    def nest(raw: dict[str, Any]) -> None:
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "rms_norm_eps")
        raw["text_config"] = {name: raw.pop(name) for name in names}

    edit_json(published / "config.json", nest)
    assert read_addon_config(published) == flat


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "field missing": (lambda raw: raw.pop("le_length"), "le_length is missing"),
    "vision config missing": (lambda raw: raw.pop("vision_config"), "vision_config is missing"),
    "wrong type": (lambda raw: raw.update(attn_fuse_size="32"), "attn_fuse_size has to be a whole number"),
    "not a list": (lambda raw: raw.update(selected_layers=[1, "2"]), "selected_layers has to be a list"),
    "number as flag": (lambda raw: raw.update(attn_fuse_global=1), "attn_fuse_global has to be true or false"),
    "other predictor": (lambda raw: raw.update(attn_fuse_type="AttnFuserV2"), "attn_fuse_type"),
    "anchors": (lambda raw: raw.update(anchor_positions=[1]), "anchor_positions"),
    "layer beyond the model": (lambda raw: raw.update(reduce_layer=6), "reduce_layer is 6"),
    "glimpse read after pruning": (lambda raw: raw.update(selected_layers=[4]), "expected layers in 0..reduce_layer"),
    "nothing to look at": (lambda raw: raw.update(selected_layers=[]), "selected_layers is .*expected at least one"),
    "glimpse in no layer": (lambda raw: raw.update(le_layers=[1]), "le_layers is .*expected layer 0 among them"),
    "vision layer beyond the tower": (lambda raw: raw.update(selected_visual_layers=[4]), "selected_visual_layers"),
    "heads that do not divide": (lambda raw: raw.update(attn_fuse_num_heads=3), "attn_fuse_num_heads"),
    "unknown norm": (lambda raw: raw.update(le_norm_type="batchnorm"), "le_norm_type"),
    "threshold": (lambda raw: raw.update(reduce_threshold=2.0), "reduce_threshold.*found 2.0"),
    "unknown activation": (lambda raw: raw.update(attn_fuse_hidden_act="sill"), "attn_fuse_hidden_act is 'sill'"),
    "sizes of another predictor": (lambda raw: raw.update(attn_fuse_size=64), "attn_in_proj.weight has shape"),
    "deep supervision without heads": (
        lambda raw: raw.update(deep_supervision=True),
        "attn_out_projs.0.weight is miss",
    ),
    "no glimpse token in the config": (lambda raw: raw.update(le_length=0), "le_norm.weight is in the weights"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_configuration_that_does_not_fit_is_refused(
    published: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_json(published / "config.json", change)
    with pytest.raises(gp.AddonError, match=message):
        load_addon(published)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_size", 128), ("num_hidden_layers", 7), ("num_attention_heads", 8)],
)
def test_an_addon_for_another_base_is_refused_before_the_base_is_read(
    published: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: int
) -> None:
    edit_json(published / "config.json", lambda raw: raw.update({field: value}))
    monkeypatch.setattr(Qwen2_5_VLForConditionalGeneration, "from_pretrained", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(gp.AddonError, match=f"{field} is {value} in the add-on"):
        gp.load(PARITY / "base", glimpse=published, device="cpu")


def test_broken_files_are_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(gp.AddonError, match="no add-on in.*expected glimpse.json or config.json"):
        load_addon(tmp_path)
    weights = published / "new_modules_gp.pt"
    good = weights.read_bytes()
    weights.write_bytes(good[: len(good) // 2])
    with pytest.raises(gp.AddonError, match="cannot be read as weights"):
        load_addon(published)
    weights.write_bytes(b"hello")
    with pytest.raises(gp.AddonError, match="cannot be read as weights"):
        load_addon(published)
    torch.save([1, 2], weights)
    with pytest.raises(gp.AddonError, match="expected a dict of modules"):
        load_addon(published)
    weights.unlink()
    with pytest.raises(gp.AddonError, match="expected new_modules_gp.pt beside .*; copy or download it too"):
        load_addon(published)
    (published / "config.json").write_text("{")
    with pytest.raises(gp.AddonError, match="not valid JSON"):
        load_addon(published)


def test_code_hidden_in_a_published_file_is_not_run(published: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"attn_fuser": Payload()}, published / "new_modules_gp.pt")
    with pytest.raises(gp.AddonError, match="cannot be read as weights"):
        load_addon(published)
    assert not (tmp_path / "executed").exists()


def test_base_checkpoints_with_old_and_new_key_names(tmp_path: Path) -> None:
    old = gp.load(PARITY / "base", device="cpu")
    old.base.save_pretrained(tmp_path / "new")  # type: ignore[operator]
    names = {
        kind: sorted(load_file(folder / "model.safetensors"))
        for kind, folder in {"old": PARITY / "base", "new": tmp_path / "new"}.items()
    }
    assert any(name.startswith("visual.") for name in names["old"])
    shutil.copy(tmp_path / "new" / "model.safetensors", tmp_path / "plain.safetensors")
    state = {
        f"model.{k}" if k.startswith("visual.") else k: t for k, t in load_file(tmp_path / "plain.safetensors").items()
    }
    state = {k.replace("model.layers.", "model.language_model.layers."): t for k, t in state.items()}
    state = {k.replace("model.embed_tokens", "model.language_model.embed_tokens"): t for k, t in state.items()}
    state = {("model.language_model.norm.weight" if k == "model.norm.weight" else k): t for k, t in state.items()}
    save_file(state, tmp_path / "new" / "model.safetensors", metadata={"format": "pt"})
    new = gp.load(tmp_path / "new", device="cpu")
    want = old.base.state_dict()
    assert all(torch.equal(tensor, want[name]) for name, tensor in new.base.state_dict().items())


def test_an_incomplete_checkpoint_is_refused(tmp_path: Path) -> None:
    shutil.copytree(PARITY / "base", tmp_path / "base")
    state = load_file(tmp_path / "base" / "model.safetensors")
    del state["model.layers.3.mlp.up_proj.weight"]
    save_file(state, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(gp.GlimpseError, match=r"missing keys.*layers\.3\.mlp\.up_proj"):
        gp.load(tmp_path / "base", device="cpu")


def test_other_families_and_values_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(gp.UnsupportedModelError, match="'llama'"):
        gp.load(tmp_path)
    with pytest.raises(gp.GlimpseError, match="dtype is 'int8'"):
        gp.load(PARITY / "base", dtype="int8", device="cpu")
    with pytest.raises(gp.GlimpseError, match="attn_implementation is 'eager'"):
        gp.load(PARITY / "base", attn_implementation="eager", device="cpu")
    with pytest.raises(gp.GlimpseError, match="pip install flash-attn"):
        gp.load(PARITY / "base", attn_implementation="flash_attention_2", device="cpu")


def test_a_base_checkpoint_with_pickled_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    shutil.copytree(PARITY / "base", tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").unlink()
    torch.save({"weights": Payload()}, tmp_path / "base" / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        gp.load(tmp_path / "base", device="cpu")
    assert not (tmp_path / "executed").exists()


def test_code_beside_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    shutil.copytree(PARITY / "base", tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "harm.Config", "AutoModel": "harm.Model"}
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    (tmp_path / "base" / "harm.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    gp.load(tmp_path / "base", device="cpu")
    assert not (tmp_path / "executed").exists()
