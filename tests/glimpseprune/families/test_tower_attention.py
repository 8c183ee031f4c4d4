"""How a vision tower attends: with one call per block, and with which kernel."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

import glimpseprune as gp
from glimpseprune.errors import GlimpseError
from glimpseprune.families.tower_attention import SDPA, Sequences, TowerAttention, choose_attention, flash_attn
from tests.support.flash_paths import PATHS, compared
from tests.support.markdown import ROOT

FAKE = ROOT / "tests/support/fake_flash"
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def found(tiny_base: Path, tiny_addon: Path) -> dict[str, Any]:
    model = gp.load(tiny_base, tiny_addon, "cpu", "float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FAKE)
        patch.delitem(sys.modules, "flash_attn", raising=False)
        kernel = flash_attn()
        fake = sys.modules.pop("flash_attn")
    assert kernel is fake.flash_attn_varlen_func
    return compared(model, kernel, fake.calls)


@pytest.mark.parametrize("path", PATHS)
def test_flash_attention_gives_the_tokens_of_sdpa(found: dict[str, Any], path: str) -> None:
    (want, got), (kept, kept_too) = found[path]["tokens"], found[path]["keep"]
    assert got == want
    assert kept_too == kept
    assert found[path]["apart"] < 1e-3
    depth, images = 4, PATHS[path][1]
    assert found[path]["calls"] == depth * images
    assert found[path]["sequences"] > 1 or not images


class _Calls(TorchFunctionMode):
    """Counts the calls of SDPA."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is F.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def test_a_page_takes_one_call_per_block_where_the_stock_tower_takes_one_per_window(tiny_base: Path) -> None:
    model = gp.load(tiny_base, device="cpu")
    rows, columns = 18, 13
    pixels = torch.randn(rows * columns * 4, 1176, generator=torch.Generator().manual_seed(0))
    stock: Any = model.base
    with _Calls() as theirs:
        want = stock.model.visual(pixels, grid_thw=torch.tensor([[1, 2 * rows, 2 * columns]])).pooler_output
    with _Calls() as ours:
        tokens = model.backbone.encode(pixels, (2 * rows, 2 * columns), ()).tokens
    windows = 5 * 4  # of 4 x 4 tokens
    assert (theirs.count, ours.count) == (2 * windows + 2, 4)
    torch.testing.assert_close(tokens, want, rtol=1e-4, atol=1e-4)


def test_a_kernel_of_variable_lengths_gets_what_it_takes() -> None:
    seen: list[Any] = []

    def kernel(*given: Any) -> torch.Tensor:
        seen.extend(given)
        return given[0]

    query, key, value = torch.randn(3, 10, 2, 8)
    ends = torch.tensor([0, 4, 10], dtype=torch.int32)
    out = TowerAttention("varlen", kernel)(query, key, value, Sequences(ends, 6, None))
    assert out is query
    assert all(a is b for a, b in zip(seen, (query, key, value, ends, ends), strict=False))
    assert seen[5:] == [6, 6]


class TestChoice:
    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
        monkeypatch.delitem(sys.modules, "flash_attn", raising=False)

    @pytest.mark.parametrize(
        ("device", "dtype"), [("cpu", torch.float32), ("cpu", torch.bfloat16), ("cuda", torch.float32)]
    )
    def test_elsewhere_than_on_cuda_in_16_bits_it_is_sdpa(
        self, monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype
    ) -> None:
        monkeypatch.syspath_prepend(str(FAKE))
        assert choose_attention("auto", torch.device(device), dtype) is SDPA
        with pytest.raises(GlimpseError, match=r"needs a GPU of .*, package installed\. Pass"):
            choose_attention("flash_attention_2", torch.device(device), dtype)

    def test_an_old_gpu_takes_sdpa(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
        monkeypatch.syspath_prepend(str(FAKE))
        assert choose_attention("auto", CUDA, torch.float16) is SDPA

    @pytest.mark.parametrize("name", ["auto", "flash_attention_2"])
    def test_flash_attn_where_it_is_installed(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.syspath_prepend(str(FAKE))
        chosen = choose_attention(name, CUDA, torch.bfloat16)
        assert chosen == TowerAttention("flash_attention_2", sys.modules["flash_attn"].flash_attn_varlen_func)
        assert choose_attention("sdpa", CUDA, torch.bfloat16) is SDPA

    def test_torchs_kernel_where_it_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from torch.nn.attention.varlen import varlen_attn

        with warnings.catch_warnings(action="error"):
            assert choose_attention("auto", CUDA, torch.bfloat16) == TowerAttention("varlen", varlen_attn)
            monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)  # as in torch 2.9
            assert choose_attention("auto", CUDA, torch.bfloat16) is SDPA
        with pytest.raises(GlimpseError, match=r"package missing\. Pass .*pip install flash-attn --no-build-isolation"):
            choose_attention("flash_attention_2", CUDA, torch.bfloat16)

    def test_a_flash_attn_that_does_not_import_is_warned_of(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "flash_attn").mkdir()
        (tmp_path / "flash_attn/__init__.py").write_text("raise ImportError('undefined symbol: _ZN3c10')")
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.warns(UserWarning, match=r"cannot be imported \(undefined symbol: _ZN3c10\); torch's attention"):
            assert choose_attention("auto", CUDA, torch.bfloat16).name == "varlen"
        with pytest.raises(GlimpseError, match="undefined symbol"):
            choose_attention("flash_attention_2", CUDA, torch.bfloat16)

    def test_another_name_is_refused(self) -> None:
        with pytest.raises(GlimpseError, match="attn_implementation is 'eager'; expected one of auto, sdpa, flash"):
            choose_attention("eager", CUDA, torch.bfloat16)

    def test_the_model_is_loaded_with_it_and_stays_the_stock_one(
        self, monkeypatch: pytest.MonkeyPatch, tiny_base: Path
    ) -> None:
        marked = TowerAttention("varlen", lambda query, *_: query)
        monkeypatch.setattr("glimpseprune.loading.choose_attention", lambda *_: marked)
        model: Any = gp.load(tiny_base, device="cpu")
        assert model.backbone.attention is marked
        assert model.base.config.vision_config._attn_implementation == "sdpa"
