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
from pipeline.nano.training.entropy import looked_at, told
from pipeline.nano.training.reading_along import Along
from pipeline.nano.training.shape import HEADS, ROPE_SECTIONS, WIDTH
from pipeline.nano.training.targets import IGNORE, SLOTS
from pipeline.nano.training.tower import Rotary, linear, rms_norm, rotate, silence, swiglu
from pipeline.samples.fields import FIELDS

OTHER = len(FIELDS)  # number of a field whose label is on no list
TAGS = 2 * (OTHER + 1) + 1  # nothing, value of a field, label of a field
OFFSETS = 28  # places in a value
# On the way to layers of these numbers, what a reader knows is told.
TAG_LAYERS, ASKED_LAYER, START_LAYER, SLOT_LAYERS = (3, 4), 3, 4, (4, 5)
POINTER_LAYERS = (3, 4)  # their head 0 is taught to look at the cell of the character to write
LABEL_LAYERS = (2, 3)  # head 1 of the answer mark is taught to look at the label that is asked for
ALONG_LAYER = 2  # on the way to it, what stands before a cell and before a character of a question is told
_HEAD = WIDTH // HEADS


class AnswerHeads(nn.Module):
    """Heads that exist in training only, on the inputs of some layers."""

    def __init__(self) -> None:
        super().__init__()
        self.tags = nn.ModuleList(nn.Linear(WIDTH, TAGS) for _ in TAG_LAYERS)
        self.offsets = nn.ModuleList(nn.Linear(WIDTH, OFFSETS) for _ in TAG_LAYERS)
        self.slots = nn.ModuleList(nn.Linear(WIDTH, SLOTS) for _ in SLOT_LAYERS)
        self.start = nn.Linear(WIDTH, SLOTS)
        self.asked, self.place = nn.Linear(WIDTH, OTHER + 1), nn.Linear(WIDTH, OFFSETS)
        silence(self)


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions on each of B pages of N cells, one behind the other in T tokens; -100 where nothing is to be learnt.

    Attributes:
        ids: ``[B, T]`` for each question the end of the image, the question and the answer.
        number: ``[B, T]`` which question a token belongs to, -1 behind the last.
        offset: ``[B, T]`` the token's place in its question.
        targets: ``[B, T]`` the next token, at the tokens that an answer token follows.
        pointer: ``[B, T]`` the cell (raster order) in which that token is printed.
        label: ``[B, T]`` the cell of the label that is asked for, at the answer mark.
        slot: ``[B, T]`` which of the cell's characters it is.
        asked: ``[B, T]`` the field asked for.
        place: ``[B, T]`` the token's place in the answer.
        tags: ``[B, N]`` what each cell holds: 0, 1 + field of a value, or 2 + ``OTHER`` + field of a label.
        offsets: ``[B, N]`` place in its value of a cell's first value character.
        starts: ``[B, N]`` which of the cell's characters that is.
    """

    ids: Tensor
    number: Tensor
    offset: Tensor
    targets: Tensor
    pointer: Tensor
    label: Tensor
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
        pointer: of the heads that look at characters and labels.
        along: of reading along with the questions; zero where nobody does.
        slot: of the characters in the cells.
        tags: of what the cells are.
        asked: of what is asked for.
        exact: ``[B, T]`` bool, answers right in every token, by the number of the question.
        counted: ``[B, T]`` bool, whether there is such a question.
        tokens: share of answer tokens right.
        pointed: share of answer characters whose cell the last pointer head looks at most.
    """

    answer: Tensor
    pointer: Tensor
    along: Tensor
    slot: Tensor
    tags: Tensor
    asked: Tensor
    exact: Tensor
    counted: Tensor
    tokens: Tensor
    pointed: Tensor


