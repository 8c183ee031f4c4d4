"""Weights reach their device tensor by tensor, in their type, and no process keeps a copy of them in host memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

import glimpseprune as gp
from tests.support.host_memory import peak_of_own_memory
from tests.support.releases import make_3b_as_first_released
from tests.support.tiny_model import make_tiny_checkpoint, make_tokenizer, tiny_config

ELSEWHERE = "meta"  # stands for a GPU: what moves there leaves host memory
DTYPES = ("bfloat16", "float16", "float32")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A checkpoint in bfloat16 and several shards, large beside what else a process takes; and its parameters."""
    folder = tmp_path_factory.mktemp("large") / "base"
    config = tiny_config(make_tokenizer(), layers=10)
    for name, value in {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}.items():
        setattr(config.text_config, name, value)
    config.text_config.rope_parameters["mrope_section"] = [8, 12, 12]
    config.vision_config.out_hidden_size = 512
    model = Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="16MB")
    assert len(list(folder.glob("*.safetensors"))) >= 5
    return folder, sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_on_another_device_leaves_nothing_in_host_memory(large: tuple[Path, int], dtype: str) -> None:
    folder, parameters = large
    with peak_of_own_memory() as peak:
        model = gp.load(folder, device=ELSEWHERE, dtype=dtype)
    assert (model.backbone.device.type, model.backbone.dtype) == (ELSEWHERE, getattr(torch, dtype))
    assert peak.nbytes < 0.2 * 2 * parameters


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_on_the_cpu_takes_its_own_size(large: tuple[Path, int], dtype: str) -> None:
    folder, parameters = large
    gp.load(folder, device="cpu", dtype=dtype)  # what the first load takes besides, such as threads
    with peak_of_own_memory() as peak:
        model = gp.load(folder, device="cpu", dtype=dtype)
    assert peak.nbytes < 1.2 * model.backbone.dtype.itemsize * parameters


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_and_frequencies_are_those_of_transformers(large: tuple[Path, int], dtype: str) -> None:
    folder, _ = large
    ours = gp.load(folder, device="cpu", dtype=dtype).base
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype))
    for one, other in (
        (dict(ours.named_parameters()), dict(stock.named_parameters())),
        (dict(ours.named_buffers()), dict(stock.named_buffers())),
    ):
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            assert (tensor.dtype, tensor.device) == (other[name].dtype, other[name].device), name
            assert torch.equal(tensor, other[name]), name


def _mixed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor if "norm" in name else tensor.bfloat16() for name, tensor in weights.items()}


@pytest.mark.parametrize("mixed", [False, True])
def test_no_bit_is_lost_where_the_configuration_says_another_type(tmp_path: Path, mixed: bool) -> None:
    folder = make_tiny_checkpoint(tmp_path / "base")
    file, config = folder / "model.safetensors", folder / "config.json"
    config.write_text(config.read_text().replace('"float32"', '"bfloat16"'))
    weights = load_file(file)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    if mixed:
        weights = _mixed(weights)
        save_file(weights, file, metadata={"format": "pt"})
    loaded = gp.load(folder, device="cpu", dtype="float32").base.state_dict()
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).state_dict()
    assert loaded.keys() == stock.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in stock.items())
    some = "model.language_model.layers.0.mlp.up_proj.weight"
    assert torch.equal(stock[some], stock[some].bfloat16().float()) == mixed  # the stock model lost nothing either


def test_a_tied_head_stays_the_embedding(tmp_path: Path) -> None:
    base = gp.load(make_3b_as_first_released(tmp_path / "base"), device="cpu", dtype="float32").base
    head, embedding = base.lm_head.weight, base.model.language_model.embed_tokens.weight  # type: ignore[union-attr]
    assert head.dtype == torch.float32
    assert head.data_ptr() == embedding.data_ptr()


@pytest.mark.parametrize("given", [{"base": "no/such/folder"}, {"base": "tiny", "glimpse": "no/such/folder"}])
def test_a_name_that_is_neither_folder_nor_hub_id(tiny_base: Path, given: dict[str, str]) -> None:
    named = {key: str(tiny_base) if name == "tiny" else name for key, name in given.items()}
    with pytest.raises(OSError, match="no/such/folder: expected a folder or a hub id, found neither"):
        gp.load(**named, device="cpu")  # type: ignore[arg-type]
