"""Read the answers of a run with DuckDB.

    python examples/read_answers.py answers/ --confidence 0.9

Every table is a folder of Parquet files, so the queries below also work in any other tool that speaks SQL. DuckDB is in
the development extra: ``pip install -e '.[dev]'``. Rows that are no longer current are left out, such as those of a
changed document.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb

CONFIDENT = """
    select document, page, question_id, answer, round(confidence, 3) as confidence
    from read_parquet($answers)
    where is_current and status = 'answered' and confidence >= $confidence
    order by document, page, question_id
"""
"""What can be used as it is."""

PER_QUESTION = """
    select question_id,
           count(*) as asked,
           count(*) filter (status = 'answered') as answered,
           count(*) filter (status = 'not_answerable') as not_on_page,
           count(*) filter (status = 'needs_review') as to_review,
           count(*) filter (status = 'failed') as failed,
           round(avg(confidence) filter (status = 'answered'), 3) as mean_confidence
    from read_parquet($answers)
    where is_current
    group by question_id
    order by question_id
"""
"""How far each question got."""

REVIEW = """
    select a.document, a.page, a.question_id, a.status, a.answer,
           coalesce(f.error_type, case a.finish_reason when 'length' then 'cut off' else 'unsure' end) as reason
    from read_parquet($answers) a
    left join read_parquet($failures) f
      on a.unit_id = f.unit_id and a.page is not distinct from f.page
    where a.is_current and a.status in ('needs_review', 'failed')
    order by a.document, a.page, a.question_id
"""
"""What a person has to look at. A failed row has its reason in failures/."""

PER_PAGE = """
    select document, page, count(*) as questions,
           max(visual_tokens) as visual_tokens,
           round(avg(retention), 3) as mean_retention,
           round(sum(kv_bytes_full) / 1e6, 3) as kv_mb_unpruned,
           round(sum(kv_bytes_kept) / 1e6, 3) as kv_mb
    from read_parquet($answers)
    where is_current and retention is not null
    group by document, page
    order by document, page
"""
"""How much of each page was kept, and what that saved in KV caches."""


def read(folder: Path, confidence: float) -> dict[str, duckdb.DuckDBPyRelation]:
    """Run the four queries on an output folder.

    Args:
        folder: the ``--output`` of a run.
        confidence: least confidence of an answer that is used as it is, in 0..1.

    Returns:
        The tables by title, in the order in which they are shown.
    """
    answers, failures = str(folder / "answers" / "*.parquet"), str(folder / "failures" / "*.parquet")
    connection = duckdb.connect()
    return {
        f"Answers with a confidence of {confidence:g} or more": connection.sql(
            CONFIDENT, params={"answers": answers, "confidence": confidence}
        ),
        "Per question": connection.sql(PER_QUESTION, params={"answers": answers}),
        "To look at": connection.sql(REVIEW, params={"answers": answers, "failures": failures}),
        "Retention and KV memory per page": connection.sql(PER_PAGE, params={"answers": answers}),
    }


def main() -> None:
    """Print the four tables."""
    parser = argparse.ArgumentParser(description="Read the answers of a docpipe run with DuckDB.")
    parser.add_argument("folder", type=Path, help="the --output of a run")
    parser.add_argument("--confidence", type=float, default=0.9, help="least confidence, in 0..1 (default: 0.9)")
    options = parser.parse_args()
    if not any((options.folder / "answers").glob("*.parquet")):
        parser.error(f"{options.folder} holds no answers/*.parquet; expected the --output of a run")
    for title, table in read(options.folder, options.confidence).items():
        print(f"\n{title}")
        table.show(max_width=160)


if __name__ == "__main__":
    main()
