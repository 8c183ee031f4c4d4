"""A document that is asked about page by page, interrupted and resumed, with a blank page and a broken one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.publish import publish
from pipeline.output.store import OutputStore
from pipeline.questions.file import QuestionSet
from pipeline.records import Bundle, Document, Failure, PageCount, PageFailure, PageImage, RenderedBundle
from pipeline.units import make_bundles, make_units
from tests.support.helpers import SETTINGS
from tests.support.published import everything

VOLATILE = ("peak_rss_bytes", "run_id", "answered_at")


class DeathError(BaseException):
    """Stands for the end of the process."""


@dataclass(frozen=True, slots=True)
class Paper:
    """The document: its number of pages, the one that cannot be rendered, and the blank one."""

    count: int
    broken: int
    blank: int

    def rendered(self, bundle: Bundle) -> RenderedBundle:
        """Pages whose grey is their number."""
        pages = bundle.pages_of("d")
        images = [
            PageImage("d", n, 28.0, 28.0, 72.0, 28, 28, 1, 1.0, "raw", bytes([n] * 28 * 28 * 3), blank=n == self.blank)
            for n in pages
            if n != self.broken
        ]
        failures = [PageFailure("d", self.broken, Failure("render", "RenderCrash", "x"))] * (self.broken in pages)
        return RenderedBundle(bundle, tuple(images), tuple(failures), {"d": "sha"})


class OneDocument:
    """Its units, and the output folder they are answered into."""

    def __init__(self, output: Path, paper: Paper, asked: QuestionSet) -> None:
        self.paper, self.asked = paper, asked
        self.folder = Folder(str(output))
        self.store = OutputStore(self.folder)
        self.documents = [Document("d", "d.pdf", "/d.pdf", 1, "1")]
        self.counted = [(self.documents[0], PageCount("d", paper.count))]
        self.units = list(make_units(self.counted, asked, SETTINGS))

    def run(self, page_answerer: Any) -> BundleAnswerer:
        """Answer what is left; the page answerer has a clock ``now``."""
        answerer = BundleAnswerer(page_answerer, self.store, Markers(self.folder), lambda: page_answerer.now)
        left = self.store.done().left(self.units)
        for bundle in make_bundles(left, self.counted, self.asked, SETTINGS):
            answerer.run(self.paper.rendered(bundle))
        return answerer

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """What is published, without what differs from run to run."""
        publish(self.store, {}, everything(self.store))
        found = {}
        for name in ("answers", "pages", "failures", "documents"):
            rows = pq.read_table(Path(self.folder.uri, name)).to_pylist()
            rows = [{key: value for key, value in row.items() if key not in VOLATILE} for row in rows]
            found[name] = sorted(rows, key=lambda r: (r.get("page") or 0, r.get("question_id", "")))
        return found
