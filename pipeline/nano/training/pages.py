"""Batches of drawn documents with their questions, ready for the training forward."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pymupdf
import torch
from torch import Tensor

from pipeline.nano.training import vocabulary
from pipeline.nano.training.language import OFFSETS, Questions
from pipeline.nano.training.shape import CELL
from pipeline.nano.training.targets import CLASS_OF, IGNORE, CharacterTargets, character_targets
from pipeline.nano.training.text_pages import PIXELS_PER_POINT
from pipeline.nano.training.tower import cells_in_window_order, in_window_order
from pipeline.samples import Family, Sample, make_sample
from pipeline.samples.fields import FIELDS
from pipeline.samples.questions import ABSENT, absent_keys, phrase

LENGTH = 28  # tokens of the longest question and answer together
_NUMBER = {field.key: i for i, field in enumerate(FIELDS)}
_QUESTION_ARRAYS = ("targets", "pointer", "slot", "asked", "place")


@dataclass(frozen=True, slots=True)
class PageBatch:
    """Pages of one size with their questions.

    Attributes:
        pixels: ``[B, H, W]`` uint8 grey.
        patch: reading targets ``[B, patches, COLUMNS]`` in window order.
        cell: reading targets ``[B, cells, SLOTS]`` in window order.
        questions: what is asked.
    """

    pixels: Tensor
    patch: Tensor
    cell: Tensor
    questions: Questions


def page_batch(seed: int, count: int, family: Family, asked: int, absent: int) -> PageBatch:
    """Draw ``count`` pages of the family's one size and ask ``asked`` questions of each; same seed, same batch.

    Args:
        seed: of the batch.
        count: pages.
        family: has a ``size_pt`` whose sides in pixels are multiples of the attention window.
        asked: questions a page.
        absent: how many of them ask for a field that is not there, at least.

    Raises:
        ValueError: the family has no ``size_pt``.
    """
    rng = random.Random(seed)
    if family.size_pt is None:
        raise ValueError("a batch needs pages of one size; give the family a size_pt")
    width, height = (int(side * PIXELS_PER_POINT) for side in family.size_pt)
    cells = (height // CELL) * (width // CELL)
    arrays = {name: np.full((count, asked, LENGTH), IGNORE, np.int64) for name in _QUESTION_ARRAYS}
    arrays["ids"] = np.full((count, asked, LENGTH), vocabulary.PAD, np.int64)
    arrays["tags"] = np.zeros((count, cells), np.int64)
    arrays["offsets"] = np.full((count, cells), IGNORE, np.int64)
    arrays["starts"] = np.full((count, cells), IGNORE, np.int64)
    pixels, patches, cell_targets = [], [], []
    for b in range(count):
        sample = make_sample(rng.getrandbits(48), family)
        pixels.append(_draw(sample, height, width))
        table = _characters(sample)
        targets = character_targets(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], height, width)
        patches.append(targets.patch)
        cell_targets.append(targets.cell)
        field, place = table[:, 3].astype(np.int64), table[:, 4].astype(np.int64)
        _tag(field, place, targets, {name: arrays[name][b] for name in ("tags", "offsets", "starts")})
        for q, (key, answer) in enumerate(_choose(rng, sample, asked, absent)):
            mine = field == _NUMBER[key]
            _write(
                {name: arrays[name][b, q] for name in (*_QUESTION_ARRAYS, "ids")},
                vocabulary.question_ids(phrase(rng, key)),
                vocabulary.answer_ids(answer),
                _NUMBER[key],
                _printed(place, targets, mine) if answer != ABSENT else None,
            )
    return PageBatch(
        torch.from_numpy(np.stack(pixels)),
        in_window_order(torch.from_numpy(np.stack(patches))),
        cells_in_window_order(torch.from_numpy(np.stack(cell_targets))),
        Questions(**{name: torch.from_numpy(array) for name, array in arrays.items()}),
    )


def _draw(sample: Sample, height: int, width: int) -> npt.NDArray[np.uint8]:
    """The page in grey, ``[height, width]``."""
    with pymupdf.open(stream=sample.pdf()) as document:
        zoom = pymupdf.Matrix(width / sample.width_pt, height / sample.height_pt)
        picture = document[0].get_pixmap(matrix=zoom, colorspace=pymupdf.csGRAY, alpha=False)
    return np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.stride)[:height, :width].copy()


def _characters(sample: Sample) -> npt.NDArray[np.float32]:
    """Class, x and y in pixels, field (values from 0, labels from the number of fields, else -1), place in its run."""
    rows = []
    for run in sample.runs:
        kind, _, key = run.role.partition(":")
        field = -1 if not key else _NUMBER[key] + (len(FIELDS) if kind == "label" else 0)
        for place, char in enumerate(run.characters()):
            x, y = char.x * PIXELS_PER_POINT, char.y * PIXELS_PER_POINT
            rows.append((CLASS_OF[char.char], x, y, field, place))
    return np.array(rows, np.float32)


def _tag(
    field: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
    targets: CharacterTargets,
    out: dict[str, npt.NDArray[np.int64]],
) -> None:
    """Say what each cell holds; its first value character decides, then its first label character."""
    inside = targets.where >= 0
    labels = inside & (field >= len(FIELDS))
    values = inside & (field >= 0) & (field < len(FIELDS))
    for chosen in (np.flatnonzero(labels)[::-1], np.flatnonzero(values)[::-1]):  # the first is written last
        out["tags"][targets.where[chosen]] = field[chosen] + 1
    first = np.flatnonzero(values)[::-1]
    out["offsets"][targets.where[first]] = np.minimum(place[first], OFFSETS - 1)
    out["starts"][targets.where[first]] = np.where(targets.slot[first] >= 0, targets.slot[first], IGNORE)
    for array in out.values():
        array[targets.unsure.ravel()] = IGNORE


def _printed(
    place: npt.NDArray[np.int64], targets: CharacterTargets, mine: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Place in the value, cell and slot of a value's characters, of those for which it can be said."""
    sure = mine & ~targets.blurred
    return place[sure], targets.where[sure], targets.slot[sure]


def _choose(rng: random.Random, sample: Sample, asked: int, absent: int) -> list[tuple[str, str]]:
    """Fields to ask for with their answers: fields of the page, then absent ones."""
    present = [(field.key, field.value) for field in sample.fields]
    rng.shuffle(present)
    present = present[: asked - absent]
    return present + [(key, ABSENT) for key in rng.sample(absent_keys(sample), asked - len(present))]


def _write(
    row: dict[str, npt.NDArray[np.int64]],
    question: list[int],
    answer: list[int],
    field: int,
    printed: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]] | None,
) -> None:
    """Fill one question's arrays; ``printed`` has, for each character of the value, place, cell and slot."""
    prompt = [vocabulary.VISION_END, *question, vocabulary.ANSWER]
    whole = prompt + answer
    row["ids"][: len(whole)] = whole
    first = len(prompt) - 1  # the token that the answer's first token follows
    span = slice(first, first + len(answer))
    row["targets"][span] = answer
    row["asked"][span] = field
    row["place"][span] = np.arange(len(answer))
    if printed is not None:
        place, where, slot = printed
        seen = where >= 0
        row["pointer"][first + place[seen]] = where[seen]
        row["slot"][first + place[slot >= 0]] = slot[slot >= 0]
