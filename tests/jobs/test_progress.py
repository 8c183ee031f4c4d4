from __future__ import annotations

import re
import time

import pytest

from jobs.progress import Progress


def test_progress_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(8, "page", quiet=False) as progress:
        progress.add(2)
        progress.last_line -= 60
        progress.add()
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"3 of 8 pages, \d+\.\d\d pages/s, 00:00 left\n", said.err)


def test_progress_follows_a_count_that_moves_page_by_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.progress._SECONDS_BETWEEN_LOOKS", 0.001)
    monkeypatch.setattr("jobs.progress._SECONDS_BETWEEN_LINES", 0.0)
    pages, seen = [0], []
    with Progress(3, "page", quiet=False) as progress:
        with progress.following(lambda: pages[0]):
            for now in (1, 2, 1, 2):  # an attempt that died counted more than the one after it
                pages[0] = now
                deadline = time.monotonic() + 10
                while progress.done < now and time.monotonic() < deadline:
                    time.sleep(0.001)
                seen.append(progress.done)
            pages[0] = 9
        assert seen == [1, 2, 2, 2]
        assert progress.done == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "1 of 3 pages"  # no rate: until then, a model was loaded
    assert [re.sub(r"[\d.]+ pages/s, [\d:]+", "R", line) for line in lines[1:]] == [
        "2 of 3 pages, R left",
        "3 of 3 pages, R left",
    ]


def test_progress_says_nothing_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(8, "page", quiet=True) as progress:
        progress.last_line -= 60
        with progress.following(lambda: 3):
            progress.add(8)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress(8, "page", quiet=False) as progress:
        progress.add(8)
    assert "8/8" in capsys.readouterr().err
