"""Defines a calibration: a small model, stored as JSON, that says how often such answers are right."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from pipeline.confidence.features import FEATURES
from pipeline.confidence.presence import Presence
from pipeline.confidence.terms import Number, Numbers, Stored, Term, linear_scores
from pipeline.errors import UsageError
from pipeline.records import AnswerSettings

CALIBRATION_FILE = "calibration.json"
"""Name of the file beside an add-on or a model."""


Mode = Literal["off", "glimpse"]


class DataUsed(Stored):
    """One data set that a calibration was fitted on; ``answers`` of all modes, and how many were ``right``."""

    name: str
    answers: int = Field(ge=0)
    right: int = Field(ge=0)


class FittedOn(Stored):
    """What a calibration was fitted on.

    Attributes:
        fitted_at: time of the fit, in UTC.
        model: name of the model.
        model_fingerprint: fingerprint of its content.
        glimpse: name of the add-on; ``None`` without one.
        glimpse_fingerprint: fingerprint of its content.
        modes: ways in which the pages were pruned.
        dtype: type that the model computed in.
        dpi: resolution of the pages.
        drop_blank: whether blank paper was hidden from the model.
        look_again: ``confidence_raw`` below which a page was looked at again.
        data: the data sets.
    """

    fitted_at: str
    model: str
    model_fingerprint: str
    glimpse: str | None
    glimpse_fingerprint: str | None
    modes: tuple[Mode, ...]
    dtype: str
    dpi: int
    drop_blank: bool
    look_again: float
    data: tuple[DataUsed, ...]


class Calibration(Stored):
    """A logistic model of features, and an isotonic curve from its scores to probabilities.

    Attributes:
        fitted_on: where it comes from, and which model it is for.
        terms: what each feature adds to the score, in the order of ``FEATURES``.
        bias: score of an answer with mean features.
        knots: scores and the probabilities of being right there, both rising; straight lines between them.
        presence: what tells the pages that hold an answer from others; ``None`` where the data could not teach it.
    """

    format: Literal["docpipe-calibration"] = "docpipe-calibration"
    version: Literal[2] = 2
    fitted_on: FittedOn
    terms: dict[str, Term]
    bias: Number
    knots: tuple[tuple[Number, Number], ...] = Field(min_length=1)
    presence: Presence | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Calibration:
        if tuple(self.terms) != FEATURES:
            raise ValueError(f"terms: expected {', '.join(FEATURES)}, in this order")
        scores, shares = zip(*self.knots, strict=True)
        if list(scores) != sorted(set(scores)) or list(shares) != sorted(shares):
            raise ValueError("knots: expected rising scores and shares")
        if not 0.0 <= shares[0] <= shares[-1] <= 1.0:
            raise ValueError("knots: expected shares in 0..1")
        return self

    @property
    def fingerprint(self) -> str:
        """Identify what confidence depends on by 16 hex digits; when it was fitted and on which data is left out."""
        known_by_content = {"fitted_at", "data", "model", "glimpse"}
        content = self.model_dump_json(exclude={"fitted_on": known_by_content, "presence": True})
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def scores(self, matrix: Numbers) -> Numbers:
        """Return the score of each row of features ``[rows, len(FEATURES)]``."""
        return linear_scores(self.terms, self.bias, matrix)

    def confidence(self, matrix: Numbers) -> Numbers:
        """Return the probability that each answer is right, in 0..1; not a number where a feature is none."""
        scores, shares = zip(*self.knots, strict=True)
        found = self.scores(matrix)
        confidence: Numbers = np.where(np.isnan(found), np.nan, np.interp(found, scores, shares))
        return confidence

    def misfits(self, settings: AnswerSettings) -> list[str]:
        """Say why this calibration is not for a run; empty if it is.

        Args:
            settings: settings of the answers.
        """
        mine = self.fitted_on
        if mine.model_fingerprint != settings.model_fingerprint:
            return [f"it was fitted on another model ({mine.model}, {mine.model_fingerprint})"]
        needed: dict[Mode, bool] = {
            "off": settings.rule is None or settings.prune_auto,
            "glimpse": settings.rule is not None,
        }
        reasons = [f"it was not fitted on --prune {mode}" for mode in needed if needed[mode] and mode not in mine.modes]
        if settings.rule is not None and mine.glimpse_fingerprint != settings.glimpse_fingerprint:
            reasons.append(f"it was fitted on another add-on ({mine.glimpse}, {mine.glimpse_fingerprint})")
        return reasons

    def differences(self, settings: AnswerSettings) -> list[str]:
        """Say what was otherwise when it was fitted, and may make it less exact; the type of the weights is not told.

        Args:
            settings: settings of the answers.
        """
        mine = self.fitted_on
        found = []
        if mine.dpi != settings.dpi:
            found.append(f"--dpi was {mine.dpi}, is {settings.dpi}")
        if mine.drop_blank != settings.drop_blank:
            found.append(f"--drop-blank was {_switch(mine.drop_blank)}, is {_switch(settings.drop_blank)}")
        if mine.look_again != settings.look_again:
            found.append(f"--look-again was {mine.look_again:g}, is {settings.look_again:g}")
        return found

    def to_json(self) -> str:
        """Write the file."""
        return self.model_dump_json(indent=1) + "\n"


def parse_calibration(data: bytes, name: str) -> Calibration:
    """Read the content of a calibration file.

    Args:
        data: content of the file.
        name: name of the file, for messages.

    Raises:
        UsageError: it is no calibration of this version of docpipe.
    """
    try:
        return Calibration.model_validate(json.loads(data))
    except (ValueError, ValidationError, RecursionError) as error:
        reason = error.errors()[0] if isinstance(error, ValidationError) else None
        said = str(error) if reason is None else f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}"
        raise UsageError(
            f"{name} is no calibration of this version of docpipe ({said.strip(': ')}); make one with "
            "`docpipe calibrate`"
        ) from error


def _switch(on: bool) -> str:
    return "on" if on else "off"
