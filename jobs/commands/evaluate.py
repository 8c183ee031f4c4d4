"""Does the work of ``docpipe eval``: measures how often a model is right, and what pruning keeps."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.model_choice import ModelChoice, Seed, check_attention, device_of, gather_choice
from jobs.progress import Progress
from jobs.run.prepare import answer_settings
from pipeline.errors import UsageError
from pipeline.evaluation.modes import MODES, Mode

if TYPE_CHECKING:
    from pipeline.evaluation.score_table import Score


class EvalSettings(BaseModel):
    """All settings of ``docpipe eval``; field names are the flags with underscores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    images: str | None = None
    out: Path
    compare: tuple[Mode, ...] = MODES
    choice: ModelChoice = ModelChoice()
    pages: int | None = Field(default=None, ge=1)
    seed: Seed = 0
    quiet: bool = False

    gather = model_validator(mode="before")(gather_choice)


def parse_modes(text: str) -> tuple[Mode, ...]:
    """Read the comma-separated modes of ``--compare``, and return them in the order of measuring.

    Args:
        text: value of ``--compare``.

    Raises:
        UsageError: a mode is unknown, or ``random`` lacks ``glimpse``, whose numbers of tokens it keeps.
    """
    named = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in named if name not in MODES]
    if unknown or not named:
        raise UsageError(f"--compare {text}: expected some of {', '.join(MODES)}, separated by commas")
    if "random" in named and "glimpse" not in named:
        raise UsageError("--compare random keeps as many tokens as glimpse does; name glimpse too")
    return tuple(mode for mode in MODES if mode in named)


def evaluate(settings: EvalSettings) -> list[Score]:
    """Measure a model on a data set, and write one row per answer to ``settings.out``.

    Args:
        settings: settings of the evaluation.

    Raises:
        UsageError: the data set cannot be read, a name cannot be resolved, or flags contradict each other.
        OutputError: the file cannot be written.
        ModelError: the model cannot be loaded.
    """
    from pipeline.answering.page_answerer import PageAnswerer
    from pipeline.answering.tuning import leaves_dtype_open, measured_dtype
    from pipeline.datasets.example import by_page
    from pipeline.datasets.load import load_examples
    from pipeline.datasets.page_images import PageImages
    from pipeline.evaluation.evaluate import Measured, measure_page
    from pipeline.evaluation.score_table import check_target, scores, write_rows
    from pipeline.pages.renderer import RenderChild

    choice = settings.choice
    if "glimpse" not in settings.compare:
        choice = choice.model_copy(update={"prune": "off"})
    fixed = answer_settings(choice, settings.seed)
    if "glimpse" in settings.compare and fixed.rule is None:
        raise UsageError("--compare glimpse needs an add-on; name one with --glimpse")
    check_attention(choice, device_of(choice))
    pages = list(islice(by_page(load_examples(settings.data, settings.images)), settings.pages))
    check_target(settings.out)
    dtype = measured_dtype().dtype if leaves_dtype_open(choice.dtype, device_of(choice)) else choice.dtype
    page_answerer = PageAnswerer.load(
        choice.model, fixed.glimpse, choice.device, dtype, choice.attn, settings.seed, choice.revision
    )
    page_answerer.model.pack()
    page_answerer.drop_blank = fixed.drop_blank
    rows: list[Measured] = []
    with RenderChild() as child, Progress(len(pages), "page", settings.quiet) as progress:
        images = PageImages(child, fixed.dpi, fixed.budget)
        for number, examples in enumerate(pages):
            page, seed = images.of(examples[0]), settings.seed + number
            rows += measure_page(page_answerer, page, examples, settings.compare, fixed.rule, seed)
            progress.add()
    write_rows(rows, settings.out)
    return scores(rows)
