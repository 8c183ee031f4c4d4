"""An analyst's work, from documents to figures, with the example that does it and the model inside the package."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from pipeline.samples.write import pick_seeds, read_truth, write_samples
from tests.support.markdown import ROOT

SCRIPT = ROOT / "examples/analyse_invoices.py"
SCHEMA = ROOT / "examples/sample_invoice.json"


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analysis")
    write_samples(folder, pick_seeds(3, 5))
    # Where no locale says whose dollar "$" is, amounts with that sign have to be looked at.
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    del schema["properties"]["amounts"]["x-docpipe"]["locale"]
    (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    words = ["run", "--input", folder / "pdfs", "--schema", folder / "schema.json", "--output", folder / "answers"]
    outcome = CliRunner().invoke(app, [*map(str, words), "--engine", "local", "--quiet"])
    assert outcome.exit_code == 0, outcome.output
    return folder


def analyse(folder: Path) -> dict[str, list[list[str]]]:
    """Run the script; its tables as rows of cells, by their titles."""
    words = [sys.executable, SCRIPT, folder / "answers", "--documents", folder / "pdfs", "--to", folder / "analysis"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    here = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": here}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[str]]] = {}
    title = ""
    for line in done.stdout.splitlines():
        if line.startswith("  "):
            found[title].append(line.split("  ")[1:])
        elif line:
            title = line
            found[title] = []
    return found


def amounts(folder: Path) -> dict[str, Decimal]:
    totals = {name: answers["total"] for name, answers in read_truth(folder).items()}
    return {name: Decimal(text.lstrip("$EUR ")) for name, text in totals.items() if text != "n/a"}


def test_an_analysis_from_documents_to_corrected_figures(analysed: Path) -> None:
    first = analyse(analysed)
    truth = amounts(analysed)
    large = {row[0]: Decimal(row[3]) for row in first["Totals above 1,000"]}
    assert large
    assert all(truth[name] == amount for name, amount in large.items())
    picture = pymupdf.Pixmap(analysed / "analysis/total.png")
    assert picture.width > 80
    assert len(set(picture.samples)) > 2  # there is print on it

    with (analysed / "analysis/review.csv").open(encoding="utf-8-sig", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    assert len(rows) == len(first["To review"]) > 0
    for row in rows:
        row["reviewed_answer"] = row["answer"].replace("$", "USD ")
    with (analysed / "analysis/review.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    second = analyse(analysed)
    assert second["To review"] == []
    before, after = (set(map(tuple, one["Sum of the totals"])) for one in (first, second))
    dollars = [Decimal(row["reviewed_answer"].removeprefix("USD ")) for row in rows if row["question"] == "total"]
    assert [(name, Decimal(total), count) for name, total, count in after - before] == [
        ("USD", sum(dollars), str(len(dollars)))
    ]
    assert before < after
    corrected = {row[0]: Decimal(row[3]) for row in second["Totals above 1,000"] if row[5] == "True"}
    assert corrected
    assert all(truth[name] == amount for name, amount in corrected.items())
    again = CliRunner().invoke(app, ["review", f"{analysed}/answers", "--import", f"{analysed}/analysis/review.csv"])
    assert again.output.startswith("0 corrections added")

    records = [json.loads(line) for line in (analysed / "analysis/records.jsonl").read_text().splitlines()]
    assert [record["document"] for record in records] == sorted(read_truth(analysed))
    by_name = {record["document"]: record["data"] for record in records}
    for name, amount in {**large, **corrected}.items():
        assert Decimal(by_name[name]["amounts"]["total"]["amount"]) == amount
    assert set(records[0]["data"]) == {"number", "issued", "amounts", "customer"}
