"""Training tells where the words of a question stand on the page, and what stands before them."""

from __future__ import annotations

import pytest
import torch

from glimpseprune.training.trainer import train
from pipeline.nano.training import vocabulary
from pipeline.nano.training.entropy import mean_entropy
from pipeline.nano.training.hidden_last import hidden_last
from pipeline.nano.training.language import text_rotary
from pipeline.nano.training.pages import page_batch, printed_tokens
from pipeline.nano.training.reading_along import Along, AlongHeads, left_of, own_cells
from pipeline.nano.training.recipe import SOURCES, Phase
from pipeline.nano.training.shape import WIDTH
from pipeline.nano.training.targets import CLASSES, IGNORE, SLOTS
from pipeline.nano.training.task import NanoTask
from pipeline.nano.training.tower import raster_order

SMALL = SOURCES["small"]


@pytest.mark.parametrize(
    ("text", "label", "spelled", "found"),
    [
        ("What is the Lieferdatum?", "Lieferdatum", False, "Lieferdatum"),
        ("What is the Order no.?", "Order no.", True, "Order no."),
        ("What is the Order no.?", "Order no.", False, ""),  # "Order" is one token
        ("What is the lieferdatum?", "Lieferdatum", True, ""),
        ("Gewicht", "Gewicht", False, "Gewicht"),
        ("What is the hat?", "hat", True, "hat"),
    ],
)
def test_the_tokens_of_a_label_are_found_where_it_is_spelled(text: str, label: str, spelled: bool, found: str) -> None:
    ids = vocabulary.question_ids(text, spelled)
    printed = printed_tokens(text, label, spelled)
    assert [ids[token] for token in printed] == vocabulary.text_ids(found)
    assert not found or printed.stop >= len(ids) - 1  # nothing but a question mark behind it


def test_what_stands_to_the_left_is_told_beside_print_alone() -> None:
    cell = torch.zeros(1, 2, 3, SLOTS, dtype=torch.long)
    cell[0, 0, 0, :2] = torch.tensor([5, 6])
    cell[0, 1, 1, 0] = 7
    cell[0, 1, 2] = IGNORE
    left = left_of(cell)
    assert left.shape == (1, 6, SLOTS)
    assert left[0, 1].tolist() == [5, 6, *[0] * (SLOTS - 2)]
    assert left[0, 5].tolist() == [7, *[0] * (SLOTS - 1)]
    assert (left[0, [0, 2, 3, 4]] == IGNORE).all()


def test_a_character_stands_where_the_token_before_it_points() -> None:
    batch = page_batch(7, 4, SMALL.family, SMALL.asking)
    asked = batch.questions
    own, cells = own_cells(asked.pointer, asked.number), batch.cell[:, raster_order(16, 16)]
    found = 0
    for page, token in (own >= 0).nonzero().tolist():
        inside = [int(c) for c in cells[page, int(own[page, token])] if c > 0]
        slot = int(asked.slot[page, token - 1])
        if slot >= 0 and int(cells[page, int(own[page, token]), slot]) > 0:
            found += 1
            assert inside
            assert int(asked.number[page, token]) == int(asked.number[page, token - 1])
    assert found > 60
    assert (own[:, 0] == IGNORE).all()


def test_cells_keep_what_they_hold_when_those_that_are_hidden_go_last() -> None:
    batch = page_batch(9, 3, SMALL.family, SMALL.asking, paper=False)
    assert batch.seen is not None
    asked, cells = batch.questions, batch.cell[:, raster_order(16, 16)]
    image = torch.arange(3 * 256.0).view(3, 256, 1).expand(-1, -1, WIDTH)
    turns = text_rotary(torch.rand(16), 16, 16, asked.offset, 0)
    moved, kinds, there, (cos, _), seen = hidden_last(image, cells, asked, turns, batch.seen)
    for page in range(3):
        shown = batch.seen[page].nonzero()[:, 0]
        assert torch.equal(moved[page, : len(shown), 0], image[page, shown, 0])
        assert torch.equal(kinds[page, : len(shown)], cells[page, shown])
        assert torch.equal(there.tags[page, : len(shown)], asked.tags[page, shown])
        assert torch.equal(cos[page, 0, 1 : 1 + len(shown)], turns[0][page, 0, 1 + shown])
        assert seen[page].tolist() == [place < len(shown) for place in range(seen.shape[1])]
        assert (there.tags[page, len(shown) :] == IGNORE).all()
        pointed = asked.pointer[page] >= 0
        assert pointed.any()
        assert torch.equal(shown[there.pointer[page, pointed]], asked.pointer[page, pointed])
        assert torch.equal(there.pointer[page, ~pointed], asked.pointer[page, ~pointed])
    assert torch.equal(cos[:, :, 1 + seen.shape[1] :], turns[0][:, :, 257:])


def test_who_knows_what_stands_before_has_no_loss() -> None:
    heads = AlongHeads()
    ids = torch.tensor([[10, 11, 12, 13, 14]])
    own = torch.tensor([[IGNORE, IGNORE, IGNORE, 1, IGNORE]])
    left = torch.full((1, 2, SLOTS), IGNORE)
    left[0, 1] = 3
    along = Along(heads, left, own)
    blank = along.told(torch.zeros(1, 2, WIDTH), torch.zeros(1, 5, WIDTH), ids)
    expected = 0.6 * torch.log(torch.tensor(float(CLASSES))) + 3 * 0.3 * torch.log(torch.tensor(float(vocabulary.SIZE)))
    torch.testing.assert_close(blank, expected)
    with torch.no_grad():
        heads.left.bias.view(SLOTS, CLASSES)[:, 3] = 99
        for head, before in zip(heads.back, (12, 11, 10), strict=True):
            head.bias[before] = 99
    assert float(along.told(torch.zeros(1, 2, WIDTH), torch.zeros(1, 5, WIDTH), ids).detach()) < 1e-6
    scores = torch.zeros(1, 5, 8)
    scores[0, 3, 2] = 99  # the first key is the image's start
    assert float(along.looked(scores)) < 1e-6
    assert float(mean_entropy(torch.zeros(1, 4), torch.tensor([IGNORE]))) == 0


def test_a_tower_that_rests_stays_as_it_is_while_the_rest_learns() -> None:
    few = Phase(2, {"small": 1.0}, tower=False)
    task = NanoTask(3, torch.device("cpu"), (few,))
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    train(task, 0, lambda step, figures: False)
    changed = {name for name, value in task.module.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if ".visual." in name}
    assert "model.model.language_model.layers.0.self_attn.q_proj.weight" in changed
    assert "along.left.weight" in changed
