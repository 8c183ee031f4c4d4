"""``docpipe watch``: what it shows of a run before, while and after it goes on, and how it ends."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.commands.watch import ended_lines, view_lines, watch
from jobs.run.job import run_job
from pipeline.output.attempts import InFlight
from pipeline.output.folder import Folder
from pipeline.output.live import Running, View, write_running
from pipeline.output.lock import Holder
from tests.support.apart import exit_code, start_loop
from tests.support.colours import WHITE, load_colours, make_pdf
from tests.support.engines import QUESTIONS, settings_of

NOW = datetime(2026, 11, 27, 1, tzinfo=UTC)
HOLDER = Holder(
    token="t",
    host="head\x1b1",
    pid=4711,
    born="1",
    pid_space="p",
    since=NOW - timedelta(hours=3),
    heartbeat=NOW - timedelta(seconds=8),
)
RUNNING = Running(
    run_id="20261126T220004-1f0c22ab",
    began_at=NOW - timedelta(seconds=2000),
    engine="ray",
    documents=1200,
    pages=5000,
    rows=20_000,
    planned_rows=30_000,
)


def test_what_is_shown_of_a_run() -> None:
    view = View(
        NOW,
        HOLDER,
        RUNNING,
        1000,
        Counter(answered=3900, failed=12, needs_review=88),
        Counter(RenderTimeout=9, EncryptedDocument=3),
        [InFlight("b1", 1, 12, ()), InFlight("b2", 3, 2, (("d0", (7,)),))],
        NOW - timedelta(seconds=75),
    )
    assert list(view_lines(view, None)) == [
        "held by    process 4711 on head\\x1b1, since 2026-11-26 22:00:00 UTC",
        "heartbeat  8 s ago",
        "run        20261126T220004-1f0c22ab, engine ray, 1200 documents",
        "pages      1000 of 5000, 0.50 pages/s, 2:13:20 left",
        "answers    4000 of 20000: 3900 answered, 12 failed, 88 needs_review",
        "failures   9 RenderTimeout, 3 EncryptedDocument",
        "in flight  2 bundles, 14 pages done in them",
        "again      bundle b2, attempt 3, without page 7 of d0",
        "last part  01:15 ago",
    ]
    assert "pages      1000 of 5000, 2.00 pages/s, 33:20 left" in view_lines(view, (NOW - timedelta(seconds=100), 800))


def test_a_holder_that_is_silent_and_a_run_that_is_prepared() -> None:
    silent = HOLDER.model_copy(update={"heartbeat": NOW - timedelta(seconds=400)})
    assert list(view_lines(View(NOW, silent, None), None)) == [
        "a run is being prepared: listing and counting pages",
        "held by    process 4711 on head\\x1b1, since 2026-11-26 22:00:00 UTC",
        "heartbeat  06:40 ago; it has died, or its machine is away",
    ]


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (None, "ended      without a report, so it was killed; the same command goes on"),
        ({"run_id": "2026"}, "ended      without a report, so it was killed; the same command goes on"),
        (
            {"run_id": RUNNING.run_id, "finished_at": "then", "exit_code": 3, "error": "Ray gave up"},
            "ended      then, exit code 3: Ray gave up",
        ),
        (
            {"run_id": RUNNING.run_id, "finished_at": "then", "exit_code": 0, "error": None},
            "ended      then, exit code 0",
        ),
    ],
)
def test_how_a_run_ended(report: dict[str, object] | None, line: str) -> None:
    assert list(ended_lines(View(NOW, None, RUNNING), report)) == [line]


@pytest.mark.parametrize("words", [[], ["--once"]])
def test_a_folder_in_which_nothing_can_be_watched_is_refused(tmp_path: Path, words: list[str]) -> None:
    for name, found in (("nix/typo", "no such folder"), (".", "a folder in which no run has begun")):
        outcome = CliRunner().invoke(app, ["watch", str(tmp_path / name), *words])
        assert (outcome.exit_code, outcome.stdout) == (2, "")
        assert outcome.stderr.endswith(f": expected the --output of a run, found {found}; check the name\n")
    assert not (tmp_path / "nix").exists()


def test_a_run_that_was_killed_ends_with_another_exit_code_than_a_good_one(tmp_path: Path) -> None:
    write_running(Folder(str(tmp_path)), RUNNING)
    looks: list[list[str]] = []
    assert watch(str(tmp_path), None, looks.append) == 3
    assert looks[-1][-1] == "ended      without a report, so it was killed; the same command goes on"


@pytest.mark.slow
def test_a_run_is_watched_to_its_end(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        make_pdf(tmp_path / "in" / f"{number}.pdf", [WHITE] * 17)
    out = tmp_path / "out"
    looks: list[list[str]] = []
    process = start_loop("load_slowly_answering", tiny_base, tmp_path / "in", out)
    deadline = time.monotonic() + 60
    while not (out / "running.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert watch(str(out), 0.2, looks.append) == exit_code(process) == 0
    report = json.loads((out / "run.json").read_text())
    seen = [
        int(re.match(r"pages +(\d+) of 51", line)[1]) for look in looks for line in look if line.startswith("pages")
    ]  # type: ignore[index]
    assert len(looks) > 3
    assert seen == sorted(seen)
    assert seen[-1] == 51
    assert any(line.startswith("held by    process") for line in looks[0])
    assert looks[-1][-1] == f"ended      {report['finished_at']}, exit code 0"
    assert f"answers    {report['counts']['planned']} of {report['counts']['planned']}" in "\n".join(looks[-1])


def test_the_command_looks_once_and_ends_as_the_run_did(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE])
    (tmp_path / "in" / "b.pdf").write_bytes(b"no PDF")
    settings = settings_of(tmp_path / "in", tmp_path / "out", "local", tiny_base)
    strict = settings.model_copy(update={"max_failed_share": 0.1})
    assert run_job(strict, QUESTIONS, load=load_colours)["exit_code"] == 1
    outcome = CliRunner().invoke(app, ["watch", str(tmp_path / "out"), "--once"])
    assert outcome.exit_code == 1
    assert "answers    4 of 4: 2 answered, 2 failed" in outcome.output
    assert "exit code 1" in outcome.output.splitlines()[-1]
    assert "\x1b" not in outcome.output
