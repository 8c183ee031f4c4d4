"""``docpipe eval``: other methods at equal retention, and benchmarks by their own metrics, on a tiny model."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pymupdf
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.commands.evaluate import EvalSettings, evaluate, parse_modes, parse_shares
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.errors import UsageError
from pipeline.evaluation.modes import MODES, Mode
from pipeline.evaluation.score_table import scores, table
from pipeline.records import PageImage
from pipeline.samples import Family
from pipeline.samples.write import write_samples
from pipeline.words import Words

SHARES = (0.1, 0.5)
PRUNED = tuple(mode for mode in MODES if mode != "ocr")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    write_samples(folder, [4], Family(min_fields=1, max_fields=1, size_pt=(140.0, 112.0), table=0.0, free_text=0.0))
    return folder


class TextLayer:
    """Stands for OCR that reads what the text layer says."""

    def words(self, page: PageImage) -> Words | None:
        return page.words


def rows_of(
    pages: Path,
    base: Path,
    addon: Path | None,
    compare: tuple[Mode, ...],
    keep: tuple[float, ...],
    prompt: str | None = None,
    look_again: float | None = None,
) -> Any:
    settings = EvalSettings.model_validate(
        {
            "data": str(pages),
            "out": pages / "eval.parquet",
            "compare": compare,
            "keep": keep,
            "model": str(base),
            "glimpse": None if addon is None else str(addon),
            "dtype": "float32",
            "dpi": 144,
            "max_new_tokens": 3,
            "prompt": prompt,
            "look_again": look_again,
            "quiet": True,
        }
    )
    return evaluate(settings)


def test_every_mode_keeps_the_share_that_is_asked_for(pages: Path, tiny_base: Path, tiny_addon: Path) -> None:
    rows = rows_of(pages, tiny_base, tiny_addon, PRUNED, SHARES)
    found = {(score.mode, score.keep_share): score for score in scores(rows)}
    assert [way for way in found if way[0] in ("off", "glimpse")] == [
        ("off", None), ("glimpse", None), ("glimpse", 0.1), ("glimpse", 0.5)]  # fmt: skip
    others = [mode for mode in PRUNED if mode not in ("off", "glimpse")]
    assert [way for way in found if way[0] in others] == [(mode, share) for mode in others for share in SHARES]
    total = rows[0].visual_tokens
    for (mode, share), score in found.items():
        if mode not in ("off", "glimpse"):
            assert share is not None
            assert score.retention_mean == pytest.approx(int(share * total) / total)
            assert score.retention_p50 == score.retention_p95
    capped = [row.retention for row in rows if (row.mode, row.keep_share) == ("glimpse", 0.1)]
    assert len(capped) == 3
    assert max(capped) <= 0.1
    written = pq.read_table(pages / "eval.parquet")
    assert written.column("keep_share").to_pylist() == [row.keep_share for row in rows]
    lines = [line.split("  ")[0] for line in table(scores(rows)).splitlines()[1:]]
    assert lines[:4] == ["off", "glimpse", "glimpse <=10.0%", "glimpse <=50.0%"]
    assert "divprune =10.0%" in lines


def test_without_shares_every_mode_keeps_as_many_as_glimpse(pages: Path, tiny_base: Path, tiny_addon: Path) -> None:
    rows = rows_of(pages, tiny_base, tiny_addon, ("glimpse", "random", "grid", "divprune", "pyramiddrop"), ())
    kept = {mode: [row.kept_tokens for row in rows if row.mode == mode] for mode in {row.mode for row in rows}}
    assert len(kept) == 5
    assert all(np.array_equal(counts, kept["glimpse"]) for counts in kept.values())
    assert all(row.keep_share is None for row in rows)


def test_pages_are_looked_at_again_but_not_beside_methods_that_cannot(
    pages: Path, tiny_base: Path, tiny_addon: Path
) -> None:
    modes: tuple[Mode, ...] = ("off", "glimpse", "random")
    rows = rows_of(pages, tiny_base, tiny_addon, modes, (), look_again=1.0)
    assert [row.mode for row in rows if row.other_answers is not None] == ["off"] * 3 + ["glimpse"] * 3
    kept = {mode: [row.retention for row in rows if row.mode == mode] for mode in modes}
    assert kept["random"] == pytest.approx(kept["glimpse"], abs=0.5 / min(row.visual_tokens or 0 for row in rows))
    with pytest.raises(UsageError, match="--compare grid looks at a page once; leave --look-again 0.5 out"):
        rows_of(pages, tiny_base, tiny_addon, ("off", "grid"), (0.5,), look_again=0.5)


def test_pruning_needs_an_add_on(pages: Path, tiny_base: Path) -> None:
    with pytest.raises(UsageError, match="--compare divprune needs an add-on"):
        rows_of(pages, tiny_base, None, ("divprune",), (0.1,))


def test_ocr_answers_beside_the_model(pages: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.pages.ocr.OcrReader", TextLayer)
    rows = rows_of(pages, tiny_base, None, ("off", "ocr"), ())
    own = [row for row in rows if row.mode == "ocr"]
    assert [row.question_id for row in rows if row.mode == "off"] == [row.question_id for row in own]
    assert [row.exact for row in own if row.answerable] == [True]
    assert all(row.page_ms is not None for row in rows)
    written = pq.read_table(pages / "eval.parquet").filter(pc.field("mode") == "ocr")
    assert written.column("retention").null_count == len(own) == 3


def test_every_word_of_a_prompt_reaches_a_model_whose_template_takes_it(
    pages: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    prepare = PageAnswerer.prepare

    def noting(answerer: PageAnswerer, *given: Any) -> Any:
        prepared = prepare(answerer, *given)
        seen.append(answerer.processor.text(prepared.prompts[0]))
        return prepared

    monkeypatch.setattr(PageAnswerer, "prepare", noting)
    brief = "Answer with a single word or phrase."
    for prompt in (f"{{text}}\n{brief}", "{text}"):
        rows_of(pages, tiny_base, None, ("off",), (), prompt)
    told, bare = seen
    assert brief in told
    assert told.replace(f"\n{brief}", "") == bare


def test_what_is_compared_and_kept_is_read() -> None:
    assert parse_shares(None) == ()
    assert parse_shares("0.5, .111,") == (0.5, 0.111)
    with pytest.raises(UsageError, match=r"--keep half: expected shares in 0..1"):
        parse_shares("half")
    assert parse_modes("fastv,off", (0.5,)) == ("off", "fastv")
    assert parse_modes("ocr") == ("ocr",)
    with pytest.raises(UsageError, match="--compare fastv keeps as many tokens as glimpse does; .*--keep"):
        parse_modes("off,fastv")


def test_a_share_beyond_its_range_is_refused(pages: Path) -> None:
    given = ["eval", "--data", str(pages), "--out", str(pages / "e.parquet"), "--keep", "1.5"]
    outcome = CliRunner().invoke(app, given)
    assert outcome.exit_code == 2
    assert "--keep" in outcome.output


def docvqa(root: Path) -> None:
    (root / "documents").mkdir(parents=True)
    Image.new("RGB", (112, 112), "white").save(root / "documents" / "a.png")
    rows = [
        {"questionId": number, "question": word, "image": "documents/a.png", "answers": ["no such answer"]}
        for number, word in ((5, "Who?"), (6, "Where?"))
    ]
    (root / "val_v1.0.json").write_text(json.dumps({"data": rows}))


def invoke(*words: str) -> str:
    outcome = CliRunner().invoke(app, ["eval", "--quiet", "--dtype", "float32", "--max-new-tokens", "3", *words])
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_a_benchmark_is_scored_and_written_per_mode(tmp_path: Path, tiny_base: Path, tiny_addon: Path) -> None:
    docvqa(tmp_path / "docvqa")
    out = tmp_path / "out" / "e.parquet"
    said = invoke(
        *("--data", str(tmp_path / "docvqa"), "--benchmark", "docvqa", "--out", str(out)),
        *("--model", str(tiny_base), "--glimpse", str(tiny_addon), "--compare", "off,grid", "--keep", "0.25"),
    )
    lines = [line.split() for line in said.splitlines()]
    assert lines[0] == ["mode", "questions", "kept", "ANLS"]
    assert lines[1] == ["off", "2", "100.0%", "0.000"]
    assert lines[2] == ["grid", "=25.0%", "2", "25.0%", "0.000"]
    rows = pq.read_table(out).to_pylist()
    assert [row["question"] for row in rows if row["mode"] == "off"] == ["Who?", "Where?"]
    for name, mode in (("e-off.json", "off"), ("e-grid-0.25.json", "grid")):
        assert json.loads((out.parent / name).read_text()) == [
            {"questionId": 5 + i, "answer": row["answer"]}
            for i, row in enumerate(row for row in rows if row["mode"] == mode)
        ]
        assert str(out.parent / name) in said


def test_a_split_without_answers_is_answered_and_not_scored(tmp_path: Path, tiny_base: Path) -> None:
    docvqa(tmp_path)
    rows = json.loads((tmp_path / "val_v1.0.json").read_text())["data"]
    for row in rows:
        del row["answers"]
    (tmp_path / "test_v1.0.json").write_text(json.dumps({"data": rows}))
    given = ("--data", str(tmp_path / "test_v1.0.json"), "--benchmark", "docvqa", "--out", str(tmp_path / "e.parquet"))
    said = invoke(*given, "--model", str(tiny_base), "--compare", "off")
    assert [line.split() for line in said.splitlines()[:2]] == [["mode", "questions", "kept"], ["off", "2", "100.0%"]]
    assert len(json.loads((tmp_path / "e-off.json").read_text())) == 2


def test_every_page_of_a_pdf_is_asked(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "dev-0").mkdir()
    with pymupdf.open() as document:
        for _ in range(3):
            document.new_page(width=56, height=56)
        document.save(tmp_path / "documents" / "a.pdf")
    with lzma.open(tmp_path / "dev-0" / "in.tsv.xz", "wt") as file:
        file.write("a.pdf\tparty\tx\tx\tx\tx\n")
    (tmp_path / "dev-0" / "expected.tsv").write_text("party=A\n")
    given = ("--data", str(tmp_path), "--benchmark", "kleister-nda", "--out", str(tmp_path / "e.parquet"))
    said = invoke(*given, "--model", str(tiny_base), "--compare", "off")
    assert said.splitlines()[1].split() == ["off", "1", "100.0%", "0.000", "0.000", "0.000", "0.000"]
    assert [row["page"] for row in pq.read_table(tmp_path / "e.parquet").to_pylist()] == [1, 2, 3]
    assert (tmp_path / "e-off.tsv").read_text().startswith("party=")


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    docvqa(tmp_path)
    given = ["eval", "--data", str(tmp_path), "--out", str(tmp_path / "e.parquet")]
    for words, said in (
        (["--benchmark", "chartqa"], "--benchmark chartqa: expected one of docvqa"),
        (["--benchmark", "docvqa", "--images", str(tmp_path)], "--images has no effect with --benchmark"),
        (["--benchmark", "gqa"], "get it from https://cs.stanford.edu"),
    ):
        outcome = CliRunner().invoke(app, [*given, *words])
        assert outcome.exit_code == 2
        assert said in outcome.output


@pytest.mark.parametrize("truth", ["", '{"document": "a.pdf", "width_pt": 9, "height_pt": 9, "questions": []}\n'])
def test_data_without_questions_are_refused(tmp_path: Path, tiny_base: Path, truth: str) -> None:
    (tmp_path / "truth.jsonl").write_text(truth)
    given = ("eval", "--data", str(tmp_path), "--out", str(tmp_path / "e.parquet"), "--model", str(tiny_base))
    outcome = CliRunner().invoke(app, [*given, "--compare", "off"])
    assert outcome.exit_code == 2
    said = f"docpipe: --data {tmp_path}: expected questions with their answers, found none; add some to it\n"
    assert outcome.output == said
    assert not (tmp_path / "e.parquet").exists()
