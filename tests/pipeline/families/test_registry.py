"""A model family is found by a checkpoint's model type, here, in the render child, and also if it is not ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.errors import ModelError, UsageError
from pipeline.families import qwen2_5_vl, registry
from pipeline.families.registry import find_family, register_family, supported_families
from pipeline.pages.blank_paper import visible_cells
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import PageImage, PixelBudget
from tests.support import families
from tests.support import toy_family_input as toy
from tests.support.colours import make_pdf
from tests.support.hostile import as_document

ROOT = Path(__file__).parents[3]
FAMILIES = sorted(families.FAMILIES)


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def folder_of(folder: Path, **fields: object) -> Path:
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder


def test_a_family_of_ours_is_found_by_the_model_type(tiny_base: Path) -> None:
    family = find_family(tiny_base)
    assert family is qwen2_5_vl.FAMILY
    assert family.read_budget(tiny_base, 16) == PixelBudget(28, 4 * 784, 16 * 784, "pipeline.families.qwen2_5_vl")
    assert family.max_visual_tokens(family.read_budget(tiny_base, 16)) == 16


@pytest.mark.parametrize(
    "model_type", ["llama", "base", "registry", "qwen_vl_size", "llava_input", "blip-2", "a.b", ""]
)
def test_another_one_is_refused_with_what_is_supported(tmp_path: Path, model_type: str) -> None:
    register_family("toy_vl", "tests.support.toy_family_input")
    supported = ", ".join([*FAMILIES, "toy_vl"])
    expected = f'{model_type}\' model; supported: {supported}. To add another, see "add a family" in CONTRIBUTING.md'
    with pytest.raises(ModelError) as caught:
        find_family(folder_of(tmp_path, model_type=model_type))
    assert expected in str(caught.value)


@pytest.mark.parametrize("fields", [None, {}, {"model_type": 3}])
def test_a_folder_that_does_not_say_what_it_is(tmp_path: Path, fields: dict[str, object] | None) -> None:
    folder = tmp_path if fields is None else folder_of(tmp_path, **fields)
    with pytest.raises(ModelError, match=r"expected a config\.json with a model_type"):
        find_family(folder)


def test_a_registered_module_has_to_hold_a_family(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, model_type="mine")
    assert supported_families() == FAMILIES
    register_family("mine", "no_such.module")
    assert supported_families() == sorted(["mine", *FAMILIES])
    with pytest.raises(ModelError, match=r"no_such\.module cannot be imported.*PYTHONPATH"):
        find_family(folder)
    register_family("mine", "tests.support.colours")
    with pytest.raises(ModelError, match="expected a PageFamily named FAMILY, found NoneType"):
        find_family(folder)


def test_a_toy_from_outside_goes_from_a_page_to_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    register_family(toy.MODEL_TYPE, toy.MODULE)
    folder = toy.write_toy_config(tmp_path / "toy")
    family = find_family(folder)
    budget = family.read_budget(folder, None)
    document = as_document(make_pdf(tmp_path / "a.pdf", [(250, 40, 10), (0, 255, 0)], size_pt=100))
    with RenderChild() as child:
        images = list(child.render(document, [1, 2], 72, budget))
        assert child.measure(document, [1, 2, 3], 72, budget) == (16, 16, None)
    assert [(i.width_px, i.height_px, i.visual_tokens) for i in images if isinstance(i, PageImage)] == [(8, 8, 16)] * 2
    model_input = family.load_input(folder)
    page = decode_image(images[0])  # type: ignore[arg-type]
    prepared = model_input.prepare(page)
    pixels, grid = model_input.image(page)
    assert (pixels.shape, pixels.dtype, grid) == ((16, 12), torch.float32, (4, 4))
    assert pixels[5].tolist() == pytest.approx(page[2:4, 2:4].reshape(-1) / 255)
    assert model_input.token_grid(prepared) == (4, 4)
    visible = model_input.visible(page, prepared, visible_cells)
    assert visible is not None
    assert visible.tolist() == visible_cells(page, 2).tolist()
    prompt = model_input.prompt("Total, ab?", grid)
    assert prompt.tolist().count(model_input.image_token_id) == 16
    assert int(prompt.max()) < toy.VOCABULARY
    assert model_input.text(prompt) == "total, ab?"
    assert model_input.answer("ab", {toy.END}).tolist() == [4, 5, 2]


def test_a_fixed_grid_takes_no_lower_limit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="take 16 or more"):
        toy.FAMILY.read_budget(tmp_path, 15)
    assert toy.FAMILY.max_visual_tokens(toy.FAMILY.read_budget(tmp_path, 100)) == 16


def test_a_family_that_the_render_child_cannot_import_ends_the_run_and_not_the_page(tmp_path: Path) -> None:
    document = as_document(make_pdf(tmp_path / "a.pdf", [(250, 40, 10)]))
    sound = PixelBudget(28, 3136, 28 * 28 * 256, "pipeline.families.qwen2_5_vl")
    with RenderChild() as child:
        for ask in (child.render, child.measure):
            with pytest.raises(ModelError, match=r"in the renderer: .*no_such\.module cannot be imported"):
                list(ask(document, [1], 72, PixelBudget(2, 64, 64, "no_such.module")))
        assert isinstance(next(child.render(document, [1], 72, sound)), PageImage)


@pytest.mark.parametrize("module", ["pipeline.families.llava", "pipeline.families.qwen2_5_vl", toy.MODULE])
def test_the_render_child_is_spared_torch(module: str) -> None:
    code = f"import sys, pipeline.pages.page_server, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
