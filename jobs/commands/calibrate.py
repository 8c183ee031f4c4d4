"""Does the work of ``docpipe calibrate``: learns from labelled pages how often such answers are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.commands.evaluate import LoadedAnswerer
from jobs.model_choice import ModelChoice, gather_choice
from jobs.progress import counted
from jobs.run.prepare import answer_settings
from pipeline.answering.checkpoints import NANO, default_addon
from pipeline.confidence.calibration import CALIBRATION_FILE, DataUsed, FittedOn, Mode
from pipeline.errors import UsageError
from pipeline.file_names import readable
from pipeline.output.faults import make_folder, whole_file
from pipeline.records import AnswerSettings


class CalibrateSettings(BaseModel):
    """All settings of ``docpipe calibrate``; field names are the flags with underscores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: tuple[str, ...] = Field(min_length=1)
    images: str | None = None
    out: Path | None = None
    choice: ModelChoice = ModelChoice()
    pages: int | None = Field(default=None, ge=1)
    quiet: bool = False

    gather = model_validator(mode="before")(gather_choice)


def calibrate(settings: CalibrateSettings, show: Callable[[str], Any]) -> Path:
    """Ask a model what is known, fit a calibration on its answers, and write it.

    Args:
        settings: settings of the calibration.
        show: function that prints a line.

    Returns:
        The file.

    Raises:
        UsageError: a data set cannot be read, a name cannot be resolved, the data are too few, or scikit-learn is not
            installed.
        OutputError: the file cannot be written.
        ModelError: the model cannot be loaded.
    """
    from pipeline.datasets.load import load_examples
    from pipeline.evaluation.fit_calibration import check_scikit_learn, fit_calibration
    from pipeline.evaluation.fit_presence import FEWEST, fit_presence

    check_scikit_learn()
    choice = settings.choice
    fixed = answer_settings(choice, seed=0)
    target = settings.out or _beside(choice)
    make_folder(target.parent)
    sets = [(name, load_examples(name, settings.images)) for name in settings.data]
    modes: tuple[Mode, ...] = ("off",) if fixed.rule is None else ("off", "glimpse")
    answerer = LoadedAnswerer(choice, fixed, modes, settings.quiet)
    answers, used = [], []
    for name, examples in sets:
        mine = answerer.measure(examples, settings.pages)
        right = sum(row.value_equal for row in mine)
        used.append(DataUsed(name=readable(Path(name).name or name), answers=len(mine), right=right))
        answers.append(mine)
    presence = fit_presence(row for mine in answers for row in mine)
    calibration = fit_calibration(answers, _fitted_on(choice, fixed, answerer.dtype, modes, used))
    calibration = calibration.model_copy(update={"presence": presence})
    with whole_file(target, "--out") as file:
        file.write_text(calibration.to_json(), encoding="utf-8")
    show(f"{counted(sum(one.answers for one in used), 'answer')}, of which {sum(one.right for one in used)} are right")
    if presence is not None:
        show(f"--skip-below knows {presence.held} questions whose page holds the answer and {presence.absent} others")
    elif fixed.rule is not None:
        show(f"--skip-below needs {FEWEST} questions whose page holds the answer and {FEWEST} others; found too few")
    return target


def _beside(choice: ModelChoice) -> Path:
    """Name the file beside the add-on, or beside a model without one, where runs look for it."""
    name = choice.glimpse or default_addon(choice.model) or choice.model
    folder = Path(name).expanduser()
    if name == NANO or not folder.is_dir():
        raise UsageError(f"--out is needed, since {name} is not a folder that a calibration could be written to")
    return folder / CALIBRATION_FILE


def _fitted_on(
    choice: ModelChoice, fixed: AnswerSettings, dtype: str, modes: tuple[Mode, ...], used: Sequence[DataUsed]
) -> FittedOn:
    return FittedOn(
        fitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=readable(Path(choice.model).name),
        model_fingerprint=fixed.model_fingerprint,
        glimpse=None if fixed.glimpse is None else readable(Path(fixed.glimpse).name),
        glimpse_fingerprint=fixed.glimpse_fingerprint,
        modes=modes,
        dtype=dtype,
        dpi=fixed.dpi,
        drop_blank=fixed.drop_blank,
        look_again=fixed.look_again,
        data=tuple(used),
    )
