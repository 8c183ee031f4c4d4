"""Reads data sets from disk: samples, corrections of a run, and the layouts of Visual-CoT, its benchmark and DocVQA."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image as PilImage
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from pipeline.datasets.corrections import load_corrections
from pipeline.datasets.example import Example, Region
from pipeline.datasets.layout import wrong_field
from pipeline.datasets.visual_cot_benchmark import read_benchmark
from pipeline.errors import UsageError
from pipeline.questions.values import AnswerType
from pipeline.samples.questions import ABSENT

_Row = TypeVar("_Row", bound=BaseModel)
TRUTH = "truth.jsonl"


class _Lenient(BaseModel):
    """A row whose unused fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _SampleBox(_Lenient):
    x0: FiniteFloat
    y0: FiniteFloat
    x1: FiniteFloat
    y1: FiniteFloat


class _SampleQuestion(_Lenient):
    key: str
    text: str
    answer: str
    box: _SampleBox | None
    type: AnswerType = "text"


class _SampleRow(_Lenient):
    document: str
    width_pt: float = Field(gt=0)
    height_pt: float = Field(gt=0)
    questions: list[_SampleQuestion]


class _CotRow(_Lenient):
    question: str
    answer: str
    image: str
    dataset: str | None = None
    bboxs: list[list[float]] = []
    possible_answers: list[str] = []
    width: float | None = None
    height: float | None = None


class _DocVqaRow(_Lenient):
    question: str
    image: str
    answers: list[str] = Field(min_length=1)
    questionId: int | str


def load_examples(data: str | Path, images: str | Path | None = None) -> list[Example]:
    """Read a data set; its format follows from the file name.

    Args:
        data: a folder that ``docpipe samples`` made; the output folder of a run, with corrections; a ``.jsonl`` file
            in the layout of Visual-CoT's metadata (question, answer, image, dataset, bboxs in pixels); a ``.json`` file
            with a list, in the layout of Visual-CoT's benchmark; or one with an object, in the layout of DocVQA
            (``data``: question, image, answers, questionId).
        images: folder of the images for the file layouts, by default the file's own folder; Visual-CoT images may
            be in ``cot/<dataset>/`` or ``<dataset>/`` below it, or in the folder itself. Folder of the documents of a
            run, by default where the run found them.

    Raises:
        UsageError: the data set does not exist, an entry has another layout, or an image is missing.
    """
    path = Path(data).expanduser()
    folder = Path(images).expanduser() if images is not None else path.parent
    if path.is_dir() and (path / TRUTH).is_file():
        return list(_samples(path))
    if path.is_dir() and (path / "answers").is_dir():
        return load_corrections(path, folder if images is not None else None)
    if path.suffix == ".jsonl" and path.is_file():
        return list(_visual_cot(path, folder))
    if path.suffix == ".json" and path.is_file():
        return list(_json(path, folder))
    raise UsageError(
        f"--data {data}: expected a folder made by `docpipe samples` (with {TRUTH}), the --output of a run with "
        "corrections, a .jsonl file in the layout of Visual-CoT, or a .json file in the layout of DocVQA or of "
        "Visual-CoT's benchmark"
    )


def _samples(folder: Path) -> Iterator[Example]:
    for row in _lines(folder / TRUTH, _SampleRow, "docpipe samples writes it so"):
        for question in row.questions:
            box = question.box
            region = None
            if box is not None:
                across, down = row.width_pt, row.height_pt
                region = Region(box.x0 / across, box.y0 / down, box.x1 / across, box.y1 / down)
            yield Example(
                document=folder / "pdfs" / row.document,
                page=1,
                question_id=question.key,
                question=question.text,
                answers=(question.answer,),
                regions=() if region is None else (region,),
                answerable=question.answer != ABSENT,
                type=question.type,
            )


def _visual_cot(path: Path, folder: Path) -> Iterator[Example]:
    for number, row in enumerate(_lines(path, _CotRow, "Visual-CoT has it so")):
        subfolders = ("",) if row.dataset is None else (f"cot/{row.dataset}", row.dataset, "")
        found = [folder / sub / row.image for sub in subfolders if (folder / sub / row.image).is_file()]
        if not found:
            raise UsageError(
                f"{path}: image {row.image} is neither in {folder} nor below it; name its folder with --images"
            )
        width, height = row.width, row.height
        if width is None or height is None:
            with PilImage.open(found[0]) as image:
                width, height = image.size
        if any(len(box) != 4 for box in row.bboxs):
            raise UsageError(f"{path}: line {number + 1}: bboxs: expected boxes of four numbers, found {row.bboxs}")
        yield Example(
            document=found[0],
            page=1,
            question_id=str(number),
            question=row.question,
            answers=(row.answer, *(a for a in row.possible_answers if a != row.answer)),
            regions=tuple(Region(b[0] / width, b[1] / height, b[2] / width, b[3] / height) for b in row.bboxs),
        )


def _json(path: Path, folder: Path) -> Iterator[Example]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected JSON: {error}") from error
    return read_benchmark(path, raw, folder) if isinstance(raw, list) else _docvqa(path, raw, folder)


def _docvqa(path: Path, raw: Any, folder: Path) -> Iterator[Example]:
    entries = raw.get("data") if isinstance(raw, dict) else None
    if not isinstance(entries, list):
        raise UsageError(f"{path}: expected the layout of DocVQA, an object with a list `data`; is it the right file?")
    for number, entry in enumerate(entries):
        try:
            row = _DocVqaRow.model_validate(entry)
        except ValidationError as error:
            raise UsageError(
                f"{path}: entry {number}: {wrong_field(error)}; DocVQA has it so, and answers only in its train and "
                "val files"
            ) from error
        if not (folder / row.image).is_file():
            raise UsageError(f"{path}: image {row.image} is not in {folder}; name its folder with --images")
        yield Example(folder / row.image, 1, str(row.questionId), row.question, tuple(row.answers), ())


def _lines(path: Path, layout: type[_Row], like: str) -> Iterator[_Row]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield layout.model_validate(json.loads(line))
            except json.JSONDecodeError as error:
                raise UsageError(
                    f"{path}: line {number}: not valid JSON at column {error.colno}: {error.msg}; expected one object "
                    "per line"
                ) from error
            except ValidationError as error:
                raise UsageError(f"{path}: line {number}: {wrong_field(error)}; {like}") from error
