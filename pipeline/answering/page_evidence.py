"""Says where on a page an answer stands: among the words of its text layer, or else where the model looked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.answering.evidence import Importance, attention_boxes
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_text import PageText
from pipeline.answering.text_alignment import Found, find_answer
from pipeline.pages.ink import Ink
from pipeline.pages.renderer import decode_image
from pipeline.questions.values import list_items, says_yes_or_no
from pipeline.records import Ask, Evidence, EvidenceSource, PageImage

_READABLE = 0.5  # share of the print where the model looked that has to be in the text layer, for it to lack an answer
_SENTENCE = 8  # words; longer answers are not copied from a page word by word
_MOST_ITEMS = 200  # of a list

Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnswerEvidence:
    """Where an answer comes from.

    Attributes:
        boxes: boxes on the page; ``None`` where nothing is known.
        source: what they were found by; ``None`` without boxes.
        text: what the text layer has there; ``None`` without one.
        on_page: whether the answer stands on the page; ``None`` where that cannot be told.
    """

    boxes: tuple[Evidence, ...] | None = None
    source: EvidenceSource | None = None
    text: str | None = None
    on_page: bool | None = None


class PageEvidence:
    """Finds the evidence of all answers on one page.

    Args:
        image: the rendered page.
    """

    def __init__(self, image: PageImage) -> None:
        self._image = image
        self._text = None if image.words is None else PageText(image.words)

    def of(self, ask: Ask, answer: ModelAnswer) -> AnswerEvidence:
        """Find where an answer comes from.

        Args:
            ask: question that was asked.
            answer: answer of the model, which says more than that there is none.
        """
        found = self._of(ask, answer)
        if found.boxes is None:
            return found
        return replace(found, boxes=tuple(replace(box, page=self._image.page) for box in found.boxes))

    def _of(self, ask: Ask, answer: ModelAnswer) -> AnswerEvidence:
        importance = self._importance(answer)
        items = self._found(ask, answer.text)
        places = [self._best(found.places, importance) for found in items if found.places]
        same = bool(items) and all(found.same for found in items)
        if places:
            boxes = tuple(box for place in places for box in self._boxes(place, importance))
            on_page = True if same else False if self._must_stand(ask, answer.text) else None
            return AnswerEvidence(boxes, "text", "\n".join(self._texts(places)), on_page)
        looked: tuple[Evidence, ...] | None = None
        if importance is not None:
            least = -math.inf if ask.rule is None else ask.rule.threshold_logit
            looked = attention_boxes(importance, self._ink, least) or None
        told = bool(items) and self._must_stand(ask, answer.text) and self._readable(looked)
        source: EvidenceSource | None = "attention" if looked else None
        return AnswerEvidence(looked, source, self._text_under(looked), False if told else None)

    def _must_stand(self, ask: Ask, answer: str) -> bool:
        """Tell whether an answer has to stand on the page word by word, if it comes from there."""
        parts = list_items(answer) if ask.type == "list" else [answer]
        if ask.type == "choice" or self._text is None or max(len(part.split()) for part in parts) > _SENTENCE:
            return False
        items = [find_answer(self._text, part) for part in list_items(answer)[:_MOST_ITEMS]]
        in_pieces = len(items) > 1 and all(found is not None and found.same for found in items)
        return not in_pieces

    def _found(self, ask: Ask, answer: str) -> list[Found]:
        """Find an answer, or each item of a list; empty where there is no text, or no need that it holds the answer."""
        if self._text is None or ask.type == "boolean" or says_yes_or_no(answer):
            return []
        whole = find_answer(self._text, answer)
        parts = list_items(answer)[:_MOST_ITEMS] if ask.type == "list" else []
        if len(parts) < 2 or (whole is not None and whole.same):
            return [] if whole is None else [whole]
        return [found for found in (find_answer(self._text, part) for part in parts) if found is not None]

    def _importance(self, answer: ModelAnswer) -> Importance | None:
        if answer.keep is None or answer.scores is None:
            return None
        size = self._image.width_pt, self._image.height_pt
        return Importance(answer.keep, answer.scores, answer.grids[0], size, answer.frames[0])

    def _best(self, places: Sequence[Place], importance: Importance | None) -> Place:
        """Choose the place that the model looked at most; without scores, the first."""
        if self._text is None or importance is None or len(places) == 1:
            return places[0]
        boxes = {place: list(self._text.line_boxes(place)) for place in places}
        return max(places, key=lambda place: max(importance.under(box)[0] for box in boxes[place]))

    def _boxes(self, place: Place, importance: Importance | None) -> Iterator[Evidence]:
        for box in () if self._text is None else self._text.line_boxes(place):
            score = None if importance is None else importance.under(box)[1]
            yield Evidence(box[0], box[1], box[2], box[3], score)

    def _texts(self, places: Sequence[Place]) -> Iterator[str]:
        return (self._text.text_of(place) for place in places if self._text is not None)

    def _text_under(self, boxes: Sequence[Evidence] | None) -> str | None:
        """Return the words under the best box; ``None`` without a text layer."""
        if self._text is None or not boxes:
            return None
        best = boxes[0]
        return self._text.text_of(self._text.words_in((best.x0, best.y0, best.x1, best.y1))) or None

    def _readable(self, looked: Sequence[Evidence] | None) -> bool:
        """Tell whether the text layer has what is printed where the model looked, or else on most of the page."""
        if self._text is None:
            return False
        boxes = [(box.x0, box.y0, box.x1, box.y1) for box in looked or ()]
        whole = (0.0, 0.0, self._image.width_pt, self._image.height_pt)
        return all(self._ink.covered(box, self._text.boxes) >= _READABLE for box in boxes[:1] or [whole])

    @cached_property
    def _ink(self) -> Ink:
        return Ink(decode_image(self._image), self._image.width_pt, self._image.height_pt)
