"""The report as a file, without a browser."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pipeline.pages.renderer import RenderChild
from pipeline.viewing.originals import Originals
from pipeline.viewing.published import read_published
from pipeline.viewing.report.page import Report, make_report
from tests.support.viewed import TOTAL_BOX, answer, failure, of_document, page, review, write_output, write_pdf

HOSTILE = '</script><script>window.harm=1</script><img src=x onerror="harm=1">\' " {{ 7*7 }} &amp; \u202e\u05e9\u05dc'
Make = Callable[..., Report]


class Parsed(HTMLParser):
    """What a browser would take for tags, attributes and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.scripts += [tag] if tag == "script" else []

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.text += data


@pytest.fixture
def make(tmp_path: Path, child: RenderChild) -> Make:
    def made(rows: list[dict[str, Any]], crops: int = 9, price: float | None = None, **given: Any) -> Report:
        run = read_published(write_output(tmp_path / "out", rows, **given))
        return make_report(run, None, Originals(child), child, crops, price, lambda: None)

    return made


def data_of(report: Report) -> dict[str, Any]:
    (raw,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', report.html, re.DOTALL)
    return dict(json.loads(raw))


def test_names_and_answers_are_text(make: Make) -> None:
    rows = [
        answer(document=HOSTILE, answer=HOSTILE, question_id=HOSTILE, status="needs_review", value_error=HOSTILE),
        answer(document=HOSTILE, status="failed", unit_id="f"),
    ]
    failures = [failure(unit_id="f", document=HOSTILE, error_message=HOSTILE, error_type=HOSTILE, command=HOSTILE)]
    run = {"settings": {"model": HOSTILE}, "run_id": HOSTILE, "finished_at": HOSTILE}
    made = make(rows, pages=[page(document=HOSTILE)], failures=failures, questions={HOSTILE: HOSTILE}, run=run)
    parsed, plain = Parsed(made.html), Parsed(make([answer(status="needs_review")]).html)
    assert len(parsed.scripts) == len(plain.scripts) == 3
    assert {tag for tag, _ in parsed.tags} - {tag for tag, _ in plain.tags} <= {
        "details",
        "summary",
        "li",
        "ul",
        "code",
    }
    assert not [attributes for _, attributes in parsed.tags if any(name.startswith("on") for name in attributes)]
    assert parsed.text.count("</script><script>window.harm=1</script>") >= 5
    assert data_of(made)["columns"]["answer"][0] == HOSTILE


def test_only_what_is_in_the_file_is_allowed(make: Make) -> None:
    parsed = Parsed(make([answer()]).html)
    (policy,) = [str(a["content"]) for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not [a for _, a in parsed.tags if {"style"} & a.keys()]
    addresses = [str(a[name]) for _, a in parsed.tags for name in ("src", "href") if name in a]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)


def test_the_first_line_says_what_waits(make: Make) -> None:
    def first(report: Report) -> str:
        (line,) = re.findall(r"<h1>(.*?)</h1>", report.html, re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", "", line)).split())

    assert first(make([answer(status="needs_review"), answer()])) == "1 answer waits for your eyes."
    assert first(make([answer(status="needs_review")] * 1200)) == "1,200 answers wait for your eyes."
    assert first(make([answer()])) == "No answer waits for your eyes."
    assert first(make([])) == "There are no answers yet."


def test_rows_that_need_a_look_have_their_place(make: Make, tmp_path: Path) -> None:
    write_pdf(tmp_path / "in/a.pdf")
    here = of_document(tmp_path / "in", "a.pdf")
    rows = [
        answer(**here, answer="sure", evidence=[TOTAL_BOX]),
        answer(**here, answer="doubt", status="needs_review", evidence=None, question_id="date"),
        answer(**here, answer="unsure", confidence=0.1, evidence=[TOTAL_BOX]),
        answer(**here, answer="n/a", status="not_answerable"),
        answer(document="bad.pdf", page=None, status="failed", answer=None),
    ]
    data = data_of(make(rows, crops=2))
    with_picture = {data["columns"]["answer"][int(number)]: crop["boxes"] for number, crop in data["crops"].items()}
    assert with_picture == {"doubt": 0, "unsure": 1}
    assert all(crop["src"].startswith("data:image/webp;base64,") for crop in data["crops"].values())
    made = make(rows)
    assert len(made.crops.pictures) == 3
    assert "This file holds pictures for 3 of the rows:" in made.html


def test_without_the_documents_there_are_no_pictures_and_it_says_so(make: Make, tmp_path: Path) -> None:
    write_pdf(tmp_path / "in/a.pdf")
    rows = [answer(**of_document(tmp_path / "in", "a.pdf"), status="needs_review")]
    (tmp_path / "in/a.pdf").unlink()
    made = make(rows)
    assert (made.crops.pictures, len(made.crops.missing)) == ({}, 1)
    assert "No picture of 1 document, whose originals are not as they were" in made.html
    assert "it was not found in" in Parsed(made.html).text


def test_costs_follow_from_the_price(make: Make) -> None:
    run = {"wall_s": 3600.0, "this_run": {"rows": 2}}
    made = make([answer(), answer(question_id="date")], pages=[page()], run=run, price=2.5)
    hours = [float(found) for found in re.findall(r'data-hours="([^"]+)"', made.html)]
    assert hours == pytest.approx([1.0, 1.0, 1000.0, 500.0])
    assert 'id="price" min="0" step="any" inputmode="decimal" value="2.5"' in made.html
    assert 'inputmode="decimal" value=""' in make([answer()], pages=[page()]).html


def test_reviews_become_a_calibration(make: Make) -> None:
    rows = [answer(unit_id=str(number), status="needs_review", confidence=0.8) for number in range(5)]
    reviews = [review("1903.88" if n else "2", unit_id=str(n)) for n in range(4)]
    made = make(rows, reviews=reviews)
    said = " ".join(Parsed(made.html).text.split())
    assert "1 answer waits for your eyes." in said
    assert "Of 4 answers that people reviewed, 75.0 % were right, and confidence said 80.0 %" in said
    assert made.html.count("<circle") == 1
    assert sorted(data_of(made)["reviewed"].values()) == ["the model had said the same"] * 3 + [
        "the model had said: 1903.88"
    ]
    assert "Nobody has reviewed these answers yet" in make([answer()]).html


def test_more_rows_than_a_browser_takes_are_cut_off_and_it_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.viewing.report.page.MOST_ROWS", 2)
    made = make(
        [answer(answer="sure"), answer(answer="doubt", status="needs_review"), answer(confidence=0.1, answer="un")]
    )
    assert data_of(made)["columns"]["answer"] == ["doubt", "un"]
    assert "The table holds the first 2 of 3 rows" in made.html


def test_a_sample_says_that_it_is_one(tmp_path: Path, child: RenderChild) -> None:
    rows = [answer(document_id=name * 16, unit_id=name) for name in "0f"]
    planned = {"counts": {"planned": 2}, "wall_s": 60.0, "this_run": {"rows": 2}}
    run = read_published(write_output(tmp_path / "out", rows, run=planned), 0.5)
    made = make_report(run, None, Originals(child), child, 0, None, lambda: None)
    said = " ".join(Parsed(made.html).text.split())
    assert "1 answer from 1 document. This is a sample: 50.0 % of the documents, with all their answers." in said
    assert "not done yet" not in said
    assert "The run took" not in said


def test_the_vendored_table_is_what_npm_has() -> None:
    folder = files("pipeline.viewing.report") / "tabulator"
    lines = [line.split() for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {"tabulator.min.js", "tabulator_simple.min.css", "LICENSE"}
    for digest, name in lines:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "The MIT License" in (folder / "LICENSE").read_text()
