"""A page that is read once and asked as often as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.greedy import Greedy
from glimpseprune.decode.pool import DecodePool
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.errors import InputError
from glimpseprune.families.base import EncodedImage, Prompt
from glimpseprune.generation import Keep, check, measured, one_each, prefill_alone
from glimpseprune.model import GlimpseModel
from glimpseprune.prefill.alone import next_position
from glimpseprune.prefill.shared import SharedPrefix, prefill_questions, read_prefix
from glimpseprune.prefill.unpruned import answer_together
from glimpseprune.prefill.visible import drop_from_prompt, over_all_tokens, rule_for_visible
from glimpseprune.rule import KeepRule
from glimpseprune.stats import PruneStats, now_ms


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question.

    Attributes:
        tokens: new tokens, the end of sequence included.
        logprobs: log-probability of each under the model.
        first_logits: ``[vocab]`` of the first new token, float32.
        scores: importance logits ``[N]``; ``None`` where nothing was scored.
        keep: which visual tokens stayed, bool ``[N]``.
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
    """A page after the vision tower; layers 0..K follow once, when questions share them.

    Attributes:
        model: the model that encoded the page.
        prefix: what every prompt about the page begins with, without what is not visible.
        pixels: patches of the image, ``[patches, patch_dim]``.
        grid: rows and columns of patches.
        prefix_ids: ``[P]``, the beginning of every prompt, with all image tokens.
        images: the page after the vision tower.
        visible: visual tokens that the model sees, bool ``[N]``; ``None`` for all.
        vision_ms: wall time of the vision tower, reported with the first question.
        shared: the prefix up to layer K; ``None`` until it is needed.
    """

    model: GlimpseModel
    prefix: Prompt
    pixels: Tensor
    grid: tuple[int, int]
    prefix_ids: Tensor
    images: list[EncodedImage]
    visible: Tensor | None
    vision_ms: float | None
    shared: SharedPrefix | None = None
    _asked: bool = field(default=False)

    @torch.inference_mode()
    def ask(
        self,
        questions: Sequence[Tensor],
        rule: Keep | Sequence[Keep] = None,
        max_new_tokens: int | Sequence[int] = 32,
    ) -> list[Answer]:
        """Answer questions; each gets the tokens that :func:`glimpseprune.generate` gives it alone.

        Args:
            questions: token ids ``[T_q]`` behind the prefix, at least one each, up to where the answer begins.
            rule: as in :func:`glimpseprune.generate`.
            max_new_tokens: for all questions or one for each.

        Raises:
            InputError: a question is empty, or a rule is given and the model has no add-on.
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
    def prefill(
        self, questions: Sequence[Tensor], rules: Sequence[Keep], limits: Sequence[int]
    ) -> tuple[list[Prefilled], list[PruneStats]]:
        """Do the first half of :meth:`ask`: sequences that are ready for a :class:`~glimpseprune.DecodePool`.

        Args:
            questions: as in :meth:`ask`.
            rules: one for each question.
            limits: most new tokens of each question.

        Raises:
            InputError: as in :meth:`ask`, or a mask of another length than the page has visual tokens.
        """
        check(self.model, rules, limits)
        if any(not question.numel() for question in questions):
            raise InputError("a question has to have at least one token behind the prefix")
        ids = [self.prompt_ids(question) for question in questions]
        prompts = self.model.backbone.page_prompts(ids, self.pixels, self.grid)
        if self.visible is not None:
            prompts = [drop_from_prompt(prompt, self.visible) for prompt in prompts]
            rules = [rule_for_visible(rule, self.visible) for rule in rules]
        pruned = [(i, rule) for i, rule in enumerate(rules) if rule is not None]
        whole = [i for i, rule in enumerate(rules) if rule is None]
        found = dict(self._pruned([(i, prompts[i], rule) for i, rule in pruned]))
        found |= self._unpruned([(i, prompts[i], limits[i]) for i in whole])
        sequences = [found[i][0] for i in range(len(prompts))]
        stats = [found[i][1] for i in range(len(prompts))]
        if not self._asked:
            stats[0].vision_ms = self.vision_ms
            self._asked = True
        return (sequences, stats) if self.visible is None else over_all_tokens(sequences, stats, self.visible)

    def prompt_ids(self, question: Tensor) -> Tensor:
        """The whole prompt ``[P + T_q]`` of a question."""
        return torch.cat([self.prefix_ids, question.to(self.prefix_ids.device)])

    def _pruned(
        self, asked: Sequence[tuple[int, Prompt, KeepRule | Tensor]]
    ) -> dict[int, tuple[Prefilled, PruneStats]]:
        """Prefill questions that have a rule. One alone reads no prefix that nobody else would use."""
        model = self.model
        if not asked or model.method is None:
            return {}
        if len(asked) == 1 and self.shared is None and not self._asked:
            ((i, prompt, rule),) = asked
            return {i: prefill_alone(model, prompt, self.images, rule)}
        start, prefix_ms = now_ms(model.backbone.device), None
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

    def _unpruned(self, asked: Sequence[tuple[int, Prompt, int]]) -> dict[int, tuple[Prefilled, PruneStats]]:
        """Prefill questions that keep every token; several are answered at once, behind one prefix."""
        model = self.model
        if len(asked) < 2 or not self.images or not model.backbone.supports_attention_bias:
            return {i: prefill_alone(model, prompt, self.images, None) for i, prompt, _ in asked}
        prompts, limits = [prompt for _, prompt, _ in asked], [limit for _, _, limit in asked]
        greedy = Greedy(model.eos_token_ids, model.repetition_penalty)
        decoded, logits, token_bytes, (prefix_ms, questions_ms) = answer_together(
            model.backbone, self.prefix, self.images, prompts, limits, greedy
        )
        visual = sum(slots.numel() for slots in self.prefix.image_slots)
        keep = torch.ones(visual, dtype=torch.bool, device=model.backbone.device)
        found = {}
        for (i, prompt, _), answer, row in zip(asked, decoded, logits, strict=True):
            sequence = Prefilled(PrefillCache(), row, next_position(prompt), None, keep, decoded=answer)
            found[i] = sequence, measured(prompt, sequence, token_bytes, questions_ms / len(asked))
        found[asked[0][0]][1].prefix_ms = prefix_ms
        return found


@torch.inference_mode()
def encode_page(
    model: GlimpseModel,
    prefix_ids: Tensor,
    pixels: Tensor,
    grid: tuple[int, int],
    visible: Tensor | None = None,
) -> EncodedPage:
    """Read a page once, for all its questions.

    Args:
        model: from :func:`glimpseprune.load`.
        prefix_ids: ``[P]``, the beginning of every prompt, up to behind the image or further.
        pixels: patches of the image, ``[patches, patch_dim]``.
        grid: rows and columns of patches.
        visible: visual tokens that vision tower and language model are to see at all, bool ``[N]``; ``None`` for all.

    Raises:
        InputError: the image and its tokens do not match, or ``visible`` does not fit them.
    """
    device = model.backbone.device
    pixels, prefix_ids = pixels.to(device), prefix_ids.to(device)
    (prefix,) = model.backbone.page_prompts([prefix_ids], pixels, grid)
    if visible is not None:
        visible = visible.to(device)
        prefix = drop_from_prompt(prefix, visible)
    images, vision_ms = model.encode_images(prefix, visible)
    return EncodedPage(model, prefix, pixels, grid, prefix_ids, images, visible, vision_ms)
