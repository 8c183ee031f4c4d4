"""Runs for tests of the engines, and an answerer that never comes back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.run.ray_workers import ActorConfig
from jobs.settings import RunSettings
from pipeline.questions.file import parse_questions
from pipeline.records import Receipt

if TYPE_CHECKING:
    from pipeline.answering.bundle_answerer import BundleAnswerer

QUESTIONS = parse_questions(
    'version: 1\nquestions: [{id: a, text: "A?"}, {id: b, text: "B?", pages: "1,-1"}]', "q.yaml"
)


def settings_of(pdfs: Path, out: Path, engine: Any, base: Path, **more: Any) -> RunSettings:
    flags = {"model": str(base), "max_visual_tokens": 16, "device": "cpu", "quiet": True, "max_failed_share": 0.9}
    return RunSettings(input=(str(pdfs),), questions="q.yaml", output=str(out), engine=engine, **flags, **more)


class Stuck:
    """An answerer whose model hangs on its first page."""

    page_started_at = 0.0
    pages_done = 0

    def run(self, rendered: object) -> Receipt:
        time.sleep(60)
        raise AssertionError("the watchdog slept")


def load_stuck(config: ActorConfig) -> BundleAnswerer:
    return Stuck()  # type: ignore[return-value]
