"""How long does a browser take to open the report of many rows, to filter and to sort it?

    python benchmarks/report.py --rows 100000 --out /tmp/report

Writes an output folder of made-up rows, makes its report with ``docpipe report``, and opens it in headless Chromium
(Playwright, with the chromium of the machine) five times. Needs no document, so the report holds no pictures;
``--pictures 200`` puts as many into it, of a page that is drawn for this.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pymupdf
from playwright.sync_api import Page, sync_playwright

from jobs.commands.view import Viewed, write_report
from pipeline.output.folder import Folder
from pipeline.output.schema import ANSWERS, FAILURES, PAGES
from pipeline.output.tables import write_table
from pipeline.pages.documents import list_documents

QUESTIONS = [f"question_{number}" for number in range(20)]
TRIES = 5


def write_documents(folder: Path, count: int) -> list[dict[str, str]]:
    """Draw documents of one page, and name them as rows do."""
    folder.mkdir(parents=True)
    for number in range(count):
        with pymupdf.open() as pdf:
            page = pdf.new_page()
            for line in range(40):
                page.insert_text((60, 80 + 17 * line), f"Line {line} of document {number}: {number * line}.00 EUR")
            pdf.save(str(folder / f"{number:04d}.pdf"))
    found = list_documents([str(folder)])
    hashes = [hashlib.sha256((folder / document.path).read_bytes()).hexdigest() for document in found]
    return [
        {"document_id": d.document_id, "source": d.source, "document": d.path, "document_sha256": sha256}
        for d, sha256 in zip(found, hashes, strict=True)
    ]


def write_rows(out: Path, rows: int, documents: list[dict[str, str]]) -> None:
    """Write the tables of a run with made-up answers, a tenth of which need review, and all of documents that exist."""
    rng = np.random.default_rng(0)
    now = datetime.now(UTC)
    answers = []
    for number in range(rows):
        at = number // len(QUESTIONS)
        document = (
            documents[at]
            if at < len(documents)
            else {
                "document_id": f"{at:016x}",
                "source": "in",
                "document": f"folder {at % 97}/invoice {at:06d}.pdf",
                "document_sha256": None,
            }
        )
        status = ("needs_review", "answered", "not_answerable", "failed")[int(rng.choice(4, p=[0.1, 0.75, 0.12, 0.03]))]
        confidence = float(rng.random())
        if at < len(documents):  # first in the report, so that it gets a picture
            status, confidence = "needs_review", 0.0
        answers.append(
            {
                **document,
                "page": 1,
                "question_id": QUESTIONS[number % len(QUESTIONS)],
                "unit_id": str(number),
                "bundle_id": "b",
                "run_id": "r",
                "answered_at": now,
                "is_current": True,
                "status": status,
                "answer": None if status == "failed" else f"{rng.integers(10**8) / 100:,.2f} EUR {rng.bytes(6).hex()}",
                "review_reasons": ["floor"] if status == "needs_review" else [],
                "confidence": confidence,
                "evidence": [{"x0": 60.0, "y0": 80.0, "x1": 250.0, "y1": 95.0, "score": 1.0}],
                "retention": float(rng.beta(2, 18)),
                "kv_bytes_full": 4_000_000,
                "kv_bytes_kept": int(rng.integers(200_000, 800_000)),
                "prefill_ms": float(rng.gamma(3, 20)),
                "decode_ms": float(rng.gamma(3, 20)),
            }
        )
    folder = Folder(str(out))
    write_table(folder, "answers/rows.parquet", pa.Table.from_pylist(answers, schema=ANSWERS))
    for name, schema in (("pages", PAGES), ("failures", FAILURES)):
        write_table(folder, f"{name}/rows.parquet", schema.empty_table())
    asked = {f"question {name}": {"fields": {"text": f"What is {name}?"}} for name in QUESTIONS}
    folder.write("settings.json", json.dumps(asked).encode())


def timed(tab: Page, act: Callable[[], Any]) -> float:
    """Milliseconds until the page has done something, the drawing of the next frame included."""
    began = time.perf_counter()
    act()
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    documents = write_documents(given.out / "in", -(-given.pictures // len(QUESTIONS))) if given.pictures else []
    write_rows(given.out / "answers", given.rows, documents)
    began = time.perf_counter()
    write_report(Viewed(str(given.out / "answers"), quiet=True), None, crops=given.pictures)
    made_s = time.perf_counter() - began
    file = given.out / "answers" / "report.html"
    found: dict[str, list[float]] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(TRIES):
            tab = browser.new_page(viewport={"width": 1360, "height": 900})
            tab.goto(file.as_uri())
            tab.wait_for_selector("html[data-ready]", state="attached")
            ready = float(tab.evaluate("document.documentElement.dataset.ready"))
            heap = float(tab.evaluate("performance.memory.usedJSHeapSize")) / 1e6
            chip = tab.locator("[data-status=needs_review]")
            header = tab.locator(".tabulator-col[tabulator-field=confidence]")
            table = tab.locator(".tabulator-tableholder")
            for name, value in (
                ("until it takes input, ms", ready),
                ("memory, MB", heap),
                ("filter, ms", timed(tab, chip.click)),
                ("all again, ms", timed(tab, chip.click)),
                ("sort, ms", timed(tab, header.click)),
                ("last row, ms", timed(tab, lambda table=table: table.press("End"))),
            ):
                found.setdefault(name, []).append(value)
            tab.close()
        browser.close()
    print(f"{given.rows} rows: file {file.stat().st_size / 1e6:.1f} MB, made in {made_s:.1f} s")
    for name, values in found.items():
        print(f"{name:28} median {statistics.median(values):8.0f}   most {max(values):8.0f}")


if __name__ == "__main__":
    main()
