"""Encodes a page once and answers any number of questions about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.continuations import continuation_logprobs
from glimpseprune.decode.graphs import graphs_for
from glimpseprune.decode.greedy import Greedy
from glimpseprune.decode.log_step import decode_logs
from glimpseprune.decode.pool import DecodePool
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.errors import InputError
from glimpseprune.families.base import EncodedImage, Prompt
from glimpseprune.generation import Keep, check, measured, one_each, prefill_alone
from glimpseprune.model import GlimpseModel
from glimpseprune.prefill.alone import next_position
from glimpseprune.prefill.shared import SharedPrefix, prefill_questions, read_prefix, score_questions
from glimpseprune.prefill.unpruned import prefill_together
from glimpseprune.prefill.visible import drop_from_prompt, over_all_tokens, rule_for_visible, split_by_image
from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats, now_ms
from glimpseprune.without_cudnn import without_cudnn


@dataclass(frozen=True, slots=True)
class Answer:
    """Holds the answer to one question.

    Attributes:
        tokens: new tokens, the end-of-sequence token included.
        logprobs: log-probability of each new token under the model.
        first_logits: logits ``[vocab]`` of the first new token, float32.
        scores: importance logits ``[N]``; ``None`` if nothing was scored.
        keep: mask of the visual tokens that stayed, bool ``[N]``.
        stats: figures of the pruning.
    """

    tokens: list[int]
    logprobs: list[float]
    first_logits: Tensor
    scores: Tensor | None
    keep: Tensor
    stats: PruneStats


@dataclass(slots=True)
class EncodedPage:
    """Holds a page after the vision tower.

    Layers 0..K run once, as soon as several questions share them.

    Attributes:
        model: model that encoded the page.
        prefix: beginning of every prompt about the page, without tokens that are not visible.
        pixels: patches of each image, ``[patches, patch_dim]``; mostly of one.
        grids: rows and columns of patches of each image.
        prefix_ids: token ids ``[P]`` of the beginning of every prompt, with all image tokens.
        images: images after the vision tower.
        visible: mask of the visual tokens that the model sees, bool ``[N]``; ``None`` for all.
        vision_ms: wall time of the vision tower in milliseconds, reported with the first question.
        shared: prefix after layers 0..K; ``None`` until questions share it.
        prefix_ms: wall time of the prefix and of :meth:`scores` in milliseconds, reported with the first question that
            is prefilled behind them; ``None`` before :meth:`scores`.
    """

    model: GlimpseModel
    prefix: Prompt
    pixels: Sequence[Tensor]
    grids: Sequence[tuple[int, int]]
    prefix_ids: Tensor
    images: list[EncodedImage]
    visible: Tensor | None
    vision_ms: float | None
    shared: SharedPrefix | None = None
    prefix_ms: float | None = None
    _asked: bool = field(default=False)

    @torch.inference_mode()
    @without_cudnn
    def ask(
        self,
        questions: Sequence[Tensor],
        rule: Keep | Sequence[Keep] = None,
        max_new_tokens: int | Sequence[int] = 32,
    ) -> list[Answer]:
        """Answer questions, with the same tokens as :func:`glimpseprune.generate` for each alone.

        Args:
            questions: token ids ``[T_q]`` of each prompt after the prefix, up to where the answer begins; at least one.
            rule: rule, mask of visual tokens to keep, or ``None`` for all; one for all questions, or one per question.
            max_new_tokens: largest number of new tokens, at least 1; one for all questions, or one per question.

        Raises:
            InputError: a question is empty, a rule is given although the model has no add-on, or a mask does not have
                one entry per visual token.
        """
        model = self.model
        rules = one_each(rule, len(questions), "rule")
        limits = one_each(max_new_tokens, len(questions), "max_new_tokens")
        sequences, stats = self.prefill(questions, rules, limits)
        logits = [sequence.logits for sequence in sequences]
        pool = DecodePool(model.backbone, model.eos_token_ids, model.repetition_penalty)
        for row, (sequence, limit) in enumerate(zip(sequences, limits, strict=True)):
            pool.add(row, sequence, self.prompt_ids(questions[row]), limit)
        pool.run()
        answers = []
        for row, (sequence, figures) in enumerate(zip(sequences, stats, strict=True)):
            done = pool.done[row]
            figures.decode_ms = done.decode_ms
            answers.append(Answer(done.tokens, done.logprobs, logits[row], sequence.scores, sequence.keep, figures))
        return answers

    @torch.inference_mode()
    @without_cudnn
    def prefill(
        self,
        questions: Sequence[Tensor],
        rules: Sequence[Keep],
        limits: Sequence[int],
        constraints: Sequence[BeginConstraint | None] | None = None,
        continuations: Sequence[Sequence[Tensor]] | None = None,
    ) -> tuple[list[Prefilled], list[PruneStats]]:
        """Prefill questions, for decode in a :class:`~glimpseprune.DecodePool`; this is the first half of :meth:`ask`.

        Args:
            questions: token ids ``[T_q]`` of each prompt after the prefix, at least one.
            rules: rule, mask or ``None`` for each question.
            limits: largest number of new tokens of each question.
            constraints: function that makes the limits of each answer's tokens, or ``None``, for each question; they
                hold for answers that come out decoded, and the pool has to be given them for the others.
            continuations: token ids ``[T_c]``, without an end, of answers to each question whose log-probabilities are
                computed too.

        Returns:
            Sequences that are ready for decode, and the figures of each.

        Raises:
            InputError: as in :meth:`ask`.
        """
        check(self.model, rules, limits)
        prompts = self.prompts(questions)
        if self.visible is not None:
            rules = [rule_for_visible(rule, self.visible) for rule in rules]
        limited = constraints or [None] * len(prompts)
        scored = {i: answers for i, answers in enumerate(continuations or ()) if answers}
        pruned = [(i, rule) for i, rule in enumerate(rules) if rule is not None]
        whole = [i for i, rule in enumerate(rules) if rule is None]
        found = dict(self._pruned([(i, prompts[i], rule) for i, rule in pruned]))
        # Those that are answered together keep no cache behind which continuations could be scored.
        found |= {i: prefill_alone(self.model, prompts[i], self.images, None) for i in whole if i in scored}
        found |= self._unpruned([(i, prompts[i], limits[i], limited[i]) for i in whole if i not in scored])
        sequences = [found[i][0] for i in range(len(prompts))]
        stats = [found[i][1] for i in range(len(prompts))]
        for i, answers in scored.items():
            sequence, ends = sequences[i], self.model.eos_token_ids
            sequence.continuations = continuation_logprobs(self.model.backbone, sequence, answers, ends)
        if not self._asked:
            stats[0].vision_ms = self.vision_ms
            self._asked = True
        return (sequences, stats) if self.visible is None else over_all_tokens(sequences, stats, self.visible)

    @torch.inference_mode()
    def scores(self, questions: Sequence[Tensor]) -> list[Tensor]:
        """Score the visual tokens for each question, before any is prefilled; a later prefill reuses the prefix.

        Args:
            questions: token ids ``[T_q]`` of each prompt after the prefix, at least one.

        Returns:
            Importance logits ``[N]`` of each question, float32; minus infinity for tokens that are not visible.

        Raises:
            InputError: a question is empty, or the model has no add-on.
        """
        model = self.model
        if model.method is None:
            raise InputError("expected a model with an add-on to score visual tokens, found none; load one")
        start, prompts = now_ms(model.backbone.device), self.prompts(questions)
        if self.shared is None:
            self.shared = read_prefix(model.backbone, model.method, self.prefix, self.images)
        scores = score_questions(model.backbone, model.method, self.shared, prompts)
        if self.visible is not None:
            everywhere = [row.new_full(self.visible.shape, float("-inf")) for row in scores]
            for whole, row in zip(everywhere, scores, strict=True):
                whole[self.visible] = row
            scores = everywhere
        self.prefix_ms = (self.prefix_ms or 0.0) + now_ms(model.backbone.device) - start
        return scores

    def prompts(self, questions: Sequence[Tensor]) -> list[Prompt]:
        """Make the whole prompt of each question, without tokens that are not visible.

        Args:
            questions: token ids ``[T_q]`` of each prompt after the prefix.

        Raises:
            InputError: a question is empty.
        """
        if any(not question.numel() for question in questions):
            raise InputError(
                f"expected at least one token in every question, found {[question.numel() for question in questions]}; "
                "leave empty questions out, or end prefix_ids earlier"
            )
        ids = [self.prompt_ids(question) for question in questions]
        prompts = self.model.backbone.page_prompts(ids, self.pixels, self.grids)
        return prompts if self.visible is None else [drop_from_prompt(prompt, self.visible) for prompt in prompts]

    def unpruned(self) -> EncodedPage:
        """Return the page for questions without a rule, without what only pruning needs."""
        images = [replace(image, features=()) for image in self.images]
        return replace(self, model=replace(self.model, method=None), images=images, shared=None)

    def prompt_ids(self, question: Tensor) -> Tensor:
        """Join the prefix and a question to the token ids ``[P + T_q]`` of the whole prompt."""
        return torch.cat([self.prefix_ids, question.to(self.prefix_ids.device)])

    def _pruned(
        self, asked: Sequence[tuple[int, Prompt, KeepRule | Tensor]]
    ) -> dict[int, tuple[Prefilled, PruneStats]]:
        """Prefill questions that have a rule; a single first question runs alone, since nothing would be shared."""
        model = self.model
        if not asked or model.method is None:
            return {}
        if len(asked) == 1 and self.shared is None and not self._asked:
            ((i, prompt, rule),) = asked
            return {i: prefill_alone(model, prompt, self.images, rule)}
        start, prefix_ms = now_ms(model.backbone.device), self.prefix_ms
        self.prefix_ms = None
        if self.shared is None:
            self.shared = read_prefix(model.backbone, model.method, self.prefix, self.images)
            read = now_ms(model.backbone.device)
            start, prefix_ms = read, read - start
        prompts = [prompt for _, prompt, _ in asked]
        rules = [rule for _, _, rule in asked]
        sequences = prefill_questions(model.backbone, model.method, self.shared, prompts, rules)
        each = (now_ms(model.backbone.device) - start) / len(asked)
        found = {}
        for (i, prompt, _), sequence in zip(asked, sequences, strict=True):
            found[i] = sequence, measured(prompt, sequence, sequence.cache.nbytes // sequence.cache.tokens, each)
        found[asked[0][0]][1].prefix_ms = prefix_ms
        return found

    def _unpruned(
        self, asked: Sequence[tuple[int, Prompt, int, BeginConstraint | None]]
    ) -> dict[int, tuple[Prefilled, PruneStats]]:
        """Prefill questions without a rule; several are prefilled, and decode, together behind one prefix."""
        model = self.model
        if len(asked) < 2 or not self.images:
            return {i: prefill_alone(model, prompt, self.images, None) for i, prompt, _, _ in asked}
        prompts, limits = [prompt for _, prompt, _, _ in asked], [limit for _, _, limit, _ in asked]
        constraints = [constraint for *_, constraint in asked]
        graphs = graphs_for(model.backbone.device)
        page, (prefix_ms, questions_ms) = prefill_together(
            model.backbone, self.prefix, self.images, prompts, limits, constraints, graphs
        )
        token_bytes = page.log.token_bytes
        if graphs is not None:
            # Graphs gain nothing from other pages, so what is held goes, and memory that is too short shows here.
            greedy = Greedy(model.eos_token_ids, model.repetition_penalty)
            decode_logs(model.backbone, greedy, [page], graphs)
        visual = sum(slots.numel() for slots in self.prefix.image_slots)
        keep = torch.ones(visual, dtype=torch.bool, device=model.backbone.device)
        found = {}
        for place, (i, prompt, *_) in enumerate(asked):
            logits = page.logits[place]
            sequence = Prefilled(PrefillCache(), logits, next_position(prompt), None, keep, page=(page, place))
            found[i] = sequence, measured(prompt, sequence, token_bytes, questions_ms / len(asked))
        found[asked[0][0]][1].prefix_ms = prefix_ms
        return found


def encode_page(
    model: GlimpseModel,
    prefix_ids: Tensor,
    pixels: Tensor,
    grid: tuple[int, int],
    visible: Tensor | None = None,
) -> EncodedPage:
    """Encode a page once, for all its questions.

    Args:
        model: model from :func:`glimpseprune.load`.
        prefix_ids: token ids ``[P]`` of the beginning of every prompt, at least up to the end of the image.
        pixels: patches of the image, ``[patches, patch_dim]``.
        grid: rows and columns of patches.
        visible: mask of the visual tokens that vision tower and language model see, bool ``[N]``; ``None`` for all.

    Raises:
        InputError: the image and its tokens do not match, or ``visible`` does not have one entry per visual token.
    """
    return encode_pages(model, prefix_ids, [pixels], [grid], visible)


@torch.inference_mode()
@without_cudnn
def encode_pages(
    model: GlimpseModel,
    prefix_ids: Tensor,
    pixels: Sequence[Tensor],
    grids: Sequence[tuple[int, int]],
    visible: Tensor | None = None,
) -> EncodedPage:
    """Encode several pages once, for all questions about them together; the keep rule applies to each image.

    Args:
        model: model from :func:`glimpseprune.load`.
        prefix_ids: token ids ``[P]`` of the beginning of every prompt, at least up to the end of the last image.
        pixels: patches of each image, ``[patches, patch_dim]``, at least one.
        grids: rows and columns of patches of each image.
        visible: mask of the visual tokens of all images that vision tower and language model see, bool ``[N]``;
            ``None`` for all.

    Raises:
        InputError: images and their tokens do not match, or ``visible`` does not have one entry per visual token.
    """
    device = model.backbone.device
    pixels, prefix_ids = [image.to(device) for image in pixels], prefix_ids.to(device)
    (prefix,) = model.backbone.page_prompts([prefix_ids], pixels, grids)
    seen = None
    if visible is not None:
        visible = visible.to(device)
        whole = prefix
        prefix = drop_from_prompt(whole, visible)
        seen = split_by_image(whole, visible)
    images, vision_ms = model.encode_images(prefix, seen)
    return EncodedPage(model, prefix, pixels, grids, prefix_ids, images, visible, vision_ms)
