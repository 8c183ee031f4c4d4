from __future__ import annotations

from pathlib import Path

import pymupdf
import pytest

from pipeline.samples import Family, ask, make_sample
from pipeline.samples.fields import FIELD_OF_KEY
from pipeline.samples.write import pick_seeds, write_samples


@pytest.mark.parametrize("seed", range(0, 400, 37))
def test_the_same_seed_gives_the_same_bytes(seed: int) -> None:
    assert make_sample(seed).pdf() == make_sample(seed).pdf()


def test_different_seeds_differ() -> None:
    assert len({make_sample(seed).pdf() for seed in range(20)}) == 20


@pytest.mark.parametrize("seed", range(30))
def test_every_value_is_real_text_inside_its_box(seed: int) -> None:
    sample = make_sample(seed)
    with pymupdf.open(stream=sample.pdf()) as document:
        page = document[0]
        for field in sample.fields:
            box = field.value_box
            middle = (box.y0 + box.y1) / 2
            clip = pymupdf.Rect(box.x0 - 1, middle - 0.5, box.x1 + 1, middle + 0.5)
            assert page.get_textbox(clip).strip() == field.value
            assert 0 <= box.x0 < box.x1 <= sample.width_pt
            assert 0 <= box.y0 < box.y1 <= sample.height_pt


@pytest.mark.parametrize("seed", range(12))
def test_every_character_stands_where_the_pdf_says(seed: int) -> None:
    sample = make_sample(seed)
    with pymupdf.open(stream=sample.pdf()) as document:
        blocks = document[0].get_text("rawdict")["blocks"]
    printed = sorted(
        (c["c"], round((c["bbox"][0] + c["bbox"][2]) / 2, 1), round(c["origin"][1], 1))
        for b in blocks for line in b["lines"] for span in line["spans"] for c in span["chars"] if c["c"] != " "
    )  # fmt: skip
    ours = sorted(
        (c.char, round(c.x, 1), round(run.y, 1)) for run in sample.runs for c in run.characters() if c.char != " "
    )
    assert [c for c, _, _ in printed] == [c for c, _, _ in ours]
    assert all(abs(a[1] - b[1]) < 0.3 and abs(a[2] - b[2]) < 0.3 for a, b in zip(printed, ours, strict=True))


def test_runs_do_not_overlap() -> None:
    for seed in range(60):
        runs = make_sample(seed).runs
        for i, a in enumerate(runs):
            for b in runs[i + 1 :]:
                x = min(a.box.x1, b.box.x1) - max(a.box.x0, b.box.x0)
                y = min(a.box.y1, b.box.y1) - max(a.box.y0, b.box.y0)
                assert x <= 0 or y <= 1.5, (seed, a, b)


def test_questions_cover_the_fields_and_absent_ones() -> None:
    sample = make_sample(3)
    questions = ask(sample, 5, absent=2)
    assert questions == ask(sample, 5, absent=2)
    assert [(q.key, q.answer) for q in questions[:-2]] == [(f.key, f.value) for f in sample.fields]
    assert [q.answer for q in questions[-2:]] == ["n/a", "n/a"]
    assert not {q.key for q in questions[-2:]} & {f.key for f in sample.fields}
    for question in questions:
        assert any(way in question.text.lower() for way in FIELD_OF_KEY[question.key].asks)


def test_pages_hold_the_promised_number_of_cells() -> None:
    for seed in range(100):
        sample = make_sample(seed)
        assert 400 <= sample.width_pt * sample.height_pt / 196 <= 1300
        assert 8 <= len(sample.fields) <= 13


def test_an_impossible_family_is_refused() -> None:
    with pytest.raises(ValueError, match="no layout"):
        make_sample(0, Family(size_pt=(60, 60)))


def test_folder(tmp_path: Path) -> None:
    samples = write_samples(tmp_path, pick_seeds(1, 3))
    assert sorted(p.name for p in (tmp_path / "pdfs").iterdir()) == sorted(f"{s.seed:08d}.pdf" for s in samples)
    assert len((tmp_path / "truth.jsonl").read_text().splitlines()) == 3
    assert "Invoice" not in (tmp_path / "questions.yaml").read_text()
