"""Orders the examples of a training, and shows each with its page as the model sees it."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor

import glimpseprune as gp
from glimpseprune.families.base import Prompt
from pipeline.datasets.example import Example, by_page
from pipeline.datasets.page_images import PageImages
from pipeline.families.base import ModelInput
from pipeline.frame import Frame
from pipeline.pages.blank_paper import visible_cells
from pipeline.questions.question import DEFAULT_PROMPT


@dataclass(frozen=True, slots=True)
class ShownPage:
    """A page as the model sees it.

    Attributes:
        pixels: patches ``[patches, patch_dim]``.
        grid: rows and columns of patches.
        token_grid: rows and columns of visual tokens.
        frame: where that grid lies on the page.
        visible: mask of the visual tokens that are shown, bool ``[N]``; ``None`` shows all.
    """

    pixels: Tensor
    grid: tuple[int, int]
    token_grid: tuple[int, int]
    frame: Frame
    visible: Tensor | None


class TrainingPages:
    """Holds the examples of a training, in an order that follows from the seed.

    Args:
        model: model that sees the pages.
        processor: processor of the same checkpoint.
        images: renderer of the pages.
        examples: examples to train on.
        drop_blank: share of pages whose blank paper is hidden, in 0..1; each epoch draws other pages.
        seed: seed of the order and of the hidden paper.

    Attributes:
        pages: the examples, page by page.
    """

    def __init__(
        self,
        model: gp.GlimpseModel,
        processor: ModelInput,
        images: PageImages,
        examples: Sequence[Example],
        drop_blank: float,
        seed: int,
    ) -> None:
        self.model, self.processor, self.images = model, processor, images
        self.drop_blank, self.seed = drop_blank, seed
        self.pages = list(by_page(examples))
        self._order: tuple[int, list[Example]] = (-1, [])
        self._page: tuple[Hashable, ShownPage | None] = (None, None)

    def at(self, number: int) -> Example:
        """Return example ``number`` of an endless sequence; each epoch has all, page by page, in its own order."""
        epoch, place = divmod(number, sum(len(page) for page in self.pages))
        if self._order[0] != epoch:
            rng = random.Random(f"{self.seed} epoch {epoch}")
            pages = [rng.sample(page, len(page)) for page in rng.sample(self.pages, len(self.pages))]
            self._order = epoch, [example for page in pages for example in page]
        return self._order[1][place]

    def shown(self, example: Example) -> ShownPage:
        """Return the example's page in this epoch; the last page is cached, since its examples are consecutive."""
        key = (self._order[0], example.document, example.page)
        kept = self._page[1]
        if kept is not None and self._page[0] == key:
            return kept
        device = self.model.backbone.device
        page = self.images.of(example)
        image = self.processor.prepare(page)
        rng = random.Random(f"{self.seed} blank {self._order[0]} {example.document} {example.page}")
        visible = self.processor.visible(page, image, visible_cells) if rng.random() < self.drop_blank else None
        shown = ShownPage(
            self.processor.patches(image, device),
            image.grid,
            self.processor.token_grid(image),
            image.frame,
            None if visible is None else visible.to(device),
        )
        self._page = key, shown
        return shown

    def prompt(self, example: Example, shown: ShownPage) -> Prompt:
        """Make the whole prompt of an example about its page."""
        ids = self.processor.prompt(DEFAULT_PROMPT.format(text=example.question), shown.grid)
        return self.model.backbone.page_prompts([ids], [shown.pixels], [shown.grid])[0]
