"""One loaded model that answers questions about page images."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

import glimpseprune as gp
from glimpseprune.cost.prune_or_not import POOL_SECONDS
from glimpseprune.cost.rates import EQUAL
from glimpseprune.errors import InputError
from glimpseprune.generation import Keep
from glimpseprune.stats import now_ms
from pipeline.answering.cache_memory import CacheMemory
from pipeline.answering.devices import check_device
from pipeline.answering.fallback import AskedAgain, asked_again
from pipeline.answering.lanes import in_lanes
from pipeline.answering.loading import load_model
from pipeline.answering.look_again import LookedAgain, looked_again
from pipeline.answering.open_page import ModelAnswer, OpenPage, PageOutcome, PreparedPage, Skipped
from pipeline.answering.page_pruning import choose_for_page
from pipeline.answering.prefilling import Prefiller
from pipeline.answering.question_words import shares_of_words
from pipeline.answering.skipping import Skipping
from pipeline.answering.visible_tokens import visible_tokens
from pipeline.errors import PageError
from pipeline.families.base import ModelInput
from pipeline.records import Ask, Image
from pipeline.words import Words

OPEN_SECONDS = POOL_SECONDS
"""Age of an open page at which no other page begins before it is answered. Memory alone would let a slow machine read
pages for minutes before the first is answered and can be committed."""

_MOST_LANES = 4  # more would wait for the interpreter
_WORKING_TENSORS = 4  # of a layer, as wide as its MLP or its hidden states, that a page needs at a time

Key = TypeVar("Key", bound=Hashable)


class PageAnswerer:
    """Answers questions about page images with one loaded model.

    Args:
        model: model from :func:`glimpseprune.load`.
        processor: processor of the same checkpoint.

    Attributes:
        fallback: whether questions that need the whole page, and doubtful answers, are asked again without pruning.
        look_again: ``confidence_raw`` below which an answer is asked for again, on the page at another size.
        skipping: decides which pages are left out of which questions; ``None`` asks every question of every page.
        drop_blank: whether blank paper is kept out of the model, on pages of the size the model takes.
        lanes: number of threads that answer pages side by side.
        rates: what operations take, by which ``--prune auto`` chooses.
        prefiller: brings pages and questions up to the first token of each answer.
        model_ms: wall time the model has run so far, in vision tower, prefill and decoding; preparing pages does not
            count.
    """

    def __init__(self, model: gp.GlimpseModel, processor: ModelInput) -> None:
        self.model = model
        self.processor = processor
        self.fallback = False
        self.look_again = 0.0
        self.skipping: Skipping | None = None
        self.drop_blank = False
        self.rates = EQUAL
        self.model_ms = 0.0
        weights_bytes = sum(weight.nbytes for weight in model.base.parameters())
        self.prefiller = Prefiller(model, processor, CacheMemory(model.backbone.device, weights_bytes))
        self.lanes = 1
        self._lane_threads = 0
        self._clock = threading.Lock()

    @property
    def memory(self) -> CacheMemory:
        """What tells whether the caches of unfinished answers leave room to begin another page."""
        return self.prefiller.memory

    def divide(self, threads: int, largest_page: int, lane_threads: int | None = None) -> int:
        """Answer pages in several lanes from now on, if a CPU has threads and memory for them.

        Args:
            threads: torch threads of the process, which the lanes share.
            largest_page: most visual tokens of a page.
            lane_threads: threads per lane, where that was measured; ``None`` for one lane per thread, up to four.

        Returns:
            The number of lanes.
        """
        if self.model.backbone.device.type == "cpu":
            shape = self.model.backbone.shape
            page_bytes = largest_page * (shape.intermediate_size + shape.hidden_size) * _WORKING_TENSORS * 4
            most = min(threads, _MOST_LANES) if lane_threads is None else threads // lane_threads
            self.lanes = max(1, min(most, self.memory.free_bytes() // 4 // page_bytes))
            self._lane_threads = threads // self.lanes
            self.memory.limit_bytes //= self.lanes
        return self.lanes

    @classmethod
    def load(
        cls,
        model: str,
        glimpse: str | None,
        device: str,
        dtype: str,
        attn: str,
        seed: int,
        revision: str | None = None,
        glimpse_revision: str | None = None,
        repetition_penalty: float | None = None,
    ) -> PageAnswerer:
        """Load model, add-on and processor by name.

        Args:
            model: ``nano``, a folder or a hub id.
            glimpse: add-on, as ``nano``, a folder or a hub id; ``None`` loads none.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            dtype: data type, as in :func:`glimpseprune.load`.
            attn: attention of the vision tower, as in :func:`glimpseprune.load`.
            seed: seed of every source of randomness.
            revision: branch, tag or commit of a model of the hub.
            glimpse_revision: the same of an add-on.
            repetition_penalty: divisor or factor for the logits of earlier tokens; ``None`` takes the checkpoint's.

        Raises:
            ModelError: a file is missing or cannot be read, the add-on does not fit the model, or torch and
                transformers compute other numbers than they should, in this type on this device.
            UsageError: a name is neither ``nano``, nor a folder, nor a hub id that can be reached, or the device is
                not there.
        """
        check_device(device)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        loaded, processor = load_model(model, glimpse, device, dtype, attn, revision, glimpse_revision)
        if repetition_penalty is not None:
            loaded = replace(loaded, repetition_penalty=repetition_penalty)
        return cls(loaded, processor)

    def prepare(
        self, page: Image, asks: Sequence[Ask], words: Words | None = None, may_skip: Collection[str] = ()
    ) -> PreparedPage:
        """Make a page image and its questions ready for the model.

        This does not touch the model or its device, so it may run in a thread beside them.

        Args:
            page: the pixels, ``[height, width, 3]``.
            asks: the questions.
            words: text layer of the page; ``None`` without one.
            may_skip: ids of the questions that the page may be left out of.
        """
        prepared = self.prepare_together([page], asks)
        if self.skipping is None or not may_skip:
            return prepared
        found = tuple(shares_of_words([ask.text for ask in asks], words))
        return replace(prepared, may_skip=frozenset(may_skip), words_found=found)

    def prepare_together(self, pages: Sequence[Image], asks: Sequence[Ask]) -> PreparedPage:
        """Make several page images, and questions about all of them, ready for the model, as :meth:`prepare` does.

        Args:
            pages: the pixels of each page, ``[height, width, 3]``.
            asks: the questions.
        """
        images = tuple(self.processor.prepare(page) for page in pages)
        prompts = [self.processor.prompt(ask.prompt, *(image.grid for image in images)) for ask in asks]
        visible = visible_tokens(self.processor, pages, images) if self.drop_blank else None
        return PreparedPage(tuple(asks), images, prompts, visible, pages=tuple(pages) if self.look_again else ())

    def answer_page(
        self, page: Image, asks: Sequence[Ask], keep: Sequence[npt.NDArray[np.bool_]] | None = None
    ) -> list[ModelAnswer]:
        """Answer several questions about one page image ``[height, width, 3]``, in their order.

        Args:
            page: the pixels.
            asks: the questions.
            keep: visual tokens to keep for each question, bool ``[N]``; they replace the choice of its rule.

        Raises:
            PageError: one question alone does not fit into the device's memory.
        """
        pool = self._pool()
        opened = self._open(self.prepare(page, asks), keep, pool)
        with self._timed():
            opened.enter(pool, 0)
        waiting, asked = {0: opened}, dict[int, AskedAgain | LookedAgain]()
        while True:
            with self._timed():
                pool.run()
            for _, answers in self._done(waiting, asked, pool):
                if isinstance(answers, PageError):
                    raise answers
                return [answer for answer in answers if isinstance(answer, ModelAnswer)]  # none is skipped here

    def answer_pages(
        self, pages: Iterable[tuple[Key, Callable[[], PreparedPage]]]
    ) -> Generator[tuple[Key, PageOutcome]]:
        """Answer the questions of many pages, decoding those of several pages together.

        Args:
            pages: pairs of a unique key and a function that returns the page from :meth:`prepare`, or raises the reason
                why there is none; taken one by one, when there is room.

        Yields:
            Each key with the answers, or with the error that prevented them; pages that are done early come early.
        """
        if self.lanes == 1:
            return self._answer_in_turn(pages)
        return in_lanes(self._answer_in_turn, pages, self.lanes, partial(torch.set_num_threads, self._lane_threads))

    def _answer_in_turn(
        self, pages: Iterable[tuple[Key, Callable[[], PreparedPage]]]
    ) -> Generator[tuple[Key, PageOutcome]]:
        pool = self._pool()
        waiting: dict[Key, OpenPage] = {}
        asked: dict[Key, AskedAgain | LookedAgain] = {}
        for key, prepared in pages:
            try:
                opened = self._open(prepared(), None, pool)
            except (PageError, InputError) as error:
                yield key, error if isinstance(error, PageError) else PageError("infer", "InputError", str(error))
                continue
            waiting[key] = opened
            with self._timed():
                opened.enter(pool, key)
                while len(pool) and (pool.full or self.memory.full(pool.nbytes) or _too_old(waiting, pool)):
                    pool.step()
            yield from self._done(waiting, asked, pool)
        while waiting:
            with self._timed():
                pool.step()
            yield from self._done(waiting, asked, pool)

    def _done(
        self, waiting: dict[Key, OpenPage], asked: dict[Key, AskedAgain | LookedAgain], pool: gp.DecodePool
    ) -> Iterator[tuple[Key, PageOutcome]]:
        """Take out the pages whose questions are all answered; those with questions to ask again stay for that."""
        for key in [key for key, opened in waiting.items() if opened.complete(pool, key)]:
            opened = waiting.pop(key)
            peak = self.memory.peak_since(opened.memory_mark)
            answers = [
                replace(answer, peak_memory_bytes=peak)
                for answer in opened.answers(pool, key, self.processor, self.model.eos_token_ids)
            ]
            before = asked.pop(key, None)
            if before is not None:
                answers, opened = before.merged(answers), before.opened
            again = self._again(opened, answers, before)
            if again is None:
                yield key, opened.with_skipped(answers)
                continue
            try:
                with self._timed():
                    waiting[key] = self._reopened(again, pool)
                    waiting[key].enter(pool, key)
                asked[key] = again
            except PageError as error:
                # A larger page may need more memory than there is; what was found before stays.
                yield key, opened.with_skipped(answers) if isinstance(again, LookedAgain) else error

    def _again(
        self, opened: OpenPage, answers: Sequence[ModelAnswer], before: AskedAgain | LookedAgain | None
    ) -> AskedAgain | LookedAgain | None:
        """Choose what is asked again of an answered page: first without pruning, then at another size."""
        unpruned = asked_again(opened, answers) if before is None else None
        if unpruned is not None:
            return unpruned
        look = before.look + 1 if isinstance(before, LookedAgain) else 2
        return looked_again(opened, answers, self.look_again, self.processor, look)

    def _reopened(self, again: AskedAgain | LookedAgain, pool: gp.DecodePool) -> OpenPage:
        """Prefill the questions that are asked again."""
        if isinstance(again, AskedAgain):
            return again.reopened(self.prefiller, pool)
        prepared = self.prepare_together(again.pages, again.asks)
        return replace(self._open(prepared, None, pool), read=None, pages=(), began_at_s=again.opened.began_at_s)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Add the time spent inside the context to ``model_ms``."""
        start = now_ms(self.model.backbone.device)
        try:
            yield
        finally:
            # Not ``now_ms``: the model's calls end when the device is done, and it cannot synchronize a failed device.
            spent = time.perf_counter() * 1e3 - start
            with self._clock:
                self.model_ms += spent / self.lanes

    def _pool(self) -> gp.DecodePool:
        model = self.model
        return gp.DecodePool(model.backbone, model.eos_token_ids, model.repetition_penalty, self.memory.ran_out)

    def _open(self, page: PreparedPage, keep: Sequence[npt.NDArray[np.bool_]] | None, pool: gp.DecodePool) -> OpenPage:
        asks, prompts = page.asks, page.prompts
        rules: list[Keep] = [ask.rule for ask in asks] if keep is None else [torch.from_numpy(mask) for mask in keep]
        began_at_s, mark = time.monotonic(), self.memory.begin()
        pruning = choose_for_page(self.model, page, self.rates) if keep is None else None
        if pruning is not None and pruning.choice == "unpruned":
            rules = [None if ask.prune_auto else ask.rule for ask in asks]
        presences: list[float | None] = []
        skipped: dict[int, Skipped] = {}
        scored: gp.EncodedPage | None = None
        with self._timed():
            if self.skipping is not None and page.may_skip:
                scored, presences, skipped = self.skipping.choose(page, self.prefiller, pool)
            left = [i for i in range(len(asks)) if i not in skipped]
            asks, prompts, rules = tuple(asks[i] for i in left), [prompts[i] for i in left], [rules[i] for i in left]
            read_page = partial(self.prefiller.read, page, rules) if scored is None else lambda: scored
            sequences, stats, read = self.prefiller.prefill(asks, prompts, rules, read_page, pool)
        constraints = [self.prefiller.constraints.of(ask) for ask in asks]
        grids, frames = zip(*((self.processor.token_grid(image), image.frame) for image in page.images), strict=True)
        later = read.unpruned() if self.fallback and keep is None else None
        known = [presences[i] for i in left] if presences else []
        return OpenPage(
            asks,
            prompts,
            sequences,
            stats,
            constraints,
            grids,
            frames,
            pruning,
            later,
            began_at_s,
            mark,
            known,
            skipped,
            page.pages if keep is None else (),
        )


def _too_old(waiting: Mapping[Key, OpenPage], pool: gp.DecodePool) -> bool:
    """Tell whether a page has been open for ``OPEN_SECONDS`` and lacks answers."""
    latest = time.monotonic() - OPEN_SECONDS
    return any(opened.began_at_s <= latest and not opened.complete(pool, key) for key, opened in waiting.items())
