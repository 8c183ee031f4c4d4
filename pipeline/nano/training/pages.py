"""Batches of drawn documents with their questions, ready for the training forward."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pymupdf
import torch
from torch import Tensor

from pipeline.nano.training import vocabulary
from pipeline.nano.training.ink import ink_middle
from pipeline.nano.training.language import OFFSETS, OTHER, Questions
from pipeline.nano.training.shape import CELL
from pipeline.nano.training.targets import CLASS_OF, IGNORE, CharacterTargets, character_targets
from pipeline.nano.training.text_pages import PIXELS_PER_POINT
from pipeline.nano.training.tower import cells_in_window_order, in_window_order
from pipeline.nano.training.wear import wear
from pipeline.pages.blank_paper import visible_cells
from pipeline.samples import Family, Sample, make_sample
from pipeline.samples.drawing import draw_sample
from pipeline.samples.fields import FIELDS
from pipeline.samples.questions import ABSENT, absent_names, field_names, phrase

_NUMBER = {field.key: i for i, field in enumerate(FIELDS)}
_QUESTION_ARRAYS = ("ids", "number", "offset", "targets", "pointer", "label", "slot", "asked", "place")
_CELL_ARRAYS = ("tags", "offsets", "starts")
_EMPTY = {"ids": vocabulary.PAD, "number": -1, "offset": 0}
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PageBatch:
    """Pages of one size with their questions.

    Attributes:
        pixels: ``[B, H, W]`` uint8 grey.
        patch: reading targets in window order, ``[B, patches, COLUMNS]``.
        cell: reading targets in window order, ``[B, cells, SLOTS]``.
        questions: what is asked.
        seen: ``[B, cells]`` bool in raster order, the cells that the model is shown; all when None.
    """

    pixels: Tensor
    patch: Tensor
    cell: Tensor
    questions: Questions
    seen: Tensor | None


@dataclass(frozen=True, slots=True)
class Asking:
    """How many questions a page is asked.

    Attributes:
        most: questions of a page.
        absent: how many of them ask for a field that is not there, at least.
        tokens: room for all of them; those that do not fit are left out.
        spelled: share of questions whose known words are written in characters.
    """

    most: int
    absent: int
    tokens: int
    spelled: float = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """One question.

    Attributes:
        question: its tokens.
        key: of the field.
        answer: what is right.
        present: whether the page has it.
        printed: which of the tokens spell the label as it is printed, one character each.
    """

    question: list[int]
    key: str
    answer: str
    present: bool
    printed: range = range(0)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page and what is asked of it.

    Attributes:
        grey: pixels ``[height, width]`` uint8.
        table: characters ``[characters, 5]``: class, x and y of the middle in pixels, field (the place of its key, for
            labels plus the number of keys, else -1), and the place in its value or label.
        keys: keys of the fields.
        asked: the questions.
        is_form: whether the page itself shows what is a field; if not, nothing is to be learnt of that.
    """

    grey: npt.NDArray[np.uint8]
    table: npt.NDArray[np.float32]
    keys: list[str]
    asked: list[Asked]
    is_form: bool = True


def page_batch(
    seed: int, count: int, family: Family, asking: Asking, paper: bool = True, worn: bool = False
) -> PageBatch:
    """Draw ``count`` pages of the family's one size and ask about each; same seed, same batch.

    Args:
        seed: of the batch.
        count: pages.
        family: has a ``size_pt`` whose sides in pixels are multiples of the attention window.
        asking: what is asked.
        paper: false leaves blank paper out, as ``--drop-blank`` does.
        worn: whether the pages look scanned.

    Raises:
        ValueError: the family has no ``size_pt``.
    """
    if family.size_pt is None:
        raise ValueError("a batch needs pages of one size; give the family a size_pt")
    rng = random.Random(seed)
    samples = [make_sample(rng.getrandbits(48), family) for _ in range(count)]
    return batch_of(rng, samples, asking, paper, worn)


def batch_of(rng: random.Random, samples: Sequence[Sample], asking: Asking, paper: bool, worn: bool) -> PageBatch:
    """Draw pages of one size and ask about each; see :func:`page_batch`."""
    height, width = (int(side * PIXELS_PER_POINT) for side in (samples[0].height_pt, samples[0].width_pt))
    sheets = []
    for drawn in samples:
        sample = move_down(rng, drawn)
        table, keys = _characters(sample)
        grey = draw_grey(sample, height, width)
        if worn:
            grey, table[:, 1], table[:, 2] = wear(rng, grey, table[:, 1], table[:, 2])
        sheets.append(Sheet(grey, table, keys, choose(rng, sample, asking)))
    return stack(sheets, asking.tokens, paper)


