from __future__ import annotations

from dataclasses import asdict

from jobs.run.not_read import not_read_lines
from pipeline.output.failed import FailedDocument
from tests.support.all_read import ALL_READ


def test_the_summary_says_what_was_not_read_and_why_it_ends_with_1() -> None:
    failed = [FailedDocument(f"d{n}\n.pdf", n, "CorruptPage", "no\x1b[0m " + "x" * 300) for n in range(1, 11)]
    report = {
        "ignored": {".txt": 1, ".docx": 3},
        "unmatched_questions": {"a": "question 'a' is asked of no document"},
        "unasked_documents": 5,
        "first_unasked_documents": ["a\n.pdf", "b.pdf", "c.pdf"],
        "failed_documents": 12,
        "first_failed_documents": [asdict(each) for each in failed],
        "exit_code": 1,
        "failed_share": 0.123,
        "settings": {"max_failed_share": 0.05},
    }
    lines = list(not_read_lines(report))
    assert lines[:5] == [
        "ignored: 3 .docx, 1 .txt",
        "warning: question 'a' is asked of no document",
        "warning: no question is asked about 5 documents: 'a\\n.pdf', 'b.pdf', 'c.pdf' and 2 more; the documents and "
        "pages of the questions leave them out",
        "12 documents with failed answers:",
        "  d1\\n.pdf: 1 answer, CorruptPage: no\\x1b[0m " + "x" * 190 + "...",
    ]
    assert lines[14:] == [
        "  and 2 more",
        "exit code 1: 12.3% of the answers failed, more than --max-failed-share 0.05 (5.0%) allows",
    ]


NOTHING = {
    **ALL_READ,
    "exit_code": 0,
}


def test_the_summary_says_nothing_where_all_was_read() -> None:
    assert list(not_read_lines(NOTHING)) == []


def test_many_kinds_of_ignored_files_are_summed_up() -> None:
    (line,) = not_read_lines({**NOTHING, "ignored": {f".{letter}": 2 for letter in "abcdefghijklm"}})
    assert line == f"ignored: {', '.join(f'2 .{letter}' for letter in 'abcdefghij')}, 6 of other kinds"
