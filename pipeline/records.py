"""Plain data that moves between the stages; all of it can be pickled, and none of it holds a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from glimpseprune.rule import KeepRule
from pipeline.errors import Stage
from pipeline.words import Words

Status = Literal["answered", "not_answerable", "skipped", "failed", "needs_review"]
"""How a row ended; ``skipped`` is a page that was left out of a question, by ``--skip-below``."""
Reason = Literal["empty", "cut_off", "forced", "floor", "page", "value", "confidence"]
"""Why an answer needs review: it is empty, was cut off, or was forced by the limits of its type, too few visual tokens
passed the threshold, the picture of the page is doubtful, it stands for no value of its question's type, or its
confidence is too low."""
FallbackReason = Literal["question", "floor", "confidence"]
"""Why a question was asked again without pruning: it counts, lists or compares, too few visual tokens passed the
threshold, or its answer was not confident."""
Renderer = Literal["mupdf", "pdfium", "pillow"]
EvidenceSource = Literal["text", "attention"]
"""Whether evidence was found among the words of the text layer, or by the visual tokens that were kept."""
STATUSES: tuple[Status, ...] = ("answered", "not_answerable", "skipped", "failed", "needs_review")


@dataclass(frozen=True, slots=True)
class Document:
    """One file to read, known from a listing alone.

    ``document_id`` is a hash of the file's address (links to its folder resolved), ``path``, ``size_bytes`` and
    ``version``, so the file need not be opened for it.
    """

    document_id: str
    path: str  # below its --input, "/" as separator
    uri: str  # what fsspec opens; a plain path for local files
    size_bytes: int
    version: str  # etag, or modification time in ns
    source: str = ""  # the --input that it was found under, as given
    members: tuple[int, ...] = ()  # inside a portfolio: number of the file, and of those in portfolios inside it


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a document, page or unit has no answer."""

    stage: Stage
    error_type: str
    error_message: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class PageCount:
    """The number of pages of a document, or the reason why it is not known."""

    document_id: str
    pages: int | None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """The page sizes that a checkpoint takes, as plain data; only its family turns them into a page size.

    Attributes:
        factor: pixels along one side of a visual token.
        min_pixels: smallest area of a page.
        max_pixels: largest area of a page; equal to the smallest where the grid is fixed.
        family: dotted path of the module that holds the family, for any process to import.
    """

    factor: int
    min_pixels: int
    max_pixels: int
    family: str


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """Everything an answer depends on besides document and question; part of every unit's id.

    ``rule`` is the default rule of the run (``None``: nothing is pruned); a question's ``keep`` overrides its fields.
    With ``prune_auto``, each page decides whether to prune (``--prune auto``). With ``drop_blank``, the model does not
    see blank paper. With ``fallback``, some questions are asked again without pruning (``--fallback dense``). Answers
    whose ``confidence_raw`` is below ``look_again`` are asked for again, on the page at another size. Without
    a ``repetition_penalty``, the checkpoint's holds. With ``skip_below``, pages that hold an answer with a lower
    probability are left out of its question; the probability is that of the presence model with this fingerprint. With
    ``ocr``, pages without a text layer are read by that release of it (``--ocr``).
    """

    model: str
    model_fingerprint: str
    glimpse: str | None
    glimpse_fingerprint: str | None
    rule: KeepRule | None
    dpi: int
    budget: PixelBudget
    dtype: str
    seed: int
    prune_auto: bool = False
    drop_blank: bool = False
    revision: str | None = None  # of a model on the hub
    fallback: bool = False
    look_again: float = 0.0
    repetition_penalty: float | None = None
    skip_below: float | None = None
    presence_fingerprint: str | None = None
    ocr: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One question as the model gets it, with all defaults applied.

    With ``prune_auto``, it is answered without pruning on pages where that is cheaper; this needs a rule. An answer
    has to be one of ``choices``, if there are any. ``items`` is the type of the entries of a ``list``. With
    ``constrain``, the model can only say what the type allows. With ``choice_probabilities``, the answer comes with the
    probability of each choice. ``text`` is the question without the instructions of the prompt.
    """

    question_id: str
    prompt: str
    type: str
    max_new_tokens: int
    rule: KeepRule | None
    prune_auto: bool = False
    choices: tuple[str, ...] = ()
    items: str | None = None
    constrain: bool = True
    choice_probabilities: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """One question on a range of pages of one document, which is never computed twice.

    ``pages`` are 1-based, and each gets a row. Empty ``pages`` stand for a document that cannot be opened: one failed
    row, page null. A unit that is divided among several parts is not ``whole``: it keeps its id, and ``pages`` are some
    of its pages. A question about several pages together has one row, which the first of them names; the others are
    ``further``.
    """

    unit_id: str
    document_id: str
    question_id: str
    pages: tuple[int, ...]
    whole: bool = True
    further: tuple[int, ...] = ()

    @property
    def read_pages(self) -> tuple[int, ...]:
        """Return all pages that the model reads for this unit, in order."""
        return self.pages + self.further

    def asks_about(self, *pages: int) -> bool:
        """Tell whether the question is asked about one page by itself, or about several together."""
        return self.read_pages == pages if self.further else len(pages) == 1 and pages[0] in self.pages


@dataclass(frozen=True, slots=True)
class Bundle:
    """The work of one actor call, committed as one part, or as several if it takes long.

    ``bundle_id`` depends on the documents and pages that were packed together, not on what is left to do of them.
    ``failures`` maps the id of a document that could not be opened to the reason.
    """

    bundle_id: str
    documents: tuple[Document, ...]
    asks: tuple[Ask, ...]
    units: tuple[Unit, ...]
    failures: dict[str, Failure]

    def pages_of(self, document_id: str) -> list[int]:
        """Return the 1-based pages of a document that any unit of this bundle needs, in order."""
        return sorted({p for u in self.units if u.document_id == document_id for p in u.read_pages})

    def asks_of(self, document_id: str, *pages: int) -> list[Ask]:
        """Return the questions about one page by itself, or about several together, in the order of the file."""
        wanted = {u.question_id for u in self.units if u.document_id == document_id and u.asks_about(*pages)}
        return [ask for ask in self.asks if ask.question_id in wanted]


@dataclass(frozen=True, slots=True)
class PageImage:
    """A page at the size the model takes; ``data`` is RGB, raw uint8 ``[height, width, 3]`` or PNG.

    Attributes:
        renderer: library that drew it.
        warnings: complaints of the libraries about the page, one per line; ``None`` without any.
        is_repaired: whether the document was damaged, as far as that was seen by then.
        is_doubtful: whether a part of the page may be missing, or its letters wrong.
        blank: whether the page is of one colour all over.
        words: its text layer; ``None`` without one that can be read.
    """

    document_id: str
    page: int
    width_pt: float
    height_pt: float
    dpi: float  # resolution used, after fitting into the budget
    width_px: int
    height_px: int
    visual_tokens: int
    render_ms: float
    encoding: Literal["raw", "png"]
    data: bytes
    renderer: Renderer | None = None
    warnings: str | None = None
    is_repaired: bool = False
    is_doubtful: bool = False
    blank: bool = False
    words: Words | None = None


@dataclass(frozen=True, slots=True)
class PageFailure:
    """A page that could not be rendered."""

    document_id: str
    page: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class RenderedBundle:
    """A bundle with its rendered pages, by document and page; ``sha256`` maps document id to content hash."""

    bundle: Bundle
    images: tuple[PageImage, ...]
    failures: tuple[PageFailure, ...]
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A box in PDF points, origin at the top left, and the best importance logit inside it, where there are any."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float | None
    page: int | None = None  # that it is on; in the rows of a run always known


@dataclass(frozen=True, slots=True)
class ChoiceProbability:
    """The probability that the model answers with a choice as it is written, and with nothing else."""

    choice: str
    probability: float


@dataclass(frozen=True, slots=True)
class OtherAnswer:
    """What another look at the page answered: ``look`` is its number, from 1."""

    answer: str
    confidence_raw: float
    look: int


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """The answer to one question on one page, as the model gave it, or the ``failure`` that prevented it.

    ``page`` is the first of several that were read together, and ``further_pages`` are the others.
    """

    document_id: str
    page: int | None
    question_id: str
    unit_id: str
    status: Status
    further_pages: tuple[int, ...] = ()
    presence: float | None = None  # probability that the page holds the answer, in 0..1
    answer: str | None = None
    review_reasons: tuple[Reason, ...] = ()
    confidence_raw: float | None = None
    logprob_mean: float | None = None
    logprob_min: float | None = None
    logprob_first: float | None = None
    margin_min: float | None = None
    glimpse_mass: float | None = None
    glimpse_spread: float | None = None
    choice_probabilities: tuple[ChoiceProbability, ...] | None = None
    finish_reason: str | None = None  # "stop" | "length" | "blank", where the page is blank
    evidence: tuple[Evidence, ...] | None = None
    evidence_source: EvidenceSource | None = None
    evidence_text: str | None = None
    on_page: bool | None = None
    visual_tokens: int | None = None
    kept_tokens: int | None = None
    retention: float | None = None
    floor_hit: bool | None = None
    cap_hit: bool | None = None
    kv_tokens_full: int | None = None
    kv_tokens_kept: int | None = None
    kv_bytes_full: int | None = None
    kv_bytes_kept: int | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    new_tokens: int | None = None
    pruning: Literal["glimpse", "unpruned"] | None = None
    fallback: FallbackReason | None = None
    pruned_answer: str | None = None  # before the fallback
    look: int | None = None  # number of the look at the page that the answer is of
    other_answers: tuple[OtherAnswer, ...] | None = None  # of the other looks, in their order
    expected_tflops_glimpse: float | None = None
    expected_tflops_unpruned: float | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Sent to the driver once a bundle is committed.

    Attributes:
        bundle_id: the bundle that was committed.
        pages: number of its pages, including failed ones and those of attempts that died.
        busy_ms: time from the rendered pages to the last commit.
        model_ms: part of this time in which the model ran: vision tower, prefill and decoding.
        began_at_s: wall clock time of the beginning, in seconds since the epoch.
        ended_at_s: wall clock time of the last commit, in seconds since the epoch.
        attempt: number of the attempt, from 1.
        moved: whether the pages were rendered on another machine than that of the model.
        lines: description of each page that this attempt committed, for the log; empty where nobody reads it.
    """

    bundle_id: str
    pages: int
    busy_ms: float
    model_ms: float
    began_at_s: float
    ended_at_s: float
    attempt: int = 1
    moved: bool = False
    lines: tuple[dict[str, Any], ...] = ()


Image = npt.NDArray[np.uint8]  # [height, width, 3] RGB
