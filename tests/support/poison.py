"""A model that some pages end, by their colour: it hangs, runs out of memory or has a bug."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from jobs.run.ray_workers import ActorConfig
from jobs.run.watchdog import Watchdog
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.answering.open_page import ModelAnswer
from pipeline.records import Ask, Image
from tests.support.colours import GREEN, RED, ColourReader, load_colours

HANGS, FILLS = (0, 0, 255), (255, 255, 0)
ENDS = {RED: "ModelCrash", HANGS: "ModelCrash", FILLS: "OutOfMemory", GREEN: "ModelException"}
"""Type of the failure that each colour comes to."""


class PoisonedReader(ColourReader):
    """Dies on red pages and has a bug on green ones, as its parent does, and knows two more ways to end."""

    def _answer_page(self, page: Image, asks: Sequence[Ask]) -> list[ModelAnswer]:
        colour = tuple(int(value) for value in page[page.shape[0] // 2, page.shape[1] // 2])
        if colour == HANGS:
            time.sleep(3600)
        if colour == FILLS:
            raise torch.OutOfMemoryError("full")
        return super()._answer_page(page, asks)


def load_poisoned(config: ActorConfig) -> BundleAnswerer:
    """A second watchdog looks more often than that of the actor, and allows no time to warm up."""
    answerer = load_colours(config)
    answerer.page_answerer = PoisonedReader()  # type: ignore[assignment]
    Watchdog(answerer, deadline_s=2.0, interval_s=0.1, warm_up_s=0.0)
    return answerer
