"""Does the work of ``docpipe eval``: measures how often a model is right, and what pruning keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.model_choice import ModelChoice, Seed, check_attention_here, device_of, gather_choice
from jobs.progress import Progress
from jobs.run.calibrations import find_calibration
from jobs.run.prepare import answer_settings
from pipeline.errors import UsageError
from pipeline.evaluation.modes import MODES, USUAL_MODES, WITHOUT_ADDON, Mode
from pipeline.records import AnswerSettings

if TYPE_CHECKING:
    from pipeline.datasets.example import Example
    from pipeline.evaluation.evaluate import Measured


_BESIDE_LOOKS: tuple[Mode, ...] = ("off", "glimpse", "random", "ocr")  # random masks are no rival


class EvalSettings(BaseModel):
    """All settings of ``docpipe eval``; field names are the flags with underscores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    images: str | None = None
    benchmark: str | None = None
    out: Path
    compare: tuple[Mode, ...] = USUAL_MODES
    keep: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    choice: ModelChoice = ModelChoice()
    calibration: str | None = None
    pages: int | None = Field(default=None, ge=1)
    seed: Seed = 0
    quiet: bool = False

    gather = model_validator(mode="before")(gather_choice)


def parse_shares(text: str | None) -> tuple[float, ...]:
    """Read the comma-separated shares of ``--keep``.

    Args:
        text: value of ``--keep``; ``None`` if it was not given.

    Raises:
        UsageError: one is no number.
    """
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise UsageError(f"--keep {text}: expected shares in 0..1, separated by commas, such as 0.111,0.5") from error


def parse_modes(text: str, shares: Sequence[float] = ()) -> tuple[Mode, ...]:
    """Read the comma-separated modes of ``--compare``, and return them in the order of measuring.

    Args:
        text: value of ``--compare``.
        shares: shares of ``--keep``.

    Raises:
        UsageError: a mode is unknown, or lacks ``glimpse``, as many tokens as which it keeps without ``--keep``.
    """
    named = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in named if name not in MODES]
    if unknown or not named:
        raise UsageError(f"--compare {text}: expected some of {', '.join(MODES)}, separated by commas")
    others = [name for name in named if name not in ("glimpse", *WITHOUT_ADDON)]
    if others and not shares and "glimpse" not in named:
        raise UsageError(
            f"--compare {others[0]} keeps as many tokens as glimpse does; name glimpse too, or give --keep"
        )
    return tuple(mode for mode in MODES if mode in named)


def evaluate(settings: EvalSettings) -> list[Measured]:
    """Measure a model on a data set, and write one row per answer to ``settings.out``.

    Args:
        settings: settings of the evaluation.

    Raises:
        UsageError: the data set cannot be read, a name cannot be resolved, or flags contradict each other.
        OutputError: the file cannot be written.
        ModelError: the model cannot be loaded.
    """
    from pipeline.datasets.load import load_examples

    return measure(settings, lambda: load_examples(settings.data, settings.images))


def measure(settings: EvalSettings, read: Callable[[], Sequence[Example]]) -> list[Measured]:
    """Measure a model on examples, and write one row per answer to ``settings.out``.

    Args:
        settings: settings of the evaluation.
        read: function that reads the examples, once the other settings are checked.

    Raises:
        UsageError: the examples cannot be read, a name cannot be resolved, or flags contradict each other.
        OutputError: the file cannot be written.
        ModelError: the model cannot be loaded.
    """
    from pipeline.evaluation.evaluate import with_confidence
    from pipeline.evaluation.score_table import check_target, write_rows

    choice = settings.choice
    if "glimpse" not in settings.compare:
        if choice.fallback != "off":
            raise UsageError(f"--fallback {choice.fallback} has no effect without pruning; compare glimpse too")
        if all(mode in WITHOUT_ADDON for mode in settings.compare):
            choice = choice.model_copy(update={"prune": "off"})
    fixed = answer_settings(choice, settings.seed)
    found = find_calibration(choice, settings.calibration, fixed)
    if not settings.quiet:
        sys.stderr.writelines(f"warning: {note}\n" for note in found.notes)
    examples = read()
    if not examples:
        raise UsageError(f"--data {settings.data}: expected questions with their answers, found none; add some to it")
    check_target(settings.out)
    answerer = LoadedAnswerer(choice, fixed, settings.compare, settings.quiet)
    rows = answerer.measure(examples, settings.pages, settings.keep)
    if found.calibration is not None:
        rows = with_confidence(rows, found.calibration)
    write_rows(rows, settings.out)
    return rows


