"""Leaves pages out of questions whose answer they hardly hold, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import glimpseprune as gp
from pipeline.answering.open_page import PreparedPage, Skipped
from pipeline.answering.prefilling import Prefiller
from pipeline.confidence.presence import Presence, clues_of


@dataclass(frozen=True, slots=True)
class Skipping:
    """Decides which pages are left out of which questions.

    Attributes:
        presence: presence model.
        below: probability, in 0..1, below which a page is left out.
    """

    presence: Presence
    below: float

    def choose(
        self, page: PreparedPage, prefiller: Prefiller, pool: gp.DecodePool
    ) -> tuple[gp.EncodedPage, list[float | None], dict[int, Skipped]]:
        """Read a page, and decide by its scores and words which questions it is left out of.

        Args:
            page: the page, of which some questions may be skipped.
            prefiller: runs the model.
            pool: pool that holds the questions of other pages.

        Returns:
            The page after the vision tower; the probability that it holds the answer to each question, in 0..1, but
            ``None`` where it may not be left out; and the questions that it is left out of, by their place.

        Raises:
            PageError: the page does not fit into the device's memory.
        """
        read, scores = prefiller.score(page, pool)
        clues = [clues_of(row.cpu().numpy(), found) for row, found in zip(scores, page.words_found, strict=True)]
        found: list[float] = self.presence.probabilities(np.array(clues)).tolist()
        may_skip = [ask.question_id in page.may_skip for ask in page.asks]
        skipped = {i: Skipped(one) for i, one in enumerate(found) if may_skip[i] and one < self.below}
        if len(skipped) == len(page.asks):  # no answer will tell what the page took
            skipped[0] = Skipped(found[0], read.vision_ms, read.prefix_ms)
        return read, [one if mine else None for one, mine in zip(found, may_skip, strict=True)], skipped
