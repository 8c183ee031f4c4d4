"""The embedded model's training forward is the stock model's, and its targets say what is printed where."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from glimpseprune.families.qwen2_5_vl_rope import rope_positions
from glimpseprune.families.qwen2_5_vl_vision import run_tower as run_pipeline_tower
from glimpseprune.families.tower_attention import SDPA
from glimpseprune.training.trainer import load_checkpoint, save_checkpoint, train
from pipeline.families.qwen_vl_input import Processor
from pipeline.nano.training import recipe, shape, vocabulary
from pipeline.nano.training.draws import draw, draw_ahead, shown_first
from pipeline.nano.training.export import export
from pipeline.nano.training.fonts import fonts_installed
from pipeline.nano.training.hidden_last import hidden_last
from pipeline.nano.training.label_lists import draw_label
from pipeline.nano.training.language import AnswerHeads, answer_losses, text_rotary
from pipeline.nano.training.measure import measure
from pipeline.nano.training.muon import orthogonalise
from pipeline.nano.training.openings import open_looks, open_text
from pipeline.nano.training.pages import Asking, move_down, page_batch
from pipeline.nano.training.real_text import FOLDERS, HELD_OUT_FOLDERS, real_batch
from pipeline.nano.training.recipe import SOURCES, Phase
from pipeline.nano.training.shape import MAX_VISUAL_TOKENS, ROPE_STILL, ROPE_THETA, make_config, make_model
from pipeline.nano.training.targets import CHARSET, IGNORE, character_targets
from pipeline.nano.training.task import NanoTask
from pipeline.nano.training.text_pages import text_batch
from pipeline.nano.training.tower import merge, raster_order, run_tower, vision_rotary
from pipeline.nano.training.word_lists import training_words
from pipeline.samples import make_sample
from pipeline.samples.families import FAMILIES, HELD_OUT_FACES
from pipeline.samples.fields import FIELDS
from pipeline.samples.held_out_labels import HELD_OUT_LABELS
from pipeline.samples.held_out_words import HELD_OUT_WORDS
from pipeline.samples.questions import phrase

SMALL = SOURCES["small"].family
needs_fonts = pytest.mark.skipif(not fonts_installed(), reason="the fonts of training are not installed")
ASKING = Asking(6, 1, 176)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    export(make_model(3), folder)
    return folder


class TestForward:
    def test_tower_is_the_stock_tower_on_the_processor_pixels(self, folder: Path) -> None:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        batch = page_batch(5, 2, SMALL, ASKING)
        ours = merge(model.model.visual, run_tower(model.model.visual, batch.pixels, vision_rotary(448, 448)))
        processor = Processor(folder)
        for row in range(2):
            pixels, grid = processor.image(np.repeat(batch.pixels[row].numpy()[..., None], 3, axis=-1))
            with torch.no_grad():
                stock = model.model.visual(pixels, grid_thw=torch.tensor([[1, *grid]])).pooler_output
            torch.testing.assert_close(ours[row, raster_order(16, 16)], stock, rtol=1e-3, atol=1e-3)

    def test_pages_without_paper_are_the_pipeline_tower_on_the_visible_tokens(self, folder: Path) -> None:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        vision = model.model.visual
        batch = page_batch(5, 2, SMALL, ASKING, paper=False)
        assert batch.seen is not None
        ours = merge(vision, run_tower(vision, batch.pixels, vision_rotary(448, 448), batch.seen))
        ours = ours[:, raster_order(16, 16)]
        processor = Processor(folder)
        for row in range(2):
            cells = batch.seen[row].nonzero()[:, 0]
            assert 20 < len(cells) < 256
            image = np.repeat(batch.pixels[row].numpy()[..., None], 3, axis=-1)
            pixels, grid = processor.image(image)
            with torch.no_grad():
                theirs, _ = run_pipeline_tower(vision, pixels, (grid[0] // 2, grid[1] // 2), cells, (), SDPA)
            torch.testing.assert_close(ours[row, cells], theirs, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("paper", [True, False])
    def test_questions_together_are_the_stock_model_on_each_alone(self, paper: bool) -> None:
        model = make_model(4).eval()
        rows = columns = 16
        batch = page_batch(6, 2, SMALL, ASKING, paper)
        asked, count = batch.questions, rows * columns
        image = torch.randn(2, count, 256, generator=torch.Generator().manual_seed(0))
        inverse = model.model.language_model.rotary_emb.inv_freq
        shown, turns, seen = image, text_rotary(inverse, rows, columns, asked.offset, 0), batch.seen
        there = asked
        if seen is not None:
            shown, _, there, turns, seen = hidden_last(image, batch.cell, asked, turns, seen)
            assert shown.shape[1] == int(batch.seen.sum(1).max()) < count
        figures = answer_losses(model.model.language_model, AnswerHeads(), shown, there, turns, seen)
        losses, counted = [], 0
        for page in range(2):
            cells = torch.arange(count) if batch.seen is None else batch.seen[page].nonzero()[:, 0]
            for question in range(int(asked.number[page].max()) + 1):
                own = asked.number[page] == question
                ids = torch.tensor(
                    [vocabulary.VISION_START, *[vocabulary.IMAGE] * (rows * columns), *asked.ids[page, own].tolist()]
                )
                slots = torch.arange(1, 1 + rows * columns)
                positions = rope_positions(len(ids), [slots], [(rows, columns)])
                stays = torch.cat((torch.tensor([0]), 1 + cells, torch.arange(1 + rows * columns, len(ids))))
                embedded = model.model.language_model.embed_tokens(ids[stays])[None].clone()
                embedded[0, 1 : 1 + len(cells)] = image[page, cells]
                with torch.no_grad():
                    hidden = model.model.language_model(
                        inputs_embeds=embedded, position_ids=positions[:, None, stays]
                    ).last_hidden_state
                logits = model.lm_head(hidden)[0, 1 + len(cells) :]
                targets = asked.targets[page, own]
                losses.append(torch.nn.functional.cross_entropy(logits, targets, reduction="none")[targets >= 0])
                exact = bool((logits.argmax(-1)[targets >= 0] == targets[targets >= 0]).all())
                assert bool(figures.exact[page, question]) == exact
                counted += 1
        assert int(figures.counted.sum()) == counted
        torch.testing.assert_close(figures.answer, torch.cat(losses).mean(), rtol=1e-4, atol=1e-4)

    def test_the_exported_model_attends_as_the_trained_one(self, folder: Path) -> None:
        trained = make_model(3).eval()
        with torch.no_grad():
            for parameter in trained.parameters():  # the angles are no parameters
                parameter.copy_(parameter.to(torch.bfloat16))
        exported = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        assert "attention_factor" not in exported.config.text_config.rope_parameters
        assert exported.model.language_model.rotary_emb.attention_scaling == pytest.approx(2.0, abs=1e-5)
        ids = torch.randint(0, 250, (1, 60), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            torch.testing.assert_close(exported(ids).logits, trained(ids).logits, rtol=1e-3, atol=1e-3)

    def test_some_wavelengths_stand_still_wherever_a_page_ends(self) -> None:
        inverse = make_model(3).model.language_model.rotary_emb.inv_freq
        turned = inverse * 2 * MAX_VISUAL_TOKENS**0.5
        assert (turned[-ROPE_STILL:] < 0.35).all()
        torch.testing.assert_close(inverse[:-ROPE_STILL], 1 / ROPE_THETA ** (torch.arange(13) / 16))

    def test_the_configuration_is_one_that_other_readers_load(self) -> None:
        text = make_config().text_config
        sections = text.rope_parameters["mrope_section"]
        assert len(sections) == 3
        assert 2 * sum(sections) == text.hidden_size // text.num_attention_heads


class TestTargets:
    def test_each_character_is_in_its_patch_its_cell_and_its_slot(self) -> None:
        # Two lines in the first cell, one character in the second, one outside.
        classes = np.array([5, 6, 7, 8, 9])
        x = np.array([3.0, 20.0, 2.0, 30.0, 999.0], np.float32)
        y = np.array([5.0, 5.0, 20.0, 5.0, 5.0], np.float32)
        found = character_targets(classes, x, y, 28, 56)
        assert found.cell[0, 0].tolist() == [5, 6, 7, 0, 0, 0, 0, 0]
        assert found.cell[0, 1].tolist() == [8, 0, 0, 0, 0, 0, 0, 0]
        assert found.patch[0, 0].tolist() == [5, IGNORE, 0, 0]  # half a pixel from the next column
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

    @pytest.mark.parametrize("paper", [True, False])
    def test_the_pointed_cells_spell_the_answer(self, paper: bool) -> None:
        batch = page_batch(7, 4, SMALL, ASKING, paper)
        asked = batch.questions
        cells = batch.cell[:, raster_order(16, 16)]
        spelled = labels = 0
        for page, token in (asked.pointer >= 0).nonzero().tolist():
            cell, slot = int(asked.pointer[page, token]), int(asked.slot[page, token])
            if slot >= 0 and int(cells[page, cell, slot]) >= 0:
                spelled += 1
                printed = CHARSET[int(cells[page, cell, slot]) - 1]
                assert vocabulary.text_ids(printed) == [int(asked.ids[page, token + 1])]
        for page, token in (asked.label >= 0).nonzero().tolist():
            labels += 1
            assert int(asked.ids[page, token]) == vocabulary.ANSWER
            assert int(cells[page, int(asked.label[page, token]), 0]) != 0
        assert spelled > 60
        assert labels > 8

    def test_a_question_that_has_no_room_is_left_out(self) -> None:
        asked = page_batch(7, 4, SMALL, Asking(6, 1, 60)).questions
        assert 0 < int(asked.number.max()) < 5
        ends = (asked.ids == vocabulary.END).sum(1)
        assert torch.equal(ends, asked.number.max(1).values + 1)

    def test_same_seed_same_batch(self) -> None:
        one, other = page_batch(9, 2, SMALL, ASKING, False), page_batch(9, 2, SMALL, ASKING, False)
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.questions.ids, other.questions.ids)


class TestVocabulary:
    def test_the_tokenizer_makes_the_tokens_of_training(self, folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rng = random.Random(0)
        questions = [phrase(rng, field.asks) for field in FIELDS for _ in range(20)]
        others = ["What colour is it?", "Totals of 3 updates, total,tax", "Größe?", "N° – 1.234,56 €?", "Łódź ’s 漢 ‰"]
        for text in [*questions, *others, CHARSET]:
            assert tokenizer(text, add_special_tokens=False)["input_ids"] == vocabulary.question_ids(text)
        assert len(vocabulary.text_ids(CHARSET)) == len(set(vocabulary.text_ids(CHARSET))) == len(CHARSET)
        assert tokenizer.decode(vocabulary.answer_ids("EUR 3.50 é"), skip_special_tokens=True) == "EUR 3.50 é"

    def test_the_prompt_is_image_first_line_and_answer_mark(self, folder: Path) -> None:
        ids = Processor(folder).prompt("What is the total?\nAnswer with a single word or phrase.", (4, 4)).tolist()
        expected = [vocabulary.VISION_START, *[vocabulary.IMAGE] * 4, vocabulary.VISION_END]
        assert ids == [*expected, *vocabulary.question_ids("What is the total?"), vocabulary.ANSWER]


class TestDrawing:
    @needs_fonts
    def test_crops_are_full_of_characters_that_are_known(self) -> None:
        first, second = (text_batch(9, 2, 112, 224) for _ in range(2))
        assert torch.equal(first.pixels, second.pixels)
        assert torch.equal(first.cell, second.cell)
        assert int((first.patch > 1).sum()) > 100

    @pytest.mark.skipif(not any(Path("/usr/share/doc/octave").glob("*.pdf")), reason="the manuals are not installed")
    def test_crops_of_real_pages_come_from_other_packages_than_the_held_out_ones(self) -> None:
        first, second = (real_batch(3, 2, 224, 448) for _ in range(2))
        assert torch.equal(first.pixels, second.pixels)
        assert int((first.cell > 1).sum()) > 100
        assert not set(FOLDERS) & set(HELD_OUT_FOLDERS)

    def test_training_draws_no_held_out_word_or_label(self) -> None:
        words = training_words()
        for name in HELD_OUT_WORDS.__dataclass_fields__:
            assert not set(getattr(words, name)) & set(getattr(HELD_OUT_WORDS, name))
        assert len(words.first_names) > 10_000
        held_out = {label.lower() for label, _ in HELD_OUT_LABELS}
        rng = random.Random(0)
        assert not {draw_label(rng)[0].lower() for _ in range(3000)} & held_out

    @needs_fonts
    def test_training_draws_no_held_out_font(self) -> None:
        held_out = {font for face in HELD_OUT_FACES for font in face}
        assert not {font for face in open_looks().faces for font in face} & held_out
        families = [replace(SOURCES["page"].family, opening=opening) for opening in (open_text(), open_looks())]
        for seed, family in enumerate(families * 4):
            sample = make_sample(seed, family)
            assert {char for run in sample.runs for char in run.text} <= set(CHARSET)


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose vision tower has one block of each kind."""
    monkeypatch.setattr(shape, "VISION_DEPTH", 2)