def _look_again(choice: ModelChoice, fixed: AnswerSettings, modes: Sequence[Mode]) -> float:
    """Return the confidence below which pages are looked at again: never beside methods that cannot do so."""
    once = [mode for mode in modes if mode not in _BESIDE_LOOKS]
    if once and choice.look_again:
        raise UsageError(f"--compare {once[0]} looks at a page once; leave --look-again {choice.look_again:g} out")
    return 0.0 if once else fixed.look_again


class LoadedAnswerer:
    """Measures a model in some modes, on one data set after the other.

    Args:
        choice: model and how it runs.
        fixed: settings of the answers, made of it.
        modes: modes in the order of measuring.
        quiet: whether no progress is shown.

    Attributes:
        dtype: type that the model computes in.

    Raises:
        UsageError: a mode needs an add-on, and there is none; the device is not there; or there is no OCR for ``ocr``.
        ModelError: the model cannot be loaded.
    """

    def __init__(self, choice: ModelChoice, fixed: AnswerSettings, modes: Sequence[Mode], quiet: bool) -> None:
        from pipeline.answering.page_answerer import PageAnswerer
        from pipeline.answering.tuning import leaves_dtype_open, measured_dtype
        from pipeline.pages.ocr import OcrReader

        pruned = [mode for mode in modes if mode not in WITHOUT_ADDON]
        if pruned and fixed.rule is None:
            raise UsageError(f"--compare {pruned[0]} needs an add-on; name one with --glimpse")
        look_again = _look_again(choice, fixed, modes)
        self._reader = OcrReader() if "ocr" in modes else None
        check_attention_here(choice)
        dtype = measured_dtype().dtype if leaves_dtype_open(choice.dtype, device_of(choice)) else choice.dtype
        self._page_answerer = PageAnswerer.load(
            choice.model,
            fixed.glimpse,
            choice.device,
            dtype,
            choice.attn,
            fixed.seed,
            choice.revision,
            repetition_penalty=fixed.repetition_penalty,
        )
        self._page_answerer.model.pack()
        self._page_answerer.drop_blank, self._page_answerer.fallback = fixed.drop_blank, fixed.fallback
        self._page_answerer.look_again = look_again
        self.dtype = str(self._page_answerer.model.backbone.dtype).removeprefix("torch.")
        self._fixed, self._quiet = fixed, quiet
        self._modes = [mode for mode in modes if mode != "ocr"]
        self._prompt, self._max_new_tokens = choice.prompt, choice.max_new_tokens

    def measure(
        self, examples: Sequence[Example], most_pages: int | None = None, shares: Sequence[float] = ()
    ) -> list[Measured]:
        """Answer examples in every mode.

        Args:
            examples: labelled questions.
            most_pages: number of pages to stop after; ``None`` for all.
            shares: shares of the visual tokens to keep, in 0..1; empty for as many as ``glimpse`` keeps.

        Raises:
            UsageError: a page cannot be rendered.
        """
        from pipeline.datasets.example import by_page
        from pipeline.datasets.page_images import PageImages
        from pipeline.evaluation.evaluate import MAX_NEW_TOKENS, measure_page
        from pipeline.evaluation.ocr_rival import measure_ocr
        from pipeline.pages.renderer import RenderChild

        fixed, pages = self._fixed, list(islice(by_page(examples), most_pages))
        rows: list[Measured] = []
        with RenderChild() as child, Progress(len(pages), "page", self._quiet) as progress:
            images = PageImages(child, fixed.dpi, fixed.budget)
            for number, mine in enumerate(pages):
                page, seed = images.rendered(mine[0]), fixed.seed + number
                rows += measure_page(
                    self._page_answerer,
                    page,
                    mine,
                    self._modes,
                    fixed.rule,
                    seed,
                    self._prompt,
                    self._max_new_tokens or MAX_NEW_TOKENS,
                    shares,
                )
                if self._reader is not None:
                    rows += measure_ocr(self._reader, page, mine)
                progress.add()
        return rows
