"""PDFs whose pages are one colour each, but for a mark, and a model that does something to a page by its colour."""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from glimpseprune.stats import PruneStats
from jobs.run.ray_workers import ActorConfig
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.open_page import ModelAnswer
from pipeline.errors import PageError
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.records import Ask, Image
from tests.support.helpers import SIGNALS, one_by_one

WHITE, RED, GREEN = (255, 255, 255), (255, 0, 0), (0, 255, 0)


def make_pdf(path: Path, colours: Sequence[tuple[int, int, int]], size_pt: float = 72.0) -> Path:
    import pymupdf  # takes a second, and a worker that loads a model from here needs none

    with pymupdf.open() as document:
        for colour in colours:
            page = document.new_page(width=size_pt, height=size_pt)
            page.draw_rect(page.rect, color=None, fill=[value / 255 for value in colour])
            page.draw_rect((4, 4, 12, 12), color=None, fill=(0.5, 0.5, 0.5))  # without a mark, the page would be blank
        document.save(path)
    return path


class ColourReader:
    """Answers with the colour of the page; dies on red pages, has a bug on green ones."""

    def __init__(self, pids: Path | None = None, seconds: float = 0.0) -> None:
        self.pids = pids
        self.seconds = seconds
        self.model_ms = 0.0
        self.skipping = None

    def prepare(self, page: Image, asks: Sequence[Ask], *_: object) -> tuple[Image, Sequence[Ask]]:
        return page, asks

    def answer_pages(
        self, pages: Iterable[tuple[Any, Callable[[], tuple[Image, Sequence[Ask]]]]]
    ) -> Iterator[tuple[Any, list[ModelAnswer] | PageError]]:
        return one_by_one(self._answer_page, pages)

    def _answer_page(self, page: Image, asks: Sequence[Ask]) -> list[ModelAnswer]:
        colour = tuple(int(value) for value in page[page.shape[0] // 2, page.shape[1] // 2])
        if self.pids is not None:
            from jobs.run import ray_workers as stages

            seen = {"pid": os.getpid(), "renders": stages._child is not None}
            (self.pids / f"{os.getpid()}.json").write_text(json.dumps(seen))
        if colour == RED:
            ctypes.string_at(0)
        if colour == GREEN:
            raise ZeroDivisionError("a bug")
        time.sleep(self.seconds)
        stats = PruneStats(16, 8, False, False, 40, 30, 4000, 3000)
        return [
            ModelAnswer(f"{ask.question_id} {colour}", "stop", SIGNALS, 3, stats, None, None, ((4, 4),)) for ask in asks
        ]


def load_colours(config: ActorConfig) -> BundleAnswerer:
    return _answerer(ColourReader(), config)


def load_and_commit_each_page(config: ActorConfig) -> BundleAnswerer:
    """Each look at the clock finds that a minute has passed."""
    answerer = load_colours(config)
    answerer.clock = itertools.count(0, 60).__next__
    return answerer


def load_and_note_pids(config: ActorConfig) -> BundleAnswerer:
    return _answerer(ColourReader(pids=Path(config.output)), config)


def load_slowly_answering(config: ActorConfig) -> BundleAnswerer:
    return _answerer(ColourReader(seconds=0.03), config)


def load_onto_a_disk_for_one_part(config: ActorConfig) -> BundleAnswerer:
    class Full(Folder):
        def _replace(self, path: str, data: bytes) -> None:
            if "/parts/" in path and self.names("parts", ".parquet"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super()._replace(path, data)

    folder = Full(config.output)
    store = OutputStore(folder, config.command, config.run_id)
    return BundleAnswerer(ColourReader(), store, Markers(folder))  # type: ignore[arg-type]


def _answerer(page_answerer: ColourReader, config: ActorConfig) -> BundleAnswerer:
    folder = Folder(config.output)
    return BundleAnswerer(page_answerer, OutputStore(folder, config.command, config.run_id), Markers(folder))  # type: ignore[arg-type]
