"""The work of a throughput benchmark, and those who do it: transformers as users write it, and docpipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from random_model import END, IMAGE, PAD, START
from torch import Tensor
from transformers import DynamicCache

import glimpseprune as gp
from glimpseprune.model import GlimpseModel


@dataclass
class Work:
    """Questions that are asked of each of some pages, the same for every contender.

    Attributes:
        pages: patches of each page; where a contender does one page after the other, the first stands for all.
    """

    pages: list[Tensor]
    grid: tuple[int, int]
    prompts: list[Tensor]
    masks: list[Tensor]
    new_tokens: int

    @property
    def pixels(self) -> Tensor:
        """Of the first page."""
        return self.pages[0]

    @property
    def prefix(self) -> Tensor:
        """What all prompts begin with, up to behind the image."""
        return self.prompts[0][: int((self.prompts[0] == IMAGE).nonzero()[-1]) + 1]

    @property
    def tails(self) -> list[Tensor]:
        """What is left of each prompt."""
        return [prompt[self.prefix.numel() :] for prompt in self.prompts]

    def inputs(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """What the processor would make of some of the questions, each with the page's pixels again."""
        ids = torch.stack([self.prompts[row] for row in rows])
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": self.pixels.repeat(len(rows), 1),
            "image_grid_thw": torch.tensor([[1, *self.grid]] * len(rows), device=ids.device),
        }


def make_work(
    tokens: int, questions: int, keep: float, new_tokens: int, device: torch.device, dtype: torch.dtype, pages: int = 1
) -> Work:
    generator = torch.Generator().manual_seed(tokens + questions)
    columns = round((tokens / 1.4) ** 0.5)
    rows = round(tokens / columns)
    count = rows * columns
    head = torch.randint(0, 4000, (12,), generator=generator)
    image = torch.tensor([START, *[IMAGE] * count, END])
    prompts = [torch.cat([head, image, torch.randint(0, 4000, (20,), generator=generator)]) for _ in range(questions)]
    masks = []
    for _ in range(questions):
        mask = torch.zeros(count, dtype=torch.bool)
        mask[torch.randperm(count, generator=generator)[: max(1, round(keep * count))]] = True
        masks.append(mask)
    return Work(
        pages=[torch.randn(count * 4, 1176, generator=generator).to(device, dtype) for _ in range(pages)],
        grid=(2 * rows, 2 * columns),
        prompts=[prompt.to(device) for prompt in prompts],
        masks=[mask.to(device) for mask in masks],
        new_tokens=new_tokens,
    )


@torch.inference_mode()
def one_by_one(model: GlimpseModel, work: Work) -> int:
    rows = range(len(work.prompts))[:2]
    for row in rows:
        _stock(model, work, [row])
    return len(rows)


@torch.inference_mode()
def batched(model: GlimpseModel, work: Work) -> int:
    _stock(model, work, range(len(work.prompts)))
    return len(work.prompts)


def _stock(model: GlimpseModel, work: Work, rows: Sequence[int]) -> None:
    base: Any = model.base
    base.generate(
        **work.inputs(rows), do_sample=False, max_new_tokens=work.new_tokens, min_new_tokens=work.new_tokens,
        pad_token_id=PAD,
    )  # fmt: skip


@torch.inference_mode()
def reused_prefix(model: GlimpseModel, work: Work) -> int:
    """The image once into a cache; every question continues from there, and is cut off again after its answer."""
    base: Any = model.base
    text, backbone = base.model.language_model, model.backbone
    prompts = backbone.page_prompts(work.prompts, [work.pixels], [work.grid])
    image = backbone.encode(work.pixels, work.grid, ())
    shared = work.prompts[0].numel() - 20
    embedded = backbone.embed(prompts[0], [image])[:, :shared]
    cache = DynamicCache(config=base.config.text_config)
    text(inputs_embeds=embedded, position_ids=prompts[0].position_ids[:, None, :shared], past_key_values=cache)
    for prompt in prompts:
        hidden = backbone.embed_tokens(prompt.input_ids[None, shared:])
        positions = prompt.position_ids[:, None, shared:]
        for _ in range(work.new_tokens):
            out = text(inputs_embeds=hidden, position_ids=positions, past_key_values=cache).last_hidden_state
            token = base.lm_head(out[:, -1:]).argmax(-1)
            hidden, positions = backbone.embed_tokens(token), positions[..., -1:] + 1
        cache.crop(shared - cache.get_seq_length())
    return len(prompts)


def glimpse_alone(model: GlimpseModel, work: Work) -> int:
    rows = range(len(work.prompts))[:2]
    for row in rows:
        gp.generate(model, work.inputs([row]), rule=work.masks[row], max_new_tokens=work.new_tokens)
    return len(rows)


def docpipe(model: GlimpseModel, work: Work) -> int:
    pool = gp.DecodePool(model.backbone, frozenset())
    limits = [work.new_tokens] * len(work.prompts)
    for number, pixels in enumerate(work.pages):
        page = gp.encode_page(model, work.prefix, pixels, work.grid)
        ready, _ = page.prefill(work.tails, work.masks, limits)
        for key, (sequence, prompt) in enumerate(zip(ready, work.prompts, strict=True)):
            pool.add((number, key), sequence, prompt, work.new_tokens)
    pool.run()
    return len(pool.done)


def unpruned(model: GlimpseModel, work: Work) -> int:
    gp.encode_page(model, work.prefix, work.pixels, work.grid).ask(work.tails, None, work.new_tokens)
    return len(work.prompts)


# Each answers some or all questions of the page and says how many.
CONTENDERS: dict[str, Callable[[GlimpseModel, Work], int]] = {
    "generate": one_by_one,
    "batched": batched,
    "reused prefix": reused_prefix,
    "glimpse": glimpse_alone,
    "unpruned": unpruned,
    "docpipe": docpipe,
}
