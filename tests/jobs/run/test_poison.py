"""Whatever a page does to the process that reads it, the run ends by itself, and every other page is answered."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.run.job import run_job
from jobs.settings import RunSettings
from pipeline.questions.file import parse_questions
from tests.support.colours import GREEN, WHITE, make_pdf
from tests.support.poison import ENDS, FILLS, HANGS, load_poisoned

QUESTIONS = parse_questions("version: 1\nquestions: [{id: a, text: A}, {id: b, text: B, pages: '1-4'}]", "q.yaml")
PAGES = {
    "all.pdf": [WHITE, HANGS, WHITE, FILLS, GREEN, WHITE],
    "fills.pdf": [FILLS, WHITE, FILLS] + [WHITE] * 27,
    "sound.pdf": [WHITE] * 30,
}
"""Each document fills a bundle of its own. A page on which the process dies is tried in test_ray_engine.py."""


@pytest.mark.slow
def test_poisoned_pages_become_typed_rows_of_one_run(ray_session: None, tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, colours in PAGES.items():
        make_pdf(tmp_path / "in" / name, colours)
    run = RunSettings(
        input=(str(tmp_path / "in"),),
        questions="q.yaml",
        output=str(tmp_path / "out"),
        engine="ray",
        device="cpu",
        model=str(tiny_base),
        max_visual_tokens=16,
        max_failed_share=1.0,
        quiet=True,
    )
    began = time.monotonic()
    report = run_job(run, QUESTIONS, load=load_poisoned)
    assert time.monotonic() - began < 110
    rows = pq.read_table(tmp_path / "out" / "answers").to_pylist()
    assert len(rows) == report["counts"]["planned"] == sum(map(len, PAGES.values())) + 4 * len(PAGES)
    assert (report["exit_code"], report["counts"]["pending"]) == (0, 0)
    failures = pq.read_table(tmp_path / "out" / "failures").to_pylist()
    types = {(row["document"], row["page"]): row["error_type"] for row in failures}
    pages = {(name, number): colour for name, colours in PAGES.items() for number, colour in enumerate(colours, 1)}
    assert types == {page: ENDS[colour] for page, colour in pages.items() if colour in ENDS}
    assert {row["status"] for row in rows if (row["document"], row["page"]) not in types} == {"answered"}
    attempts = {(row["document"], row["page"]): row["attempts"] for row in failures}
    assert attempts == {
        ("all.pdf", 2): 4,  # the page that hangs has cost three actors
        ("all.pdf", 4): 3,
        ("all.pdf", 5): 3,
        ("fills.pdf", 1): 1,  # nothing ended
        ("fills.pdf", 3): 1,
    }
    assert not list((tmp_path / "out" / "inflight").iterdir())
