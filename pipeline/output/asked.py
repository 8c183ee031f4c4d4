"""Keeps the questions of the last run beside its answers, for those who read them later."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import UsageError
from pipeline.output.folder import Folder
from pipeline.questions.file import QuestionSet
from pipeline.questions.values import Reading

_NAME = "questions.json"


class Asked(BaseModel):
    """The questions of a run.

    Attributes:
        asked: the questions, and where their values stand in a record.
        locale: locale of the run, for questions that declare none.
        review_below: confidence below which answers need review, for questions that declare none.
    """

    model_config = ConfigDict(frozen=True)

    asked: QuestionSet
    locale: str | None = None
    review_below: float | None = None

    @property
    def readings(self) -> Mapping[str, Reading]:
        """Tell how the answers to each question are read, by its id."""
        return {question.id: question.reading(self.locale, self.review_below) for question in self.asked.questions}

    @property
    def texts(self) -> Mapping[str, str]:
        """Return the text of each question, by its id."""
        return {question.id: question.text for question in self.asked.questions}


def write_asked(folder: Folder, asked: Asked) -> None:
    """Write the questions of a run.

    Args:
        folder: the output folder.
        asked: the questions.

    Raises:
        OutputError, EngineError: the file system refuses.
    """
    folder.write(_NAME, (asked.model_dump_json(indent=2) + "\n").encode())


def read_asked(folder: Folder) -> Asked:
    """Read the questions of the last run.

    Args:
        folder: the output folder.

    Raises:
        UsageError: the file is missing or damaged.
        EngineError: the file cannot be read.
    """
    data = folder.read(_NAME)
    where = f"{folder.uri.rstrip('/')}/{_NAME}"
    if data is None:
        raise UsageError(f"expected {where}, found nothing; name the --output of a run, or run its command again")
    try:
        return Asked.model_validate_json(data)
    except ValidationError as error:
        raise UsageError(
            f"{where} is damaged: {' '.join(str(error).split())}; run the command of that folder again, which writes it"
        ) from error
