"""Does the work of ``docpipe doctor --tune``: measures once how this machine answers fastest with a model."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.model_choice import ModelChoice, check_attention, device_of
from jobs.progress import counted
from jobs.run.prepare import answer_settings
from pipeline.records import AnswerSettings, Ask, Image

if TYPE_CHECKING:
    from pipeline.answering.page_answerer import PageAnswerer

_PAGES_PER_LANE, _QUESTIONS, _NEW_TOKENS = 2, 4, 16
_ROUNDS = 2


def tune(choice: ModelChoice, show: Callable[[str], Any]) -> Path:
    """Measure type, lanes and rates, and write what runs on this machine with this model read.

    Args:
        choice: model and how it runs.
        show: function that prints a line.

    Returns:
        The file with the result.

    Raises:
        UsageError: a name cannot be resolved, or the device is not there.
        ModelError: the model cannot be loaded.
        OutputError: the file cannot be written.
    """
    import torch

    from pipeline.answering.page_answerer import PageAnswerer
    from pipeline.answering.tuning import (
        Tuning,
        leaves_dtype_open,
        measured_dtype,
        measured_rates,
        tuning_file,
        write_tuning,
    )

    device = device_of(choice)
    check_attention(choice, device)
    settings = answer_settings(choice, 0)
    stored = measured_dtype() if leaves_dtype_open(choice.dtype, device) else None
    if stored is not None:
        show(f"type             {stored.dtype}")
    answerer = PageAnswerer.load(
        choice.model,
        settings.glimpse,
        device,
        stored.dtype if stored else choice.dtype,
        choice.attn,
        0,
        choice.revision,
    )
    threads = _threads()
    torch.set_num_threads(threads)
    show(f"weights          {'packed' if answerer.model.pack() else 'as they are'}")
    lane_threads = None
    if device == "cpu" and threads > 1:
        lane_threads = _fastest_lanes(answerer, settings, threads, show)
        torch.set_num_threads(lane_threads)
    rates = None if answerer.model.method is None else measured_rates(answerer.model)
    if rates is not None:
        show(
            f"speed            {1e-9 / rates.linear:.1f} GFLOP/s in products with weights, "
            f"{1e-9 / rates.attention:.1f} in attention; {rates.layer_run * 1e6:.0f} us to begin a layer"
        )
    write_tuning(tuning_file(settings, device, None), Tuning(lane_threads=lane_threads, dtype=stored))
    file = tuning_file(settings, device, settings.glimpse_fingerprint)
    write_tuning(file, Tuning(lane_threads=lane_threads, dtype=stored, rates=rates))
    return file


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _fastest_lanes(answerer: PageAnswerer, settings: AnswerSettings, threads: int, show: Callable[[str], Any]) -> int:
    """Answer the same pages with lanes of 1, 2, 4 ... threads, in turns, and return the fastest number of threads."""
    import torch

    from glimpseprune.probing import fastest_s
    from pipeline.answering.page_answerer import PageAnswerer

    candidates: list[int] = sorted({*(2**power for power in range(threads.bit_length())), threads})
    pages = _drawn_pages(settings, threads)
    asks = [Ask(str(n), "What is the total?", "text", _NEW_TOKENS, settings.rule) for n in range(_QUESTIONS)]

    def answer(lane_threads: int) -> None:
        divided = PageAnswerer(answerer.model, answerer.processor)
        divided.drop_blank = settings.drop_blank
        torch.set_num_threads(threads)
        divided.divide(threads, max(_tokens(divided, page) for page in pages), lane_threads)
        for _ in divided.answer_pages((n, partial(divided.prepare, page, asks)) for n, page in enumerate(pages)):
            pass

    seconds = fastest_s(torch.device("cpu"), *(partial(answer, n) for n in candidates), rounds=_ROUNDS)
    for lane_threads, taken in zip(candidates, seconds, strict=True):
        show(
            f"lanes            {threads // lane_threads} of {counted(lane_threads, 'thread')}: "
            f"{len(pages) * _QUESTIONS / taken:.1f} questions/s"
        )
    return candidates[seconds.index(min(seconds))]


def _tokens(answerer: PageAnswerer, page: Image) -> int:
    return math.prod(answerer.processor.token_grid(answerer.processor.prepare(page)))


def _drawn_pages(settings: AnswerSettings, threads: int) -> Sequence[Image]:
    """Draw pages like those of the demo, at the size at which the model takes them."""
    from pipeline.datasets.example import Example
    from pipeline.datasets.page_images import PageImages
    from pipeline.pages.renderer import RenderChild
    from pipeline.samples.write import write_samples

    with tempfile.TemporaryDirectory() as folder, RenderChild() as child:
        samples = write_samples(Path(folder), range(_PAGES_PER_LANE * threads))
        images = PageImages(child, settings.dpi, settings.budget)
        files = [Path(folder) / "pdfs" / f"{sample.seed:08d}.pdf" for sample in samples]
        return [images.of(Example(file, 1, "", "", ("",), ())) for file in files]