class TestTraining:
    @pytest.mark.usefixtures("shallow")
    def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recipe, "OPENED", {"known": 1.0})
        monkeypatch.setitem(SOURCES, "small", replace(SOURCES["small"], pages=1))
        phases = (Phase(2, {"small": 1.0}),)
        whole = NanoTask(0, torch.device("cpu"), phases)
        train(whole, 0, lambda *_: False)
        stopped = NanoTask(0, torch.device("cpu"), phases)
        train(stopped, 0, lambda step, _: step == 1)
        save_checkpoint(tmp_path / "checkpoint.pt", stopped, 1)
        resumed = NanoTask(0, torch.device("cpu"), phases)
        train(resumed, load_checkpoint(tmp_path / "checkpoint.pt", resumed), lambda *_: False)
        for name, value in whole.module.state_dict().items():
            assert torch.equal(value, resumed.module.state_dict()[name]), name

    def test_batches_that_other_processes_draw_are_those_of_their_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recipe, "OPENED", {"known": 1.0})
        monkeypatch.setitem(SOURCES, "small", replace(SOURCES["small"], pages=1))
        phases = (Phase(3, {"small": 1.0}), Phase(2, {"small": 1.0}, batch=2, worn=1.0))
        monkeypatch.setattr(recipe, "APART", 1)
        ahead = list(draw_ahead(0, phases, range(1, 5), 0, 2, repeats=2))
        first = [shown_first(step, 2) for step in range(1, 5)]
        assert first == [1, 2, 0, 4]
        assert [len(drawn.batch.pixels) for drawn in ahead] == [1, 1, 1, 2]
        for step, drawn in zip(first, ahead, strict=True):
            alone = draw(0, phases, step, 0)
            assert (drawn.source, drawn.shift) == (alone.source, alone.shift)
            assert torch.equal(drawn.batch.pixels, alone.batch.pixels)
            assert torch.equal(drawn.batch.cell, alone.batch.cell)

    def test_batches_are_shown_as_often_as_the_recipe_says_and_far_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recipe, "APART", 10)
        shown: dict[int, list[int]] = {}
        for step in range(300):
            shown.setdefault(shown_first(step, 3), []).append(step)
        assert all(number == steps[0] for number, steps in shown.items())
        for number in range(60, 200, 3):
            assert np.diff(shown[number]).tolist() == [31, 31]
        assert [shown_first(step, 1) for step in range(50)] == list(range(50))

    def test_rates_follow_the_phases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recipe, "WARM_UP", 2)
        phases = (Phase(3, {"small": 1.0}, rate=2.0), Phase(4, {"small": 1.0}, rate=1.0, last_rate=0.0))
        task = NanoTask(0, torch.device("cpu"), phases)
        assert [task.rate(step) for step in range(7)] == [1.0, 2.0, 2.0, 1.0, 0.75, 0.5, 0.25]
        with pytest.raises(ValueError, match="the recipe has 7 steps, asked for step 7"):
            task.rate(7)

    def test_what_is_moved_down_is_learnt_where_it_stands(self) -> None:
        sample = make_sample(3, SOURCES["a4"].family)
        moved = [move_down(random.Random(seed), sample) for seed in range(20)]
        by = {round(page.runs[0].y - sample.runs[0].y, 6) for page in moved}
        assert 0.0 in by
        assert len(by) > 5
        for page in moved:
            steps = {round(a.y - b.y, 6) for a, b in zip(page.runs, sample.runs, strict=True)}
            steps |= {round(a.box.y0 - b.box.y0, 6) for a, b in zip(page.shapes, sample.shapes, strict=True)}
            assert len(steps) == 1
            assert max(run.box.y1 for run in page.runs) <= page.height_pt

    @pytest.mark.usefixtures("shallow")
    def test_a_checkpoint_is_measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pipeline.nano.training.measure._BATCH", 1)
        task = NanoTask(0, torch.device("cpu"), ())
        figures = measure(task, FAMILIES["labels"], 1, 2, paper=False)
        assert figures["questions"] > 10
        assert 0 <= figures["n/a"] <= 1

    def test_muon_steps_are_orthogonal(self) -> None:
        matrix = torch.randn(2, 16, 48, generator=torch.Generator().manual_seed(0))
        spectrum = torch.linalg.svdvals(orthogonalise(matrix))
        assert float(spectrum.min()) > 0.5
        assert float(spectrum.max()) < 1.5

    @needs_fonts
    @pytest.mark.usefixtures("shallow")
    def test_a_few_steps_lower_the_loss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recipe, "TEXT_CROPS", 2)
        monkeypatch.setattr(recipe, "TEXT_WIDTH", 224)
        monkeypatch.setattr(recipe, "WARM_UP", 2)
        task = NanoTask(0, torch.device("cpu"), (Phase(8, {"text": 1.0}),))
        losses: list[float] = []
        train(task, 0, lambda _, figures: bool(losses.append(figures["loss"])))
        assert sum(losses[-3:]) < 0.9 * sum(losses[:3]), losses

    def test_a_step_on_pages_reaches_every_parameter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recipe, "OPENED", {"known": 1.0})
        monkeypatch.setitem(SOURCES, "small", replace(SOURCES["small"], pages=2))
        task = NanoTask(0, torch.device("cpu"), (Phase(1, {"small": 1.0}),))
        loss, figures = task.loss(0, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        silent = [n for n, p in task.module.named_parameters() if p.grad is None and "lm_head" not in n]
        assert silent == []
        assert set(figures) == {f"small_{name}" for name in ("answer", "exact", "tokens", "pointed", "read")}
