"""What a run is made of is killed while it works: what is left goes on, or the next command does, to the same rows.

`python benchmarks/kills.py` does the same at random moments, over hundreds of pages.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobs.run.job import run_job
from jobs.settings import RunSettings
from pipeline.questions.file import load_questions
from pipeline.samples.document import make_sample
from pipeline.samples.write import questions_file
from tests.support.killed_runs import Started, compared, computed
from tests.support.merged_pdf import merged
from tests.support.published import part_times

DOCUMENTS, PAGES = 2, 17  # a bundle each


@pytest.mark.slow
def test_a_run_whose_parts_are_killed_one_by_one_ends_with_the_rows_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # workers give way to everything else, and tests have a time limit
    (tmp_path / "in").mkdir()
    for number in range(DOCUMENTS):
        with merged(make_sample(100 * number + page).pdf() for page in range(PAGES)) as whole:
            whole.save(tmp_path / "in" / f"{number}.pdf")
    (tmp_path / "q.yaml").write_text(questions_file(["total"]))
    out = tmp_path / "killed" / "out"
    out.parent.mkdir()
    started = Started(tmp_path / "in", tmp_path / "q.yaml", out)
    try:
        for pages, kind in ((2, "renderer"), (8, "worker"), (28, "all")):
            deadline = time.monotonic() + 100
            while computed(out) < pages or not started.kill(kind):
                assert started.process.poll() is None, out.with_suffix(".log").read_text()
                assert time.monotonic() < deadline, (kind, computed(out))
                time.sleep(0.02)
    finally:
        started.clean()
    committed = part_times(out)
    assert committed

    asked = load_questions(str(tmp_path / "q.yaml"))
    shared = {
        "input": (str(tmp_path / "in"),),
        "questions": "q.yaml",
        "engine": "local",
        "device": "cpu",
        "dtype": "float32",
        "quiet": True,
    }
    report = run_job(RunSettings(output=str(out), **shared), asked)
    assert (report["exit_code"], report["counts"]["pending"], report["counts"]["failed"]) == (0, 0, 0)
    assert committed.items() <= part_times(out).items()
    run_job(RunSettings(output=str(tmp_path / "undisturbed"), **shared), asked)
    found = compared(out, tmp_path / "undisturbed")
    assert found.pop("rows") >= 2 * DOCUMENTS * PAGES
    del found["different_in_last_digits"]
    assert set(found.values()) == {0}, found
    assert not list((out / "inflight").iterdir())
