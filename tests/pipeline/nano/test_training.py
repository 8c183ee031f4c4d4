"""The embedded model's training forward is the stock model's, and its targets say what is printed where."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from glimpseprune.families.qwen2_5_vl_rope import rope_positions
from glimpseprune.training.trainer import train
from pipeline.families.qwen_vl_input import Processor
from pipeline.nano.training import recipe, vocabulary
from pipeline.nano.training.export import export
from pipeline.nano.training.language import AnswerHeads, answer_losses, text_rotary
from pipeline.nano.training.muon import orthogonalise
from pipeline.nano.training.pages import LENGTH, page_batch
from pipeline.nano.training.recipe import SOURCES, Phase
from pipeline.nano.training.shape import make_model
from pipeline.nano.training.targets import CHARSET, IGNORE, character_targets
from pipeline.nano.training.task import NanoTask
from pipeline.nano.training.text_pages import text_batch
from pipeline.nano.training.tower import merge, raster_order, run_tower, vision_rotary
from pipeline.samples.fields import FIELDS
from pipeline.samples.questions import phrase

SMALL = SOURCES["small"].family


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    export(make_model(3), folder)
    return folder


class TestForward:
    def test_tower_is_the_stock_tower_on_the_processor_pixels(self, folder: Path) -> None:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        batch = page_batch(5, 2, SMALL, 6, 1)
        ours = merge(model.model.visual, run_tower(model.model.visual, batch.pixels, vision_rotary(448, 448)))
        processor = Processor(folder)
        for row in range(2):
            pixels, grid = processor.image(np.repeat(batch.pixels[row].numpy()[..., None], 3, axis=-1))
            with torch.no_grad():
                stock = model.model.visual(pixels, grid_thw=torch.tensor([[1, *grid]])).pooler_output
            torch.testing.assert_close(ours[row, raster_order(16, 16)], stock, rtol=1e-3, atol=1e-3)

    def test_questions_together_are_the_stock_model_on_each_alone(self) -> None:
        model = make_model(4).eval()
        rows, columns = 8, 12
        image = torch.randn(1, rows * columns, 256, generator=torch.Generator().manual_seed(0))
        batch = page_batch(6, 1, SMALL, 3, 1).questions
        figures = answer_losses(
            model.model.language_model,
            AnswerHeads(),
            image,
            type(batch)(
                **{
                    name: getattr(batch, name)
                    if name not in ("tags", "offsets", "starts", "pointer")
                    else torch.zeros((1, rows * columns), dtype=torch.long)
                    if name != "pointer"
                    else batch.pointer.clamp(max=rows * columns - 1)
                    for name in batch.__slots__
                }
            ),
            text_rotary(rows, columns, LENGTH, 0),
        )
        losses = []
        for question in range(3):
            ids = torch.tensor(
                [vocabulary.VISION_START, *[vocabulary.IMAGE] * (rows * columns), *batch.ids[0, question].tolist()]
            )
            slots = torch.arange(1, 1 + rows * columns)
            embedded = model.model.language_model.embed_tokens(ids)[None].clone()
            embedded[0, slots] = image[0]
            positions = rope_positions(len(ids), [slots], [(rows, columns)])[:, None]
            logits = model.lm_head(
                model.model.language_model(inputs_embeds=embedded, position_ids=positions).last_hidden_state
            )[0, 1 + rows * columns :]
            targets = batch.targets[0, question]
            losses.append(torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none"))
            wanted = targets >= 0
            assert bool(figures.exact[0, question]) == bool((logits.argmax(-1)[wanted] == targets[wanted]).all())
        wanted = batch.targets[0] >= 0
        torch.testing.assert_close(figures.answer, torch.stack(losses)[wanted].mean(), rtol=1e-4, atol=1e-4)


class TestTargets:
    def test_each_character_is_in_its_patch_its_cell_and_its_slot(self) -> None:
        # Two lines in the first cell, one character in the second, one outside.
        classes = np.array([5, 6, 7, 8, 9])
        x = np.array([3.0, 20.0, 2.0, 30.0, 999.0], np.float32)
        y = np.array([5.0, 5.0, 20.0, 5.0, 5.0], np.float32)
        found = character_targets(classes, x, y, 28, 56)
        assert found.cell[0, 0].tolist() == [5, 6, 7, 0, 0, 0, 0, 0]
        assert found.cell[0, 1].tolist() == [8, 0, 0, 0, 0, 0, 0, 0]
        assert found.patch[0, 0].tolist() == [5, 0, 0, 0]
        assert found.patch[0, 1].tolist() == [0, 6, 0, 0]
        assert found.patch[1, 0].tolist() == [7, 0, 0, 0]
        assert found.where.tolist() == [0, 0, 0, 1, -1]
        assert found.slot.tolist() == [0, 1, 2, 0, -1]

    def test_what_lies_on_a_border_is_not_insisted_on(self) -> None:
        classes = np.array([5, 6, 7])
        x, y = np.array([27.8, 10.0, 40.0], np.float32), np.array([14.0, 40.0, 27.3], np.float32)
        found = character_targets(classes, x, y, 84, 84)
        assert found.unsure.tolist() == [[True, True, False], [False, False, False], [False, False, False]]
        assert found.blurred.tolist() == [True, False, True]
        assert (found.cell[0, :2] == -100).all()
        assert found.cell[1, 0].tolist() == [6, 0, 0, 0, 0, 0, 0, 0]

    def test_a_space_gives_way(self) -> None:
        found = character_targets(
            np.array([5, 1]), np.array([1.0, 2.0], np.float32), np.array([1.0, 1.0], np.float32), 28, 28
        )
        assert found.patch[0, 0].tolist() == [5, 0, 0, 0]
        assert found.cell[0, 0, :3].tolist() == [5, 1, 0]

    def test_the_pointed_cells_spell_the_answer(self) -> None:
        batch = page_batch(7, 4, SMALL, 6, 1)
        asked = batch.questions
        rows, columns = 16, 16
        cells = batch.cell[:, raster_order(rows, columns)]
        spelled = 0
        for page, question, place in (asked.pointer >= 0).nonzero().tolist():
            cell = int(asked.pointer[page, question, place])
            slot = int(asked.slot[page, question, place])
            if slot >= 0 and int(cells[page, cell, slot]) >= 0:
                spelled += 1
                printed = CHARSET[int(cells[page, cell, slot]) - 1]
                assert printed == chr(int(asked.targets[page, question, place]))
        assert spelled > 60

    def test_same_seed_same_batch(self) -> None:
        one, other = page_batch(9, 2, SMALL, 4, 1), page_batch(9, 2, SMALL, 4, 1)
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.questions.ids, other.questions.ids)
        first, second = (text_batch(9, 2, 112, 224, recipe.FONTS) for _ in range(2))
        assert torch.equal(first.pixels, second.pixels)
        assert torch.equal(first.cell, second.cell)


class TestVocabulary:
    def test_the_tokenizer_makes_the_tokens_of_training(self, folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rng = random.Random(0)
        questions = [phrase(rng, field.key) for field in FIELDS for _ in range(20)]
        for text in [*questions, "What colour is it?", "Totals of 3 updates, total,tax", "Größe?"]:
            assert tokenizer(text, add_special_tokens=False)["input_ids"] == vocabulary.question_ids(text)
        assert tokenizer.decode(vocabulary.answer_ids("EUR 3.50 é"), skip_special_tokens=True) == "EUR 3.50 é"

    def test_the_prompt_is_image_first_line_and_answer_mark(self, folder: Path) -> None:
        ids = Processor(folder).prompt("What is the total?\nAnswer with a single word or phrase.", (4, 4)).tolist()
        expected = [vocabulary.VISION_START, *[vocabulary.IMAGE] * 4, vocabulary.VISION_END]
        assert ids == [*expected, *vocabulary.question_ids("What is the total?"), vocabulary.ANSWER]


class TestTraining:
    def test_muon_steps_are_orthogonal(self) -> None:
        matrix = torch.randn(2, 16, 48, generator=torch.Generator().manual_seed(0))
        spectrum = torch.linalg.svdvals(orthogonalise(matrix))
        assert float(spectrum.min()) > 0.5
        assert float(spectrum.max()) < 1.5

    def test_a_few_steps_lower_the_loss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recipe, "TEXT_CROPS", 2)
        monkeypatch.setattr(recipe, "WARM_UP", 2)
        monkeypatch.setattr(recipe, "DECAY", 2)
        task = NanoTask(0, torch.device("cpu"), (Phase(20, {"text": 1.0}),), compiled=False)
        losses: list[float] = []
        train(task, 0, lambda _, figures: bool(losses.append(figures["loss"])))
        assert sum(losses[-5:]) < 0.8 * sum(losses[:5])

    def test_a_step_on_pages_reaches_every_parameter(self) -> None:
        task = NanoTask(0, torch.device("cpu"), (Phase(1, {"small": 1.0}),), compiled=False)
        loss, figures = task.loss(0, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        silent = [n for n, p in task.module.named_parameters() if p.grad is None and "lm_head" not in n]
        assert silent == []
        assert set(figures) == {"answer", "exact", "tokens", "pointed", "page_read"}