def stack(sheets: Sequence[Sheet], tokens: int, paper: bool) -> PageBatch:
    """Make a batch of pages of one size.

    Args:
        sheets: the pages with their questions.
        tokens: room for the questions of a page.
        paper: false leaves blank paper out, as ``--drop-blank`` does.
    """
    height, width = sheets[0].grey.shape
    rows, columns, count = height // CELL, width // CELL, len(sheets)
    arrays = {name: np.full((count, tokens), _EMPTY.get(name, IGNORE), np.int64) for name in _QUESTION_ARRAYS}
    arrays |= {name: np.full((count, rows * columns), IGNORE, np.int64) for name in _CELL_ARRAYS}
    patches, cells, masks = [], [], []
    for b, sheet in enumerate(sheets):
        mask = np.ones(rows * columns, bool) if paper else visible_cells(sheet.grey[..., None], CELL)
        table, keys = sheet.table, sheet.keys
        targets = character_targets(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], height, width)
        field, place = table[:, 3].astype(np.int64), table[:, 4].astype(np.int64)
        if sheet.is_form:
            arrays["tags"][b] = 0
            _tag(field, place, targets, keys, {name: arrays[name][b] for name in _CELL_ARRAYS})
        row = {name: arrays[name][b] for name in _QUESTION_ARRAYS}
        _write_all(row, sheet.asked, field, place, targets, keys, mask)
        grid = mask.reshape(rows, columns)
        targets.cell[~grid] = IGNORE
        targets.patch[~grid.repeat(2, 0).repeat(2, 1)] = IGNORE
        for name in _CELL_ARRAYS:
            arrays[name][b, ~mask] = IGNORE
        patches.append(targets.patch)
        cells.append(targets.cell)
        masks.append(mask)
    patch = in_window_order(torch.from_numpy(np.stack(patches)))
    cell = cells_in_window_order(torch.from_numpy(np.stack(cells)))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    seen = None if paper else torch.from_numpy(np.stack(masks))
    pixels = torch.from_numpy(np.stack([sheet.grey for sheet in sheets]))
    return PageBatch(pixels, patch, cell, Questions(**tensors), seen)


def move_down(rng: random.Random, sample: Sample) -> Sample:
    """Move what is printed down by some of the paper that is free below it, half of the time.

    Args:
        rng: source of chance.
        sample: page; its fields' boxes stay as they are.
    """
    ends = [run.box.y1 for run in sample.runs] + [shape.box.y1 for shape in sample.shapes]
    free = sample.height_pt - max(ends, default=sample.height_pt)
    if free <= 0 or rng.random() < 0.5:
        return sample
    by = rng.uniform(0, free)
    shapes = [
        replace(shape, box=replace(shape.box, y0=shape.box.y0 + by, y1=shape.box.y1 + by)) for shape in sample.shapes
    ]
    return replace(sample, runs=tuple(replace(run, y=run.y + by) for run in sample.runs), shapes=tuple(shapes))


def draw_grey(sample: Sample, height: int, width: int) -> npt.NDArray[np.uint8]:
    """The page in grey, ``[height, width]``."""
    with pymupdf.open() as document:
        page = document.new_page(width=sample.width_pt, height=sample.height_pt)
        draw_sample(page, sample.runs, sample.shapes)
        zoom = pymupdf.Matrix(width / sample.width_pt, height / sample.height_pt)
        picture = page.get_pixmap(matrix=zoom, colorspace=pymupdf.csGRAY, alpha=False)
    return np.frombuffer(picture.samples, np.uint8).reshape(picture.height, picture.stride)[:height, :width].copy()


def _characters(sample: Sample) -> tuple[npt.NDArray[np.float32], list[str]]:
    """The characters and the keys of the page's fields, as in :class:`Sheet`."""
    keys = [field.key for field in sample.fields]
    rows = []
    for run in sample.runs:
        kind, _, key = run.role.partition(":")
        field = -1 if not key else keys.index(key) + (len(keys) if kind == "label" else 0)
        for place, char in enumerate(run.characters()):
            x = char.pen_x + ink_middle(char.char, run.font) * run.size
            at = (x * PIXELS_PER_POINT, char.y * PIXELS_PER_POINT)
            rows.append((CLASS_OF.get(char.char, IGNORE), *at, field, place))
    return np.array(rows or np.zeros((0, 5)), np.float32), keys


