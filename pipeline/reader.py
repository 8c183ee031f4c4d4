"""One loaded model that answers questions about page images."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub import snapshot_download
from torch import Tensor

import glimpseprune as gp
from glimpseprune.generation import Keep
from pipeline.checkpoints import NANO, resolve_addon, resolve_model
from pipeline.errors import ModelError, PageError
from pipeline.processor import Processor
from pipeline.records import Ask, Image


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the model said to one question, and what it looked at.

    Attributes:
        text: the answer without special tokens.
        finish_reason: ``stop`` at the end of sequence, ``length`` at the limit of new tokens.
        confidence: geometric mean of the probabilities of the generated tokens, in 0..1.
        new_tokens: tokens generated, the end of sequence included.
        stats: figures of the pruning.
        keep: bool ``[N]`` in raster order; ``None`` where nothing was pruned.
        scores: float32 ``[N]`` importance logits; ``None`` where nothing was pruned.
        grid: rows and columns of visual tokens, N = rows * columns.
    """

    text: str
    finish_reason: str
    confidence: float
    new_tokens: int
    stats: gp.PruneStats
    keep: npt.NDArray[np.bool_] | None
    scores: npt.NDArray[np.float32] | None
    grid: tuple[int, int]


class Reader:
    """A model with its processor.

    Args:
        model: from :func:`glimpseprune.load`.
        processor: of the same checkpoint.
    """

    def __init__(self, model: gp.GlimpseModel, processor: Processor) -> None:
        self.model = model
        self.processor = processor

    @classmethod
    def load(cls, model: str, glimpse: str | None, device: str, dtype: str, attn: str, seed: int) -> Reader:
        """Load model, add-on and processor by name: ``nano``, folders or hub ids.

        Raises:
            ModelError: something is missing, does not fit or cannot be read.
            UsageError: a name stands for nothing.
        """
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        folder = resolve_model(model)
        addon = None if glimpse is None else resolve_addon(glimpse)
        local = model == NANO or Path(model).expanduser().is_dir()
        try:
            whole = folder if local else Path(snapshot_download(model))
            loaded = gp.load(whole, glimpse=addon, device=device, dtype=dtype, attn_implementation=attn)
            return cls(loaded, Processor(whole))
        except (gp.GlimpseError, OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"{model} cannot be loaded: {error}") from error

    def answer_page(
        self, page: Image, asks: Sequence[Ask], keep: Sequence[npt.NDArray[np.bool_]] | None = None
    ) -> list[ModelAnswer]:
        """Answer several questions about one page image ``[height, width, 3]``, in their order.

        Args:
            page: the pixels.
            asks: the questions.
            keep: for each question the visual tokens to keep, bool ``[N]``, instead of what its rule would choose.

        Raises:
            PageError: one question alone does not fit into the device's memory.
        """
        pixels, grid = self.processor.image(page)
        prompts = [self.processor.prompt(ask.prompt, grid) for ask in asks]
        rules: list[Keep] = [ask.rule for ask in asks] if keep is None else [torch.from_numpy(mask) for mask in keep]
        return self._answer(asks, prompts, rules, pixels.to(self.model.backbone.device), grid)

    def visual_grid(self, page: Image) -> tuple[int, int]:
        """Rows and columns of visual tokens that a page image has."""
        _, (rows, columns) = self.processor.image(page)
        return rows // self.processor.merge_size, columns // self.processor.merge_size

    def _answer(
        self, asks: Sequence[Ask], prompts: list[Tensor], rules: list[Keep], pixels: Tensor, grid: tuple[int, int]
    ) -> list[ModelAnswer]:
        limits = [ask.max_new_tokens for ask in asks]
        try:
            out = gp.generate_page(self.model, prompts, pixels, grid, rules, limits)
        except torch.OutOfMemoryError as error:
            if len(asks) == 1:
                raise PageError(
                    "infer",
                    "OutOfMemory",
                    f"one question on {grid[0] // self.processor.merge_size * grid[1] // self.processor.merge_size} "
                    "visual tokens does not fit into the device's memory; lower --dpi or --max-visual-tokens",
                ) from error
        else:
            merge = self.processor.merge_size
            return [self._one(out, i, (grid[0] // merge, grid[1] // merge)) for i in range(len(asks))]
        # Outside the handler: the traceback it holds keeps the tensors of the failed call alive.
        torch.cuda.empty_cache()
        half = len(asks) // 2
        return [
            *self._answer(asks[:half], prompts[:half], rules[:half], pixels, grid),
            *self._answer(asks[half:], prompts[half:], rules[half:], pixels, grid),
        ]

    def _one(self, out: gp.Output, i: int, grid: tuple[int, int]) -> ModelAnswer:
        tokens, scores = out.sequences[i], out.scores[i]
        return ModelAnswer(
            text=self.processor.text(tokens),
            finish_reason="stop" if int(tokens[-1]) in self.model.eos_token_ids else "length",
            confidence=math.exp(float(out.logprobs[i].mean())),
            new_tokens=len(tokens),
            stats=out.stats[i],
            keep=None if scores is None else out.keep[i].cpu().numpy(),
            scores=None if scores is None else scores.cpu().numpy(),
            grid=grid,
        )