def text_rotary(inverse: Tensor, rows: int, columns: int, offset: Tensor, shift: int | Tensor) -> Rotary:
    """Cosines and sines ``[B, 1, 1 + cells + tokens, head]`` of the image's start, the image and its questions.

    Args:
        inverse: ``[head / 2]`` angles per position, of the stock model's rotary embedding.
        rows: of the image, in cells.
        columns: of the image.
        offset: ``[B, T]`` places of the tokens in their questions.
        shift: moves the questions to where they would stand behind an image of so many rows or columns more.
    """
    batch, device = offset.shape[0], offset.device
    cells = torch.arange(rows * columns, device=device).expand(batch, -1)
    image = torch.stack((torch.ones_like(cells), 1 + cells // columns, 1 + cells % columns))
    text = (1 + shift + max(rows, columns) + offset).expand(3, -1, -1)
    positions = torch.cat((torch.zeros(3, batch, 1, dtype=torch.long, device=device), image, text), 2)
    angles = positions[..., None].float() * inverse
    angles = torch.cat([chunk[i] for i, chunk in enumerate(torch.split(angles, list(ROPE_SECTIONS), -1))], -1).repeat(
        1, 1, 2
    )
    return angles.cos()[:, None], angles.sin()[:, None]


def answer_losses(
    text: Any,
    heads: AnswerHeads,
    image: Tensor,
    questions: Questions,
    rotary: Rotary,
    seen: Tensor | None = None,
    along: Along | None = None,
) -> AnswerFigures:
    """Run the questions of a batch.

    Args:
        text: the stock model's language model.
        heads: the training heads.
        image: ``[B, N, WIDTH]`` visual tokens, those that the model is shown in raster order and before the others; its
            precision is computed in.
        questions: what is asked and what is right.
        rotary: of :func:`text_rotary`, in the same precision and the order of the tokens.
        seen: ``[B, N]`` bool, the tokens that the model is shown; all when None.
        along: what reading along with the questions would tell; nothing when None.
    """
    batch = len(questions.ids)
    page = image.shape[1] + 1
    embedding = text.embed_tokens.weight.to(image.dtype)
    start = embedding[vocabulary.VISION_START].expand(batch, 1, -1)
    x = torch.cat((start, image, F.embedding(questions.ids, embedding)), 1)
    over_all = _mask(questions.number, page, seen, x.dtype)
    losses: dict[str, list[Tensor]] = {"pointer": [], "slot": [], "tags": [], "asked": [], "along": [x.new_zeros(())]}
    pointed = x.new_zeros(())
    for number, layer in enumerate(text.layers):
        cells, words = x[:, 1:page], x[:, page:]
        if number in TAG_LAYERS:
            which = TAG_LAYERS.index(number)
            losses["tags"].append(told(cells, heads.tags[which], questions.tags))
            losses["tags"].append(told(cells, heads.offsets[which], questions.offsets))
        if number == ASKED_LAYER:
            losses["asked"].append(told(words, heads.asked, questions.asked))
            losses["asked"].append(told(words, heads.place, questions.place))
        if number == START_LAYER:
            losses["tags"].append(told(cells, heads.start, questions.starts))
        if number in SLOT_LAYERS:
            losses["slot"].append(told(words, heads.slots[SLOT_LAYERS.index(number)], questions.slot))
        if along is not None and number == ALONG_LAYER:
            losses["along"].append(along.told(cells, words, questions.ids))
        x, looks = run_layer(layer, x, page, rotary, over_all)
        if along is not None and number in LABEL_LAYERS:
            losses["along"].append(along.looked(looks[:, 1]))
        for layers, head, cell in ((POINTER_LAYERS, 0, questions.pointer), (LABEL_LAYERS, 1, questions.label)):
            if number in layers:
                losses["pointer"].append(looked_at(looks[:, head], cell))
        if number == POINTER_LAYERS[-1]:
            there = (questions.pointer >= 0) & (questions.targets >= 0)
            pointed = ((looks[:, 0].argmax(-1) == questions.pointer + 1) & there).sum() / there.sum().clamp(min=1)
    logits = F.linear(rms_norm(x[:, page:], text.norm), embedding).float()
    targets = questions.targets
    wanted = targets >= 0
    right = logits.argmax(-1) == targets
    exact, counted = _by_question(right, wanted, questions.number)
    return AnswerFigures(
        answer=F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE),
        pointer=torch.stack(losses["pointer"]).sum(),
        along=torch.stack(losses["along"]).sum(),
        slot=torch.stack(losses["slot"]).sum(),
        tags=torch.stack(losses["tags"]).sum(),
        asked=torch.stack(losses["asked"]).sum(),
        exact=exact,
        counted=counted,
        tokens=(right & wanted).sum() / wanted.sum(),
        pointed=pointed,
    )


def run_layer(layer: Any, x: Tensor, page: int, rotary: Rotary, over_all: Tensor) -> tuple[Tensor, Tensor]:
    """One layer over pages and their questions.

    Args:
        layer: of the stock model.
        x: ``[B, page + T, WIDTH]``.
        page: tokens of a page.
        rotary: as of :func:`text_rotary`.
        over_all: ``[B, 1, T, page + T]`` added to the scores of the questions.

    Returns:
        The layer's output, and the scores of the questions' first two heads, ``[B, 2, T, page + T]``.
    """
    y = rms_norm(x, layer.input_layernorm)
    attention = layer.self_attn
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    query, key, value = (linear(y, proj).view(x.shape[0], -1, HEADS, _HEAD).transpose(1, 2) for proj in projections)
    query, key = rotate(query, rotary) * _HEAD**-0.5, rotate(key, rotary)
    among = (query[:, :, :page], key[:, :, :page], value[:, :, :page])
    seen = F.scaled_dot_product_attention(*among, scale=1.0, is_causal=True)
    scores = query[:, :, page:] @ key.mT + over_all
    asked = torch.softmax(scores, -1) @ value
    x = x + linear(torch.cat((seen, asked), 2).transpose(1, 2).flatten(2), attention.o_proj)
    return x + swiglu(rms_norm(x, layer.post_attention_layernorm), layer.mlp), scores[:, :2]


def _mask(number: Tensor, page: int, seen: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of the questions over the page and each other, ``[B, 1, T, page + T]``."""
    batch, length = number.shape
    over_page = number.new_zeros((batch, page), dtype=dtype)
    if seen is not None:
        over_page[:, 1:] = torch.where(seen, 0.0, -1e9).to(dtype)
    earlier = torch.ones(length, length, dtype=torch.bool, device=number.device).tril()
    own = (number[:, :, None] == number[:, None]) & earlier
    near = torch.where(own, 0.0, -1e9).to(dtype)
    return torch.cat((over_page[:, None].expand(-1, length, -1), near), -1)[:, None]


def _by_question(right: Tensor, wanted: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """For each question of each page, whether all wanted tokens are right, and whether there are any: ``[B, T]``."""
    home = number.clamp(min=0)
    zeros = torch.zeros_like(number)
    tokens = zeros.scatter_add(1, home, wanted.long())
    wrong = zeros.scatter_add(1, home, (wanted & ~right).long())
    return (wrong == 0) & (tokens > 0), tokens > 0
