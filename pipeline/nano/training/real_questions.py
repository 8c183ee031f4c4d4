"""Questions about the lines of real pages: what stands behind some words of a line, up to its end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.nano.training import vocabulary
from pipeline.nano.training.pages import Asking, PageBatch, Sheet, stack, those_that_fit
from pipeline.nano.training.real_text import FOLDERS, TRIES, real_crops, real_pdfs
from pipeline.samples.line_questions import FORMS, absent_words, cuts
from pipeline.samples.opened import OPEN
from pipeline.samples.questions import ABSENT

_MARGIN = 6  # pixels from the edges of a crop within which a character may be cut off

Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Line:
    """The characters of a line that lie inside a crop: their rows in the table, and the text."""

    rows: list[int]
    text: str
    ends: bool  # whether the end of the line is inside


def real_page_batch(
    seed: int, pages: int, height: int, width: int, asking: Asking, paper: bool, folders: tuple[str, ...] = FOLDERS
) -> PageBatch:
    """Ask about the lines of crops of real pages; same seed, same batch.

    Args:
        seed: of the batch.
        pages: number of crops.
        height: of a crop, a multiple of the attention window in pixels.
        width: of a crop, the same.
        asking: number of questions, and room for them.
        paper: false leaves blank paper out.
        folders: folders of /usr/share/doc with the PDFs.

    Raises:
        ValueError: the PDFs have too few lines to ask about.
    """
    rng = random.Random(seed)
    sheets: list[Sheet] = []
    for _ in range(TRIES):
        for grey, table in real_crops(rng, rng.choice(real_pdfs(folders)), height, width):
            sheet = ask_lines(rng, grey, table, asking)
            if sheet is not None:
                sheets.append(sheet)
        if len(sheets) >= pages:
            return stack(sheets[:pages], asking.tokens, paper)
    raise ValueError(f"the PDFs below {folders} have too few lines to ask about")


def ask_lines(rng: random.Random, grey: npt.NDArray[np.uint8], table: Table, asking: Asking) -> Sheet | None:
    """Ask about some lines of a crop, and about words that are not there; ``None`` where no line can be asked about.

    Args:
        rng: source of chance.
        grey: pixels ``[height, width]``.
        table: characters as of :func:`pipeline.nano.training.real_text.real_crops`.
        asking: number of questions, and room for them.
    """
    lines = list(_lines(table, *grey.shape))
    whole = "\n".join(line.text for line in lines)
    field, place = np.full(len(table), -1), np.zeros(len(table))
    cuts = [(line, cut) for line in lines if line.ends for cut in [_cut(rng, line.text, whole)] if cut is not None]
    rng.shuffle(cuts)
    cuts = cuts[: asking.most - asking.absent]
    if not cuts:
        return None
    keys = [f"{OPEN}{number}" for number in range(len(cuts))]
    both: list[tuple[str, str, str, bool]] = []
    for number, (line, (begin, end)) in enumerate(cuts):
        anchor, answer = line.rows[begin:end], line.rows[end + 1 :]
        field[anchor], place[anchor] = number + len(keys), np.arange(len(anchor))
        field[answer], place[answer] = number, np.arange(len(answer))
        both.append((line.text[begin:end], keys[number], line.text[end + 1 :], True))
    missing = {turned for text, *_ in both if (turned := absent_words(text, whole)) is not None}
    both += [(text, f"{OPEN}absent", ABSENT, False) for text in sorted(missing)][: asking.absent]
    rng.shuffle(both)
    wanted = (
        (rng.choice(FORMS).format(text), key, answer_text, text if present else None)
        for text, key, answer_text, present in both
    )
    asked = those_that_fit(rng, wanted, asking)
    columns = (table[:, 0], table[:, 1], table[:, 2], field, place)
    return Sheet(grey, np.stack(columns, axis=1).astype(np.float32), keys, asked, is_form=False)


def _lines(table: Table, height: int, width: int) -> Iterator[_Line]:
    """The parts of lines inside a crop, of characters of the set alone, without spaces at either end."""
    for number in np.unique(table[:, 3]):
        rows = np.flatnonzero(table[:, 3] == number)
        if (table[rows, 0] < 1).any():
            continue
        x, y = table[rows, 1], table[rows, 2]
        inside = (x >= _MARGIN) & (x < width - _MARGIN) & (y >= _MARGIN) & (y < height - _MARGIN)
        text = "".join(chr(int(table[row, 4])) for row in rows)
        printed = [i for i in range(len(rows)) if inside[i]]
        while printed and text[printed[0]] == " ":
            printed.pop(0)
        end = len(text.rstrip())
        printed = [i for i in printed if i < end]
        if printed and (np.diff(printed) == 1).all() and (np.diff(x[printed]) > 0).all():
            part = text[printed[0] : printed[-1] + 1]
            if printed[0] > 0 and text[printed[0] - 1] != " ":  # begins inside a word
                gone = part.find(" ") + 1 or len(part)
                part, printed = part[gone:], printed[gone:]
            if not printed:
                continue
            yield _Line([int(rows[i]) for i in printed], part, printed[-1] == end - 1)


def _cut(rng: random.Random, text: str, whole: str) -> tuple[int, int] | None:
    """Choose words of a line that can be asked about, with an answer of one token per character."""
    found = [(begin, end) for begin, end in cuts(text, whole) if _plain(text[end + 1 :])]
    return rng.choice(found) if found else None


def _plain(answer: str) -> bool:
    return len(vocabulary.answer_ids(answer)) == len(answer) + 1
