"""Reads the benchmark files of Visual-CoT, by which the article of GlimpsePrune measured: one list per data set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from PIL import Image as PilImage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.datasets.example import Example, Region
from pipeline.datasets.layout import wrong_field
from pipeline.errors import UsageError

ASKS_FOR_BOX = "Please provide the bounding box coordinate of the region that can help you answer the question better."
_IMAGE = "<image>\n"
_BOX = "###"  # between an image and the box in it


class _Turn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    value: str


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    question_id: int | str
    image: Annotated[list[str], Field(min_length=2)]
    conversations: Annotated[list[_Turn], Field(min_length=2)]


class _Box(BaseModel):
    x0: float
    y0: float
    x1: float
    y1: float


def read_benchmark(path: Path, rows: Sequence[Any], images: Path) -> Iterator[Example]:
    """Read a benchmark file, whose first turn asks a question and whose last turn answers it.

    Args:
        path: the file, for messages.
        rows: the list in it.
        images: folder that the names of images begin in; ``cot/docvqa/a.png`` may also be ``cot/docvqa/val/a.png``.

    Raises:
        UsageError: an entry has another layout, or an image is missing.
    """
    for number, raw in enumerate(rows):
        try:
            row = _Row.model_validate(raw)
            box = _box(row.image[1])
        except ValueError as error:
            told = wrong_field(error) if isinstance(error, ValidationError) else str(error)
            raise UsageError(
                f"{path}: entry {number}: expected the layout of Visual-CoT's benchmark: {told}"
            ) from error
        image = _found(images, row.image[0])
        if image is None:
            raise UsageError(f"{path}: image {row.image[0]} is not in {images}; name its folder with --images")
        with PilImage.open(image) as opened:
            width, height = opened.size
        yield Example(
            document=image,
            page=1,
            question_id=str(row.question_id),
            question=row.conversations[0].value.replace(ASKS_FOR_BOX, "").strip().replace(_IMAGE, ""),
            answers=(row.conversations[-1].value,),
            regions=(Region(box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height),),
        )


def _box(named: str) -> _Box:
    """Read the box in pixels from a name such as ``a.png###[74, 398, 404, 1118]``."""
    _, _, text = named.partition(_BOX)
    sides = json.loads(text)
    return _Box.model_validate(dict(zip(("x0", "y0", "x1", "y1"), sides, strict=True)))


def _found(folder: Path, name: str) -> Path | None:
    path = folder / name
    return next((one for one in (path, path.parent / "val" / path.name) if one.is_file()), None)