def _tag(field: Ints, place: Ints, targets: CharacterTargets, keys: list[str], out: dict[str, Ints]) -> None:
    """Say what each cell holds; its first value character decides, then its first label character."""
    classes = np.array([1 + _NUMBER.get(key, OTHER) for key in keys], np.int64)
    tags = np.concatenate((classes, classes + OTHER + 1, [0]))  # a field of -1 finds the last
    inside = targets.where >= 0
    labels = inside & (field >= len(keys))
    values = inside & (field >= 0) & (field < len(keys))
    for chosen in (np.flatnonzero(labels)[::-1], np.flatnonzero(values)[::-1]):  # the first is written last
        out["tags"][targets.where[chosen]] = tags[field[chosen]]
    first = np.flatnonzero(values)[::-1]
    out["offsets"][targets.where[first]] = np.minimum(place[first], OFFSETS - 1)
    out["starts"][targets.where[first]] = np.where(targets.slot[first] >= 0, targets.slot[first], IGNORE)
    for array in out.values():
        array[targets.unsure.ravel()] = IGNORE


def choose(rng: random.Random, sample: Sample, asking: Asking) -> list[Asked]:
    """Questions about some fields of the page and some absent ones, in any order, as many as there is room for."""
    fields = list(sample.fields)
    rng.shuffle(fields)
    # The label as it is printed is a name too.
    both: list[tuple[tuple[str, ...], str, str, str | None]] = [
        ((*field_names(f), f.label), f.key, f.value, f.label) for f in fields[: asking.most - asking.absent]
    ]
    missing = absent_names(sample)
    both += [
        (names, key, ABSENT, None) for key, names in rng.sample(missing, min(len(missing), asking.most - len(both)))
    ]
    rng.shuffle(both)
    wanted = ((phrase(rng, names), key, answer, label) for names, key, answer, label in both)
    return those_that_fit(rng, wanted, asking)


def those_that_fit(
    rng: random.Random, wanted: Iterable[tuple[str, str, str, str | None]], asking: Asking
) -> list[Asked]:
    """Write questions in tokens, those that there is room for.

    Args:
        rng: source of chance.
        wanted: text, key, answer and printed label of each; no label where the page does not have it.
        asking: room for them.
    """
    chosen, left = [], asking.tokens
    for text, key, answer, label in wanted:
        spelled = rng.random() < asking.spelled
        ids = vocabulary.question_ids(text, spelled)
        left -= len(ids) + 2 + len(vocabulary.answer_ids(answer))
        if left >= 0:
            printed = range(0) if label is None else printed_tokens(text, label, spelled)
            chosen.append(Asked(ids, key, answer, label is not None, printed))
    return chosen


def printed_tokens(text: str, label: str, spelled: bool) -> range:
    """Find which tokens of a question spell a label, none if it is not in it or not spelled with a token a character.

    Args:
        text: the question.
        label: as it is printed.
        spelled: whether known words are spelled too.
    """
    at = text.rfind(label)  # what asks for it may hold the same letters
    if at < 0 or len(vocabulary.question_ids(label, spelled)) != len(label):
        return range(0)
    begin = len(vocabulary.question_ids(text[:at], spelled))
    return range(begin, begin + len(label))


def _write_all(
    row: dict[str, Ints],
    chosen: Sequence[Asked],
    field: Ints,
    place: Ints,
    targets: CharacterTargets,
    keys: list[str],
    seen: npt.NDArray[np.bool_],
) -> None:
    """Fill one page's arrays with its questions."""
    begin = 0
    where = np.where((targets.where >= 0) & seen[targets.where], targets.where, IGNORE)
    for number, asked in enumerate(chosen):
        prompt = [vocabulary.VISION_END, *asked.question, vocabulary.ANSWER]
        answer = vocabulary.answer_ids(asked.answer)
        end = begin + len(prompt) + len(answer)
        row["ids"][begin:end] = prompt + answer
        row["number"][begin:end] = number
        row["offset"][begin:end] = np.arange(end - begin)
        first = begin + len(prompt) - 1  # the token that the answer's first token follows
        span = slice(first, first + len(answer))
        row["targets"][span] = answer
        row["asked"][span] = _NUMBER.get(asked.key, OTHER)
        row["place"][span] = np.minimum(np.arange(len(answer)), OFFSETS - 1)
        if asked.present:
            mine = (field == keys.index(asked.key)) & ~targets.blurred & (where >= 0)
            row["pointer"][first + place[mine]] = where[mine]
            slots = mine & (targets.slot >= 0)
            row["slot"][first + place[slots]] = targets.slot[slots]
            of_label = (field == keys.index(asked.key) + len(keys)) & (where >= 0)
            label = np.flatnonzero(of_label)
            if len(label):
                row["label"][first] = where[label[0]]
            # Whoever spells the label reads along on the page, as the answer does: from its second character on.
            along = of_label & ~targets.blurred & (place > 0) & (place < len(asked.printed))
            row["pointer"][begin + asked.printed.start + place[along]] = where[along]
            slots = along & (targets.slot >= 0)
            row["slot"][begin + asked.printed.start + place[slots]] = targets.slot[slots]
        begin = end
