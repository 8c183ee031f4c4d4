"""The pipeline's side of a toy model family, ``model_type`` "toy_vl": a fixed grid, and one token per character.

What the side with the tensors can rely on:

- A page is always 8 x 8 px: 4 x 4 patches of 2 x 2 px, and a patch is a visual token (nothing is merged).
- ``pixels``: float32 ``[16, 12]`` in 0..1, patches in raster order; inside one: row, column, channel.
- ``grid``: (4, 4), rows and columns of patches.
- Prompt: ``START``, 16 times ``IMAGE``, the characters of the question, ``ANSWER``.
- Vocabulary: 64 ids. 0 ``START``, 1 ``IMAGE``, 2 ``END`` (end of sequence), 3 ``ANSWER``, from 4 on ``ALPHABET``;
  ids above stand for no character. Other characters than those of ``ALPHABET`` are ``?``; letters are small.

Of a checkpoint folder only ``config.json`` is read, and there ``model_type``. For a process to know the family::

    register_family(MODEL_TYPE, MODULE)
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.families.base import (
    POINTS_PER_INCH,
    ModelInput,
    PageFamily,
    PagePixels,
    PreparedImage,
    VisibleCells,
    check_page,
)
from pipeline.records import Image, PixelBudget

MODEL_TYPE, MODULE = "toy_vl", "tests.support.toy_family_input"
ROWS = COLUMNS = 4
PATCH_PX = 2
SIDE_PX = ROWS * PATCH_PX
PATCH_DIM = 3 * PATCH_PX**2
VOCABULARY = 64
START, IMAGE, END, ANSWER = range(4)
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,:;?!'\"()-/%$#&+=@\n"


def write_toy_config(folder: Path) -> Path:
    """Write what this side reads of a checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"model_type": MODEL_TYPE, "image_token_id": IMAGE, "eos_token_id": END, "vocab_size": VOCABULARY}
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder


def read_budget(folder: Path, limit: int | None) -> PixelBudget:
    """One size for every page; a limit below it cannot be kept."""
    if limit is not None and limit < ROWS * COLUMNS:
        raise UsageError(f"--max-visual-tokens {limit} is too few for this model; take {ROWS * COLUMNS} or more")
    return PixelBudget(PATCH_PX, SIDE_PX**2, SIDE_PX**2, MODULE)


def fit_page(width_pt: float, height_pt: float, dpi: int, budget: PixelBudget) -> PagePixels:
    """The same square whatever the page is; its two scales differ."""
    check_page(width_pt, height_pt, dpi)
    dpi_used = POINTS_PER_INCH * SIDE_PX * (1 / width_pt + 1 / height_pt) / 2
    return PagePixels(SIDE_PX, SIDE_PX, dpi_used, max_visual_tokens(budget))


def max_visual_tokens(budget: PixelBudget) -> int:
    """Visual tokens of any page."""
    return budget.max_pixels // budget.factor**2


def load_input(folder: Path) -> ModelInput:
    """The input; torch is imported here, not in the render child."""
    import torch
    from llguidance import LLTokenizer, TokenizerWrapper

    class ToyInput(ModelInput):
        image_token_id = IMAGE

        def prepare(self, page: Image) -> PreparedImage:
            if page.shape != (SIDE_PX, SIDE_PX, 3):
                raise ValueError(f"expected a page of {SIDE_PX} x {SIDE_PX} px as the renderer makes it")
            return PreparedImage(torch.tensor(page), (ROWS, COLUMNS))

        def patches(self, image: PreparedImage, device: torch.device | str) -> torch.Tensor:
            values = image.pixels.to(device).float() / 255
            cut = values.view(ROWS, PATCH_PX, COLUMNS, PATCH_PX, 3).transpose(1, 2)
            return cut.reshape(ROWS * COLUMNS, PATCH_DIM)

        def token_grid(self, image: PreparedImage) -> tuple[int, int]:
            return image.grid

        def visible(self, page: Image, image: PreparedImage, cells: VisibleCells) -> torch.Tensor | None:
            return torch.from_numpy(cells(page, PATCH_PX))

        def prompt(self, text: str, *grids: tuple[int, int]) -> torch.Tensor:
            (grid,) = grids  # one image
            return torch.tensor([START, *[IMAGE] * (grid[0] * grid[1]), *_ids(text), ANSWER])

        def answer(self, text: str, ends: Collection[int]) -> torch.Tensor:
            return torch.tensor([*_ids(text), END if END in ends else min(ends)])

        def vocabulary(self, size: int, ends: Collection[int]) -> LLTokenizer:
            return LLTokenizer(TokenizerWrapper(ToyTokenizer(size, ends)))

        def text(self, tokens: torch.Tensor) -> str:
            first = ANSWER + 1
            known = (ids for ids in tokens.tolist() if first <= ids < first + len(ALPHABET))
            return "".join(ALPHABET[ids - first] for ids in known).strip()

    return ToyInput()


class ToyTokenizer:
    """What llguidance asks of a tokenizer that is none of Hugging Face's."""

    bos_token_id = None

    def __init__(self, size: int, ends: Collection[int]) -> None:
        self.eos_token_id = min(ends)
        self.special_token_ids = [*range(ANSWER + 1), *range(ANSWER + 1 + len(ALPHABET), size)]
        self.tokens = [b"<%d>" % number for number in range(size)]
        for number, character in enumerate(ALPHABET, ANSWER + 1):
            self.tokens[number] = character.encode()

    def __call__(self, text: str) -> list[int]:
        return _ids(text)


def _ids(text: str) -> list[int]:
    known = (character if character in ALPHABET else "?" for character in text.lower())
    return [ANSWER + 1 + ALPHABET.index(character) for character in known]


FAMILY = PageFamily(read_budget, fit_page, max_visual_tokens, load_input)
