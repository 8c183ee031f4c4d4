"""Data sets with known answers, and the figures an evaluation gives."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.commands.evaluate import parse_modes
from pipeline.datasets.example import Region, by_page, coverage, covered_cells
from pipeline.datasets.load import load_examples
from pipeline.datasets.visual_cot_benchmark import ASKS_FOR_BOX
from pipeline.errors import OutputError, UsageError
from pipeline.evaluation.evaluate import Measured
from pipeline.evaluation.further_tables import confidence_scores, confidence_table, question_table
from pipeline.evaluation.metrics import anls, exact_match, value_equal
from pipeline.evaluation.score_table import scores, table, write_rows
from pipeline.questions.values import Reading
from pipeline.records import OtherAnswer
from pipeline.samples import Family
from pipeline.samples.write import write_samples
from tests.support.measured import measured

_TURNS = (f"<image>\nWho is the dealer ? {ASKS_FOR_BOX}", "[0.148, 0.181, 0.298, 0.508]", "<image>", "A. C. Monk")
_TRUTH = '{"document": "a.pdf", "width_pt": 100, "height_pt": 100, "questions": [{"key": "a"}]}'
_NO_ANSWERS = r"entry 0: answers: expected at least one entry, found \[\]; DocVQA has it so, and answers only in"


def _boxed(box: str) -> str:
    return _TRUTH.replace('"key": "a"', f'"key": "a", "text": "A?", "answer": "1", "box": {box}')


_BENCHMARK_ROW = json.dumps(
    [
        {
            "dataset": "docvqa",
            "split": "val",
            "question_id": 7,
            "image": ["cot/docvqa/a.png", "cot/docvqa/a.png###[1, 2, 3, 4]"],
            "conversations": [{"from": ("human", "gpt")[i % 2], "value": turn} for i, turn in enumerate(_TURNS)],
        }
    ]
)


class TestMetrics:
    @pytest.mark.parametrize(
        ("answer", "gold", "expected"),
        [
            ("Lisbon", ["Lisbon"], 1.0),
            (" lisbon ", ["Porto", "Lisbon"], 1.0),
            ("Lisban", ["Lisbon"], 1 - 1 / 6),
            ("Lis", ["Lisbon"], 0.0),  # half of it is wrong: not less than the threshold
            ("Lisb", ["Lisbon"], 1 - 2 / 6),
            ("", ["Lisbon"], 0.0),
        ],
    )
    def test_anls(self, answer: str, gold: list[str], expected: float) -> None:
        assert anls(answer, gold) == pytest.approx(expected)

    def test_exact_match_is_exact(self) -> None:
        assert exact_match("EUR 5.00 ", ["5.00", "EUR 5.00"])
        assert not exact_match("eur 5.00", ["EUR 5.00"])

    @pytest.mark.parametrize(
        ("answer", "gold", "reading", "equal"),
        [
            ("EUR 1,250.00", "€ 1250.00", Reading("money"), True),
            ("EUR 1,250.00", "USD 1,250.00", Reading("money"), False),
            ("EUR 1,250.00", "€ 1250.00", Reading(), False),
            ("2024-05-18", "18 May 2024", Reading("date"), True),
            ("03/04/2024", "03/04/2024", Reading("date"), True),
            ("03/04/2024", "04/03/2024", Reading("date"), False),
            ("03/04/2024", "2024-04-03", Reading("date"), False),  # it may mean another day
            ("03/04/2024", "2024-04-03", Reading("date", "en_GB"), True),
            ("'Lisbon'.", "Lisbon", Reading(), True),
            ("lisbon", "Lisbon", Reading(), False),
            ("N/A.", "n/a", Reading("date"), True),
            ("n/a", "2024-05-18", Reading("date"), False),
            ("2024-05-18", "n/a", Reading("date"), False),
            ("not a date", "neither", Reading("date"), False),
        ],
    )
    def test_values_are_equal_under_the_type_of_the_question(
        self, answer: str, gold: str, reading: Reading, equal: bool
    ) -> None:
        assert value_equal(answer, ["something else", gold], reading) == equal


class TestRegions:
    def test_a_region_over_four_cells(self) -> None:
        region = Region(0.25, 0.25, 0.75, 0.75)
        assert covered_cells([region], 2, 2).all()
        keep = np.array([True, False, False, False])
        assert coverage(region, keep, 2, 2) == pytest.approx(0.25)
        assert coverage(region, ~keep, 2, 2) == pytest.approx(0.75)

    def test_a_region_inside_one_cell_of_a_long_grid(self) -> None:
        cells = covered_cells([Region(0.51, 0.1, 0.59, 0.2)], 1, 10)
        assert cells.nonzero()[0].tolist() == [5]

    def test_uneven_shares(self) -> None:
        region = Region(0.4, 0.0, 0.6, 1.0)
        assert coverage(region, np.array([True, False]), 1, 2) == pytest.approx(0.5)
        assert coverage(Region(0.4, 0.0, 0.9, 1.0), np.array([True, False]), 1, 2) == pytest.approx(0.2)

    def test_a_point_and_a_region_beyond_the_page(self) -> None:
        assert covered_cells([Region(1.0, 1.0, 1.0, 1.0)], 3, 3).nonzero()[0].tolist() == [8]
        assert coverage(Region(-1.0, -1.0, 2.0, 2.0), np.ones(9, bool), 3, 3) == pytest.approx(1.0)

    def test_no_region_covers_nothing(self) -> None:
        assert not covered_cells([], 2, 3).any()


class TestLoading:
    def test_samples(self, tmp_path: Path) -> None:
        made = write_samples(tmp_path, [4, 5], Family(min_fields=8, max_fields=8))
        examples = load_examples(tmp_path)
        first = [e for e in examples if e.document.name == "00000004.pdf"]
        assert [len(group) for group in by_page(examples)] == [10, 10]
        assert sum(e.answerable for e in first) == 8
        for field in made[0].fields:
            example = next(e for e in first if e.question_id == field.key)
            assert example.answers == (field.value,)
            assert example.type == {"date": "date", "total": "money", "tax": "money"}.get(field.key, example.type)
            assert example.regions[0].x0 == pytest.approx(field.value_box.x0 / made[0].width_pt)
        assert all(e.answers == ("n/a",) and not e.regions for e in first if not e.answerable)
        assert {example.type for example in examples} == {"text", "date", "money"}

    def test_visual_cot(self, tmp_path: Path) -> None:
        (tmp_path / "cot" / "gqa").mkdir(parents=True)
        Image.new("RGB", (200, 100)).save(tmp_path / "cot" / "gqa" / "a.jpg")
        row = {"question": "Which?", "answer": "red", "image": "a.jpg", "dataset": "gqa", "bboxs": [[20, 10, 120, 60]]}
        path = tmp_path / "train.jsonl"
        path.write_text(json.dumps(row) + "\n\n" + json.dumps({**row, "possible_answers": ["red", "crimson"]}) + "\n")
        first, second = load_examples(path)
        assert first.regions == (Region(0.1, 0.1, 0.6, 0.6),)
        assert first.answers == ("red",)
        assert second.answers == ("red", "crimson")
        assert first.document == tmp_path / "cot" / "gqa" / "a.jpg"

    def test_docvqa(self, tmp_path: Path) -> None:
        (tmp_path / "documents").mkdir()
        Image.new("L", (8, 8)).save(tmp_path / "documents" / "x.png")
        rows = [{"questionId": 7, "question": "Who?", "image": "documents/x.png", "answers": ["A", "B"], "docId": 1}]
        path = tmp_path / "val.json"
        path.write_text(json.dumps({"dataset_name": "docvqa", "data": rows}))
        (example,) = load_examples(path)
        assert (example.question_id, example.answers, example.regions) == ("7", ("A", "B"), ())

    @pytest.mark.parametrize("below", ["cot/docvqa", "cot/docvqa/val"])
    def test_visual_cots_benchmark(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "datas" / below).mkdir(parents=True)
        Image.new("RGB", (10, 20)).save(tmp_path / "datas" / below / "a.png")
        path = tmp_path / "docvqa.json"
        path.write_text(_BENCHMARK_ROW)
        (example,) = load_examples(path, tmp_path / "datas")
        assert (example.question_id, example.question, example.answers) == ("7", "Who is the dealer ?", ("A. C. Monk",))
        assert example.regions == (Region(0.1, 0.1, 0.3, 0.2),)
        assert example.document == tmp_path / "datas" / below / "a.png"

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("a.jsonl", '{"question": "x"}', "line 1: answer: expected a value, found nothing; Visual-CoT has it so"),
            ("a.jsonl", "[]", r"line 1: expected an object, found \[\]; Visual-CoT"),
            ("a.jsonl", '{"question": "x", "answer": "y", "image": "gone.jpg"}', "--images"),
            ("a.jsonl", "{", "line 1: not valid JSON at column 2: .*; expected one object per line"),
            ("a.json", "1", "DocVQA"),
            ("a.json", '{"data": 1}', "expected the layout of DocVQA, an object with a list"),
            ("a.json", "{", "expected JSON"),
            (
                "a.json",
                '[{"question_id": 0}]',
                "entry 0: expected the layout of Visual-CoT's benchmark: image",
            ),
            ("a.json", _BENCHMARK_ROW.replace("[1, 2, 3, 4]", "none"), "entry 0: expected the layout"),
            ("a.json", _BENCHMARK_ROW.replace("[1, 2, 3, 4]", "[1, 2]"), "entry 0: expected the layout"),
            ("a.json", _BENCHMARK_ROW, "image cot/docvqa/a.png is not in .*--images"),
            ("a.json", '{"data": [{"question": "x", "image": "y", "answers": [], "questionId": 1}]}', _NO_ANSWERS),
            (
                "a.json",
                '{"data": [{"question": "x", "image": "y", "answers": ["a"]}]}',
                "entry 0: questionId: expected a",
            ),
            (
                "truth.jsonl",
                _TRUTH,
                "line 1: questions.0.text: expected a value, found nothing; docpipe samples writes",
            ),
            ("truth.jsonl", _TRUTH.replace("key", "text"), "line 1: questions.0.key: expected a value, found nothing"),
            ("truth.jsonl", _TRUTH.replace("100", "0"), "line 1: width_pt: expected greater than 0, found 0"),
            (
                "truth.jsonl",
                _boxed('{"x0": 1, "y0": 2, "x1": 3}'),
                "line 1: questions.0.box.y1: expected a value, found",
            ),
            (
                "truth.jsonl",
                _boxed("[1, 2, 3, 4]"),
                r"line 1: questions.0.box: expected an object, found \[1, 2",
            ),
            ("truth.jsonl", _boxed('{"x0": NaN}'), "line 1: questions.0.box.x0: expected a number, found nan"),
            ("a.txt", "", "docpipe samples"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path: Path, name: str, text: str, said: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match=said) as caught:
            load_examples(tmp_path if name == "truth.jsonl" else tmp_path / name)
        assert "pydantic" not in str(caught.value)


def _row(mode: str, exact: bool, kept: int, covered: float | None, answerable: bool = True) -> Measured:
    return measured(
        mode=mode,
        exact=exact,
        value_equal=exact,
        anls=float(exact),
        answerable=answerable,
        kept_tokens=kept,
        retention=kept / 100,
        box_coverage=covered,
        pointed=None if covered is None else covered > 0.5,
        iou=covered,
    )


def test_scores_of_each_mode(tmp_path: Path) -> None:
    rows = [
        _row("off", True, 100, 1.0),
        _row("glimpse", True, 10, 0.95),
        _row("glimpse", False, 20, 0.5),
        _row("glimpse", True, 30, None, answerable=False),
    ]
    off, glimpse = scores(rows)
    assert (off.mode, off.exact, off.retention_mean, off.absent_exact) == ("off", 1.0, 1.0, None)
    assert glimpse.exact == pytest.approx(2 / 3)
    assert glimpse.absent_exact == 1.0
    assert (glimpse.retention_mean, glimpse.retention_p50) == (pytest.approx(0.2), 0.2)
    assert glimpse.boxes_covered == 0.5
    write_rows(rows, tmp_path / "new" / "eval.parquet")
    assert pq.read_table(tmp_path / "new" / "eval.parquet").column("mode").to_pylist() == ["off"] + ["glimpse"] * 3
    shares = ["1.000", "1.000", "1.000", "-", "100.0%", "100.0%", "100.0%", "100.0%", "1.000", "1.000", "-"]
    assert table(scores(rows)).splitlines()[1].split() == ["off", "1", *shares]
    assert (glimpse.pointed, glimpse.iou) == (0.5, pytest.approx((0.95 + 0.5) / 2))


def test_the_confidence_of_each_mode_is_told_or_what_the_model_says() -> None:
    raw = [measured(confidence_raw=0.9), measured(confidence_raw=0.2, value_equal=False)]
    sure = [measured(mode="glimpse", confidence=0.9), measured(mode="glimpse", confidence=0.8, value_equal=False)]
    off, glimpse = confidence_scores([*raw, *sure])
    assert (off.ranked_by, off.auroc, off.coverage, off.calibration_error) == ("confidence_raw", 1.0, (0.5, 0.5), None)
    assert (glimpse.ranked_by, glimpse.answers, glimpse.calibration_error) == ("confidence", 2, pytest.approx(0.45))
    lines = confidence_table([off, glimpse]).splitlines()
    assert lines[0].endswith("coverage at 1% error  coverage at 5% error  ECE")
    assert lines[1].split() == ["off", "confidence_raw", "1.000", "0.250", "0.500", "0.500", "-"]


def test_each_question_has_its_figures() -> None:
    rows = [measured(question_id="a", confidence=0.5), measured(question_id="b", exact=False, pointed=True, iou=0.5)]
    assert [line.split() for line in question_table(rows).splitlines()[1:]] == [
        ["a", "off", "1", "1.000", "1.000", "0.500", "-", "-"],
        ["b", "off", "1", "0.000", "1.000", "-", "1.000", "0.500"],
    ]


def test_what_is_asked_again_is_counted_where_the_answer_became_right_or_wrong(tmp_path: Path) -> None:
    again = [
        dataclasses.replace(_row("glimpse", exact, 10, None), fallback="floor", pruned_answer="y", pruned_exact=before)
        for before, exact in ((False, True), (False, False), (True, False), (True, True), (False, True))
    ]
    rows = [*again, _row("glimpse", True, 10, None), _row("off", True, 100, None)]
    off, glimpse = scores(rows)
    assert (off.asked_again, off.rescued, off.harmed) == (0, 0, 0)
    assert (glimpse.asked_again, glimpse.rescued, glimpse.harmed) == (5, 2, 1)
    last = "glimpse: 5 asked again without pruning, 2 rescued, 1 harmed"
    assert table(scores(rows)).splitlines()[-1] == last
    assert len(table([off]).splitlines()) == 2
    write_rows(rows, tmp_path / "eval.parquet")
    assert pq.read_table(tmp_path / "eval.parquet").column("pruned_answer").to_pylist() == ["y"] * 5 + [None] * 2


def test_what_was_looked_at_again_is_counted_where_the_answer_became_right_or_wrong(tmp_path: Path) -> None:
    again = [
        dataclasses.replace(_row("off", exact, 10, None), other_answers=(OtherAnswer("y", 0.5, 1),), first_exact=before)
        for before, exact in ((False, True), (False, False), (True, False), (True, True), (False, True))
    ]
    rows = [*again, _row("off", True, 10, None)]
    (off,) = scores(rows)
    assert (off.looked_again, off.look_rescued, off.look_harmed) == (5, 2, 1)
    assert table([off]).splitlines()[-1] == "off: 5 asked again at another size, 2 rescued, 1 harmed"
    write_rows(rows, tmp_path / "eval.parquet")
    found = pq.read_table(tmp_path / "eval.parquet")
    assert found.column("other_answers").to_pylist() == [[{"answer": "y", "confidence_raw": 0.5, "look": 1}]] * 5 + [
        None
    ]
    assert found.column("first_exact").to_pylist() == [False, False, True, True, False, None]


def test_a_disk_that_is_full_leaves_the_rows_of_the_last_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(rows: object, file: Path, **_: object) -> None:
        file.write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "eval.parquet"
    write_rows([measured()], out)
    before = out.read_bytes()
    monkeypatch.setattr(pq, "write_table", write_half)
    with pytest.raises(OutputError, match=r"eval\.parquet.*No space left"):
        write_rows([measured(), measured()], out)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {out: before}


def test_random_needs_glimpse() -> None:
    assert parse_modes("random, glimpse") == ("glimpse", "random")
    with pytest.raises(UsageError, match="name glimpse too"):
        parse_modes("off,random")
    with pytest.raises(UsageError, match="expected some of"):
        parse_modes("of")
