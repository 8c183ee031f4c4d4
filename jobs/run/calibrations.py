"""Finds the calibration of a model: the one that a user names, or the one beside the add-on or the model."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.model_choice import ModelChoice
from pipeline.addresses import as_os_errors, open_address
from pipeline.answering.checkpoints import default_addon, is_local, resolve_addon, resolve_model
from pipeline.confidence.calibration import CALIBRATION_FILE, Calibration, parse_calibration
from pipeline.errors import UsageError
from pipeline.file_names import readable, without_password
from pipeline.questions.values import Reading
from pipeline.records import AnswerSettings


@dataclass(frozen=True, slots=True)
class FoundCalibration:
    """The calibration of a run.

    Attributes:
        calibration: the calibration; ``None`` if there is none for the model.
        file: name of its file; ``None`` without one.
        notes: what a user should know about it, one line each.
    """

    calibration: Calibration | None = None
    file: str | None = None
    notes: tuple[str, ...] = ()

    def report(self) -> dict[str, Any] | None:
        """Return what ``run.json`` says of it; ``None`` without a calibration."""
        if self.calibration is None:
            return None
        fitted_on = self.calibration.fitted_on.model_dump(mode="json")
        return {"file": self.file, "fingerprint": self.calibration.fingerprint, "fitted_on": fitted_on}


def find_calibration(choice: ModelChoice, given: str | None, settings: AnswerSettings) -> FoundCalibration:
    """Find the calibration of a model.

    Args:
        choice: the model as a user names it.
        given: path or URI of a calibration; ``None`` looks beside the add-on and the model.
        settings: settings of the answers.

    Raises:
        UsageError: the file cannot be read or is no calibration; or it was given, and is one of another model.
    """
    if given is not None:
        name = readable(without_password(given))
        calibration = parse_calibration(_read(given, name), name)
        misfits = calibration.misfits(settings)
        if misfits:
            raise UsageError(f"--calibration {name} does not fit: {'; '.join(misfits)}; {_remedy(choice)}")
        return _found(calibration, name, settings)
    notes: list[str] = []
    for folder in _folders(choice, settings):
        file = folder / CALIBRATION_FILE
        if not file.is_file():
            continue
        name = readable(str(file))
        calibration = parse_calibration(_read(str(file), name), name)
        misfits = calibration.misfits(settings)
        if not misfits:
            return _found(calibration, name, settings)
        notes.append(f"{name} is not used, so answers have no confidence: {'; '.join(misfits)}; {_remedy(choice)}")
    return FoundCalibration(notes=tuple(notes))


def check_review(found: FoundCalibration, choice: ModelChoice, readings: Sequence[Reading]) -> None:
    """Refuse to send answers to review for their confidence where they have none.

    Args:
        found: calibration of the run.
        choice: the model as a user names it.
        readings: how the answers to each question are read.

    Raises:
        UsageError: a question or the run says ``review_below``, and there is no calibration.
    """
    if found.calibration is None and any(reading.review_below is not None for reading in readings):
        why = f" ({'; '.join(found.notes)})" if found.notes else ""
        raise UsageError(
            f"--review-below needs a calibration of model {choice.model}, found none{why}; {_remedy(choice)}, or "
            "leave --review-below and review_below out"
        )


def with_skipping(
    found: FoundCalibration, choice: ModelChoice, settings: AnswerSettings, skip_below: float | None
) -> AnswerSettings:
    """Add what decides which pages are left out of questions to the settings of the answers.

    Args:
        found: calibration of the run.
        choice: the model as a user names it.
        settings: settings of the answers.
        skip_below: probability below which a page is left out, in 0..1; ``None`` leaves out none.

    Raises:
        UsageError: the model scores no pages, or its calibration cannot tell which pages hold an answer.
    """
    if skip_below is None:
        return settings
    if settings.rule is None:
        raise UsageError(
            "--skip-below goes by the scores of an add-on, and pages are not scored without pruning; name an add-on "
            "with --glimpse and leave --prune off out, or leave --skip-below out"
        )
    if found.calibration is None:
        why = f" ({'; '.join(found.notes)})" if found.notes else ""
        raise UsageError(
            f"--skip-below needs a calibration of model {choice.model}, found none{why}; {_remedy(choice)}, or leave "
            "--skip-below out"
        )
    if found.calibration.presence is None:
        raise UsageError(
            f"--skip-below needs to know which pages hold an answer, and {found.file} does not tell: it is of an older "
            f"docpipe, or was fitted on too few questions whose page does not hold the answer; {_remedy(choice)}, from "
            "data that has some, or leave --skip-below out"
        )
    return replace(settings, skip_below=skip_below, presence_fingerprint=found.calibration.presence.fingerprint)


def _found(calibration: Calibration, name: str, settings: AnswerSettings) -> FoundCalibration:
    otherwise = calibration.differences(settings)
    notes = (
        (f"the confidence may be off, since {name} was fitted otherwise: {', '.join(otherwise)}",) if otherwise else ()
    )
    return FoundCalibration(calibration, name, notes)


def _folders(choice: ModelChoice, settings: AnswerSettings) -> Iterator[Path]:
    addon = choice.glimpse or default_addon(choice.model)
    if addon is not None and (settings.rule is not None or is_local(addon)):  # else it would be downloaded for this
        yield resolve_addon(addon)
    yield resolve_model(choice.model, choice.revision)


def _read(address: str, name: str) -> bytes:
    try:
        with as_os_errors():
            fs, path = open_address(address)
            content: bytes = fs.cat_file(path)
    except (UsageError, OSError, ValueError, ImportError) as error:
        raise UsageError(
            f"the calibration {name} cannot be read: {error}; name a file of `docpipe calibrate`"
        ) from error
    return content


def _remedy(choice: ModelChoice) -> str:
    flags = choice.model_copy(update={"prune": None}).flags()
    words = shlex.join(["docpipe", "calibrate", "--data", "LABELLED", "--out", "calibration.json", *flags])
    return f"make one with `{words}` and name it with --calibration"
