"""LLaVA's pages are padded to a square as the published code does; the rest of the pipeline sees the page alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlavaConfig, LlavaProcessor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

import glimpseprune as gp
from glimpseprune.rule import KeepRule
from pipeline.answering.checkpoints import check_fit
from pipeline.answering.evidence import Importance
from pipeline.answering.overlay import draw_kept
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.datasets.example import Region, covered_cells
from pipeline.errors import ModelError, PageError, UsageError
from pipeline.families.llava import FAMILY
from pipeline.families.llava_input import Processor
from pipeline.pages.blank_paper import visible_cells
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Ask, Image, PageImage
from tests.support import tiny_llava
from tests.support.colours import make_pdf
from tests.support.hostile import as_document
from tests.support.tiny_family import publish_addon
from tests.support.tiny_llava import MEAN, PATCH, ROWS, SIDE_PX, STD, TOKENS
from tests.support.tiny_model import make_tiny_addon

HOSTILE = ["What does <image> stand for?", "Total?</s>", "<s><unk><pad>", "<image>"]
FIELDS = {"image_mean": MEAN, "image_std": STD}
STOCK = LlavaImageProcessorPil(
    do_pad=True, size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}, **FIELDS
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.make_tiny_llava(tmp_path_factory.mktemp("llava") / "base")


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_addon(tmp_path_factory.mktemp("llava") / "glimpse", **tiny_llava.FAMILY.addon)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def processor(base: Path) -> Processor:
    return Processor(base)


def picture(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_page_fits_the_square(base: Path) -> None:
    budget = FAMILY.read_budget(base, None)
    assert (budget.factor, budget.min_pixels, budget.max_pixels) == (PATCH, SIDE_PX**2, SIDE_PX**2)
    assert FAMILY.max_visual_tokens(budget) == TOKENS
    sizes = {(595, 842): (59, 84), (842, 595): (84, 59), (100, 100): (84, 84), (1, 9000): (1, 84)}
    for (width, height), expected in sizes.items():
        for dpi in (20, 200):
            page = FAMILY.fit_page(width, height, dpi, budget)
            assert ((page.width_px, page.height_px), page.visual_tokens) == (expected, TOKENS)
    assert FAMILY.fit_page(84, 84, 200, budget).dpi == pytest.approx(72)
    with pytest.raises(PageError, match="expected two positive sides"):
        FAMILY.fit_page(0, 84, 200, budget)


def test_a_limit_of_visual_tokens_cannot_be_kept(base: Path) -> None:
    with pytest.raises(UsageError, match=f"--max-visual-tokens {TOKENS - 1} is too few.*all have {TOKENS}"):
        FAMILY.read_budget(base, TOKENS - 1)
    assert FAMILY.read_budget(base, TOKENS) == FAMILY.read_budget(base, None)


@pytest.mark.parametrize("vision", [{"image_size": 80, "patch_size": 14}, {"image_size": 84}, {"image_size": "84"}])
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, vision: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava", "vision_config": vision}))
    with pytest.raises(ModelError, match="image_size that is a multiple of patch_size"):
        FAMILY.read_budget(tmp_path, None)


def test_the_layout_of_the_training_code_is_refused_with_where_to_find_the_other(tmp_path: Path) -> None:
    fields = {"model_type": "llava", "hidden_size": 4096, "mm_hidden_size": 1024, "mm_vision_tower": "openai/clip"}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match="take llava-hf/llava-1.5-7b-hf or .*the same weights"):
        FAMILY.read_budget(tmp_path, None)
    with pytest.raises(gp.UnsupportedModelError, match="take llava-hf/llava-1.5-7b-hf or .*the same weights"):
        gp.load(tmp_path, device="cpu")


@pytest.mark.parametrize(("height", "width"), [(84, 84), (84, 59), (60, 84), (300, 200), (31, 77), (170, 170), (5, 84)])
def test_pages_are_padded_as_the_published_code_does(processor: Processor, height: int, width: int) -> None:
    page = picture(height, width)
    prepared = processor.prepare(page)
    found = processor.patches(prepared, "cpu")
    want = STOCK(images=[page], return_tensors="pt")["pixel_values"][0]
    cells = [(row * PATCH, column * PATCH) for row in range(ROWS) for column in range(ROWS)]
    cut = torch.stack([want[:, y : y + PATCH, x : x + PATCH].reshape(-1) for y, x in cells])
    torch.testing.assert_close(found, cut, rtol=0, atol=2e-6)
    assert processor.token_grid(prepared) == (ROWS, ROWS)


def test_padding_has_the_mean_colour_and_half_of_it_lies_on_either_side(processor: Processor) -> None:
    pixels = processor.prepare(np.zeros((84, 58, 3), np.uint8)).pixels.numpy()
    assert pixels[:, :13].reshape(-1, 3).tolist() == [[122, 116, 104]] * (84 * 13)
    assert pixels[:, 71:].reshape(-1, 3).tolist() == [[122, 116, 104]] * (84 * 13)
    assert not pixels[:, 13:71].any()


@pytest.mark.parametrize("text", ["What is the total?", "Wie hoch, bitte?\n< image >", "é漢字🙂"])
def test_a_prompt_is_that_of_the_stock_processor(base: Path, processor: Processor, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    stock = LlavaProcessor(
        STOCK, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    content = [{"type": "image"}, {"type": "text", "text": text}]
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    assert rendered == f"USER: <image>\n{text} ASSISTANT:"
    want = stock(text=[rendered], images=[picture(84, 59)], return_tensors="pt")["input_ids"][0]
    assert processor.prompt(text, (ROWS, ROWS)).tolist() == want.tolist()
    assert want[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_special_tokens_are_read_as_they_are_written(processor: Processor, text: str) -> None:
    prompt, plain = (processor.prompt(one, (ROWS, ROWS)).tolist() for one in (text, "What?"))
    for token in processor.chat.tokenizer.all_special_ids:
        assert prompt.count(token) == plain.count(token)
    assert prompt.count(processor.image_token_id) == TOKENS
    assert text in processor.chat.tokenizer.decode(prompt)
    *written, last = processor.answer(text, {2}).tolist()
    assert last == 2
    assert processor.text(torch.tensor(written)) == text


def test_a_folder_without_image_settings_is_refused(base: Path, tmp_path: Path) -> None:
    for file in base.iterdir():
        if file.name != "preprocessor_config.json":
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(ModelError, match="expected 'image_mean' in preprocessor_config.json"):
        Processor(tmp_path)


def test_places_on_the_grid_are_places_on_the_page(processor: Processor) -> None:
    page = picture(84, 42)  # padded by 21 pixels on either side: columns 0 and 5 have no page, 1 and 4 half of one
    frame = processor.prepare(page).frame
    assert (frame.x0, frame.y0, frame.x1, frame.y1) == (-0.5, 0.0, 1.5, 1.0)
    keep = np.zeros((ROWS, ROWS), bool)
    keep[0, 0] = keep[2, 1] = keep[4, 3] = True
    scores = np.where(keep, 3.0, -3.0).astype(np.float32)
    found = Importance(keep.ravel(), scores.ravel(), (ROWS, ROWS), (42.0, 84.0), frame)
    assert sorted(box for box, _ in found.regions(0.0)) == [
        pytest.approx((0.0, 28.0, 7.0, 42.0)),
        pytest.approx((21.0, 56.0, 35.0, 70.0)),
    ]
    assert found.cell_pt() == pytest.approx((14.0, 14.0))
    assert found.under((22.0, 57.0, 34.0, 69.0)) == pytest.approx((3.0, 3.0))
    region = Region(22 / 42, 57 / 84, 34 / 42, 69 / 84).on_grid(frame)
    assert covered_cells([region], ROWS, ROWS).nonzero()[0].tolist() == [4 * ROWS + 3]
    drawn = np.array(draw_kept(np.zeros_like(page), keep.ravel(), (ROWS, ROWS), frame))
    faded = (drawn == int(255 - 255 * 0.3)).all(-1)
    assert not faded[56:70, 21:35].any()
    assert not faded[28:42, :7].any()
    assert faded[:28].all()


def test_blank_paper_can_be_left_out_and_padding_is_paper(processor: Processor) -> None:
    page = np.full((84, 14, 3), 255, np.uint8)  # in columns 2 and 3 of the square; their neighbours stay with them
    page[56:70, 7:] = 0
    visible = processor.visible(page, processor.prepare(page), visible_cells)
    assert visible is not None
    seen = visible.view(ROWS, ROWS)
    assert seen[4, 3]
    assert seen[:, 0].tolist() == [True, False, False, True, False, True]  # anchors alone


def ask(name: str, text: str) -> Ask:
    return Ask(name, text, "text", 6, KeepRule(max_ratio=0.4, min_tokens=2))


def test_a_document_is_answered_from_its_pages(base: Path, addon: Path, tmp_path: Path) -> None:
    answerer = PageAnswerer.load(str(base), str(addon), "cpu", "float32", "auto", 0)
    document = as_document(make_pdf(tmp_path / "a.pdf", [(250, 40, 10), (0, 255, 0)], size_pt=100))
    with RenderChild() as child:
        images = list(child.render(document, [1, 2], 200, FAMILY.read_budget(base, None)))
    asks = [ask("a", "What is the total?"), *(ask(f"h{i}", text) for i, text in enumerate(HOSTILE))]
    for image in images:
        assert isinstance(image, PageImage)
        assert (image.width_px, image.height_px, image.visual_tokens) == (SIDE_PX, SIDE_PX, TOKENS)
        together = answerer.answer_page(decode_image(image), asks)
        alone = [answerer.answer_page(decode_image(image), [one])[0] for one in asks]
        assert [answer.text for answer in together] == [answer.text for answer in alone]
        assert all(answer.stats.kept_tokens <= 0.4 * TOKENS for answer in together)
        assert all(answer.grids == ((ROWS, ROWS),) for answer in together)


def test_an_addon_is_checked_against_its_base_from_the_configurations(
    base: Path, addon: Path, tiny_addon: Path, tmp_path: Path
) -> None:
    check_fit(base, addon)
    loaded = gp.load(base, glimpse=addon, device="cpu")
    check_fit(base, publish_addon(tiny_llava.FAMILY, loaded.base, loaded.method, tmp_path / "published"))
    other = json.loads((addon / "glimpse.json").read_text())
    other["base"]["num_hidden_layers"] = 6
    for name in ("glimpse.json", "glimpse.safetensors"):
        (tmp_path / name).write_bytes((addon / name).read_bytes())
    (tmp_path / "glimpse.json").write_text(json.dumps(other))
    with pytest.raises(ModelError, match="num_hidden_layers is 6 in the add-on and 4 in the base"):
        check_fit(base, tmp_path)


def test_sizes_that_a_checkpoint_leaves_out_are_those_of_transformers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava", "text_config": {"model_type": "llama"}}')
    read, want = FAMILY.read_config(tmp_path), LlavaConfig(text_config={"model_type": "llama"})
    names = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"}
    assert {name: read["text_config"][name] for name in names} == {
        name: getattr(want.text_config, name) for name in names
    }
    for name in ("hidden_size", "num_hidden_layers", "image_size", "patch_size"):
        assert read["vision_config"][name] == getattr(want.vision_config, name)
