"""Work with the answers of a run: large invoices, sums by currency, what to review, and corrections.

    docpipe samples --out samples/ --documents 20
    docpipe run --input samples/pdfs/ --schema examples/sample_invoice.json --output answers/
    python examples/analyse_invoices.py answers/ --documents samples/pdfs/ --to analysis/

The first call writes ``analysis/review.csv``. Fill in its column ``reviewed_answer`` and call the script again: it
takes the corrections back, and every figure is made of them. The tables are Parquet, so any reader does for the rest.
"""

from __future__ import annotations

import argparse
import subprocess
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.output.folder import Folder
from pipeline.output.reviews import read_reviews, with_reviews

TOTAL = "total"  # id of the question
LARGE = Decimal(1000)  # pyarrow compares decimals with decimals


def read_answers(folder: Path) -> pa.Table:
    """Read what is current, with corrections in the place of the answers that they correct."""
    answers = pq.read_table(folder / "answers", filters=[("is_current", "=", True)])
    return with_reviews(answers, read_reviews(Folder(str(folder))))


def large_invoices(answers: pa.Table) -> pa.Table:
    """Find the invoices whose total is above ``LARGE`` in whatever currency: ``where value_number > 1000``."""
    of_total = answers.filter((pc.field("question_id") == TOTAL) & (pc.field("status") == "answered"))
    large = of_total.filter(pc.field("value_number") > LARGE)
    columns = ["document", "page", "answer", "value_number", "value_currency", "reviewed"]
    return large.select(columns).sort_by([("value_number", "descending")])


def sums_by_currency(answers: pa.Table) -> pa.Table:
    """Add the totals up, currency by currency; ``None`` stands for amounts without one."""
    of_total = answers.filter((pc.field("question_id") == TOTAL) & (pc.field("status") == "answered"))
    groups = of_total.group_by("value_currency").aggregate([("value_number", "sum"), ("value_number", "count")])
    return groups.sort_by("value_currency")


def to_review(answers: pa.Table) -> pa.Table:
    """List what a person has to look at, and why."""
    doubtful = answers.filter(pc.field("status") == "needs_review")
    return doubtful.select(["document", "page", "question_id", "answer", "review_reasons", "value_error"])


def show_one(folder: Path, answers: pa.Table, documents: Path, to: Path) -> None:
    """Cut the place of one total out of its page, with the answer under it."""
    shown = answers.filter((pc.field("question_id") == TOTAL) & (pc.list_value_length(pc.field("evidence")) > 0))
    if len(shown) == 0:
        return
    row = shown.slice(0, 1).to_pylist()[0]
    to.unlink(missing_ok=True)
    page = ["--page", str(row["page"]), "--input", documents, "--to", to]
    subprocess.run(["docpipe", "show", *page, "--", folder, row["document"], TOTAL], check=True)


def main() -> None:
    """Print the figures, and write the sheet, the crop and the records."""
    parser = argparse.ArgumentParser(description="Analyse the answers of a docpipe run over invoices.")
    parser.add_argument("folder", type=Path, help="the --output of a run")
    parser.add_argument("--documents", type=Path, required=True, help="the --input of that run, a folder")
    parser.add_argument("--to", type=Path, default=Path("analysis"), help="folder of the results (default: analysis)")
    options = parser.parse_args()
    folder, to = options.folder, options.to
    to.mkdir(parents=True, exist_ok=True)
    sheet = to / "review.csv"
    if sheet.exists():
        subprocess.run(["docpipe", "review", folder, "--import", sheet], check=True)
    else:
        subprocess.run(["docpipe", "export", folder, "--review", "--to", sheet], check=True)
    answers = read_answers(folder)
    tables = {
        f"Totals above {LARGE:,}": large_invoices(answers),
        "Sum of the totals": sums_by_currency(answers),
        "To review": to_review(answers),
    }
    for title, table in tables.items():
        print(f"\n{title}")
        for row in table.to_pylist():
            print("  " + "  ".join(str(value) for value in row.values()))
    subprocess.run(["docpipe", "export", folder, "--format", "records", "--to", to / "records.jsonl"], check=True)
    show_one(folder, answers, options.documents, to / "total.png")


if __name__ == "__main__":
    main()
