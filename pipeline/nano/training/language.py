"""The language model for training: a page once, many questions of it behind, each seeing the page and itself.

The result for each question is that of the stock model on page and question alone (``tests/test_nano.py``). Beside the
answer, the inner layers are told what a reader would have to know on the way: what each cell is, what is asked for,
in which cell the next character stands and which of the cell's characters it is. The heads that say so exist in
training only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.nano.training import vocabulary
from pipeline.nano.training.shape import HEADS, ROPE_SECTIONS, ROPE_THETA, WIDTH
from pipeline.nano.training.targets import IGNORE, SLOTS
from pipeline.nano.training.tower import Rotary, linear, rms_norm, rotate, swiglu
from pipeline.samples.fields import FIELDS

TAGS = 2 * len(FIELDS) + 1  # nothing, value of a field, label of a field
OFFSETS = 24  # places in a value
POINTER_LAYERS = (2, 3)  # their head 0 is taught to look at the cell of the character to write
_HEAD = WIDTH // HEADS


class AnswerHeads(nn.Module):
    """Heads that exist in training only, on the inputs of some layers."""

    def __init__(self) -> None:
        super().__init__()
        self.tag2, self.tag3 = nn.Linear(WIDTH, TAGS), nn.Linear(WIDTH, TAGS)
        self.offset2, self.offset3 = nn.Linear(WIDTH, OFFSETS), nn.Linear(WIDTH, OFFSETS)
        self.slot3, self.slot4 = nn.Linear(WIDTH, SLOTS), nn.Linear(WIDTH, SLOTS)
        self.start = nn.Linear(WIDTH, SLOTS)
        self.asked, self.place = nn.Linear(WIDTH, len(FIELDS)), nn.Linear(WIDTH, OFFSETS)
        for head in self.children():
            if isinstance(head, nn.Linear):
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)


@dataclass(frozen=True, slots=True)
class Questions:
    """Q questions on each of B pages of N cells, L tokens each; -100 where there is nothing to learn.

    Attributes:
        ids: ``[B, Q, L]`` what stands behind the image: its end, the question, the answer.
        targets: ``[B, Q, L]`` the next token, at the tokens that an answer token follows.
        pointer: ``[B, Q, L]`` the cell (raster order) in which that token is printed.
        slot: ``[B, Q, L]`` which of the cell's characters it is.
        asked: ``[B, Q, L]`` the field asked for.
        place: ``[B, Q, L]`` the token's place in the answer.
        tags: ``[B, N]`` what each cell holds: 0, 1 + field of a value, or 1 + fields + field of a label.
        offsets: ``[B, N]`` place in its value of a cell's first value character.
        starts: ``[B, N]`` which of the cell's characters that is.
    """

    ids: Tensor
    targets: Tensor
    pointer: Tensor
    slot: Tensor
    asked: Tensor
    place: Tensor
    tags: Tensor
    offsets: Tensor
    starts: Tensor


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """Losses in nats and what was right.

    Attributes:
        answer: cross-entropy of the answers.
        pointer: of the pointer heads.
        slot: of the characters in the cells.
        tags: of what the cells are.
        asked: of what is asked for.
        exact: ``[B, Q]`` bool, answers right in every token.
        tokens: share of answer tokens right.
        pointed: share of answer characters whose cell the last pointer head looks at most.
    """

    answer: Tensor
    pointer: Tensor
    slot: Tensor
    tags: Tensor
    asked: Tensor
    exact: Tensor
    tokens: Tensor
    pointed: Tensor


def text_rotary(rows: int, columns: int, length: int, shift: int) -> Rotary:
    """Cosines and sines ``[1 + cells + length, head]`` of the image's start, the image and one question.

    ``shift`` moves the question to where it would stand behind an image of ``shift`` rows or columns more.
    """
    inverse = 1.0 / ROPE_THETA ** (torch.arange(0, _HEAD, 2).float() / _HEAD)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    image = torch.stack((torch.ones(rows * columns), 1.0 + row.flatten(), 1.0 + column.flatten()))
    text = (1.0 + shift + max(rows, columns) + torch.arange(length)).expand(3, -1)
    angles = torch.cat((torch.zeros(3, 1), image, text), 1)[..., None] * inverse
    angles = torch.cat(
        [chunk[i % 3] for i, chunk in enumerate(torch.split(angles, list(ROPE_SECTIONS), -1))], -1
    ).repeat(1, 2)
    return angles.cos(), angles.sin()


def answer_losses(text: Any, heads: AnswerHeads, image: Tensor, questions: Questions, rotary: Rotary) -> AnswerFigures:
    """Run the questions of a batch.

    Args:
        text: the stock model's language model.
        heads: the training heads.
        image: ``[B, N, WIDTH]`` visual tokens in raster order; its precision is computed in.
        questions: what is asked and what is right.
        rotary: of :func:`text_rotary`, in the same precision.
    """
    batch, count, length = questions.ids.shape
    page = image.shape[1] + 1
    embedding = text.embed_tokens.weight.to(image.dtype)
    start = embedding[vocabulary.VISION_START].expand(batch, 1, -1)
    x = torch.cat((start, image, F.embedding(questions.ids.flatten(1), embedding)), 1)
    cos, sin = (torch.cat((t[:page], t[page:].repeat(count, 1)))[None, None] for t in rotary)
    own = torch.full((length, length), -1e9, dtype=x.dtype, device=x.device).triu(1)
    causal = torch.full((page, page), -1e9, dtype=x.dtype, device=x.device).triu(1)
    pointer = questions.pointer.flatten()
    pointer = torch.where(pointer >= 0, pointer + 1, pointer)  # the first key is the image's start
    losses: dict[str, list[Tensor]] = {"pointer": [], "slot": [], "tags": [], "asked": []}
    pointed = x.new_zeros(())
    for number, layer in enumerate(text.layers):
        cells, words = x[:, 1:page], x[:, page:]
        if number in (2, 3):
            losses["tags"].append(_entropy(cells, getattr(heads, f"tag{number}"), questions.tags))
            losses["tags"].append(_entropy(cells, getattr(heads, f"offset{number}"), questions.offsets))
        if number == 2:
            losses["asked"].append(_entropy(words, heads.asked, questions.asked))
            losses["asked"].append(_entropy(words, heads.place, questions.place))
        if number == 3:
            losses["tags"].append(_entropy(cells, heads.start, questions.starts))
        if number in (3, 4):
            losses["slot"].append(_entropy(words, getattr(heads, f"slot{number}"), questions.slot))
        y = rms_norm(x, layer.input_layernorm)
        attention = layer.self_attn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        query, key, value = (linear(y, proj).view(batch, -1, HEADS, _HEAD).transpose(1, 2) for proj in projections)
        query, key = rotate(query, (cos, sin)) * _HEAD**-0.5, rotate(key, (cos, sin))
        seen = torch.softmax(query[:, :, :page] @ key[:, :, :page].mT + causal, -1) @ value[:, :, :page]
        scores = _question_scores(query[:, :, page:], key, page, count, own)  # [B, H, Q * L, page + L]
        if number in POINTER_LAYERS:
            row = scores[:, 0].float().flatten(0, 1)
            # Slot 0 of the row is the image's start.
            losses["pointer"].append(
                F.cross_entropy(row, torch.where(pointer >= 0, pointer + 1, pointer), ignore_index=IGNORE)
            )
            if number == POINTER_LAYERS[-1]:
                pointed = ((row.argmax(-1) == pointer + 1) & (pointer >= 0)).sum() / (pointer >= 0).sum().clamp(min=1)
        weights = torch.softmax(scores, -1)
        near = _by_question(weights[..., page:], count) @ _by_question(value[:, :, page:], count)
        asked = weights[..., :page] @ value[:, :, :page] + near.flatten(2, 3)
        x = x + linear(torch.cat((seen, asked), 2).transpose(1, 2).flatten(2), attention.o_proj)
        x = x + swiglu(rms_norm(x, layer.post_attention_layernorm), layer.mlp)
    logits = F.linear(rms_norm(x[:, page:], text.norm), embedding).float()
    targets = questions.targets
    answer = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
    wanted = targets >= 0
    right = logits.argmax(-1).view(targets.shape) == targets
    return AnswerFigures(
        answer=answer,
        pointer=torch.stack(losses["pointer"]).sum(),
        slot=torch.stack(losses["slot"]).sum(),
        tags=torch.stack(losses["tags"]).sum(),
        asked=torch.stack(losses["asked"]).sum(),
        exact=(right | ~wanted).all(-1),
        tokens=(right & wanted).sum() / wanted.sum(),
        pointed=pointed,
    )


def _question_scores(query: Tensor, key: Tensor, page: int, count: int, own: Tensor) -> Tensor:
    """Attention scores of the questions over the page and over themselves, ``[B, H, Q * L, page + L]``."""
    near = _by_question(query, count) @ _by_question(key[:, :, page:], count).mT + own
    return torch.cat((query @ key[:, :, :page].mT, near.flatten(2, 3)), -1)


def _by_question(x: Tensor, count: int) -> Tensor:
    """``[B, H, Q * L, d] -> [B, H, Q, L, d]``."""
    batch, heads, tokens, size = x.shape
    return x.reshape(batch, heads, count, tokens // count, size)


def _entropy(x: Tensor, head: nn.Linear, target: Tensor) -> Tensor:
    return F.cross_entropy(linear(x, head).float().flatten(0, 1), target.flatten(), ignore_index=IGNORE)
