from __future__ import annotations

import pytest
import torch

from glimpseprune.rule import KeepRule
from glimpseprune.selection import select

SCORES = torch.tensor([-3.0, 2.0, 0.5, -0.1, 4.0, 0.0, 1.0, -2.0, 3.0, -1.0])


@pytest.mark.parametrize(
    ("rule", "kept", "floor", "cap"),
    [
        (KeepRule(), [1, 2, 4, 6, 8], False, False),  # a score of exactly 0 is not above the threshold
        (KeepRule(max_ratio=0.5), [1, 2, 4, 6, 8], False, False),
        (KeepRule(max_ratio=0.29), [4, 8], False, True),
        (KeepRule(max_ratio=0.05), [4], True, True),  # int(0.05 * 10) is 0, so the floor decides
        (KeepRule(max_ratio=0.05, min_tokens=0), [], False, True),
        (KeepRule(threshold=0.99), [4], True, False),
        (KeepRule(threshold=0.99, min_tokens=3), [1, 4, 8], True, False),
        (KeepRule(threshold=0.99, min_tokens=0), [], False, False),
        (KeepRule(threshold=0.0), list(range(10)), False, False),
        (KeepRule(min_tokens=99), list(range(10)), True, False),
    ],
)
def test_select(rule: KeepRule, kept: list[int], floor: bool, cap: bool) -> None:
    selection = select(SCORES, rule, (1, 10))
    assert selection.keep.nonzero()[:, 0].tolist() == kept
    assert (selection.floor_hit, selection.cap_hit) == (floor, cap)


def test_neighbours_in_the_grid_stay_as_well() -> None:
    scores = torch.full((4, 5), -4.0)
    scores[0, 4] = scores[3, 0] = 2.0
    scores[2, 3] = -1.0
    grown = select(scores.flatten(), KeepRule(margin=1), (4, 5))
    assert grown.keep.view(4, 5).nonzero().tolist() == [[0, 3], [0, 4], [1, 3], [1, 4], [2, 0], [2, 1], [3, 0], [3, 1]]
    capped = select(scores.flatten(), KeepRule(margin=1, max_ratio=0.15), (4, 5))
    assert capped.cap_hit
    assert int(capped.keep.sum()) == 3
    nothing = select(scores.flatten() - 9, KeepRule(margin=2), (4, 5))
    assert nothing.floor_hit
    assert int(nothing.keep.sum()) == 1


def test_what_stands_to_the_right_stays_as_well_up_to_a_hidden_token_or_a_low_score() -> None:
    scores = torch.full((3, 6), -4.0)
    scores[0, 1] = scores[0, 5] = scores[2, 3] = 2.0
    keep = select(scores.flatten(), KeepRule(reach=3), (3, 6)).keep
    assert keep.view(3, 6).nonzero().tolist() == [[0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [2, 3], [2, 4], [2, 5]]
    both = select(scores.flatten(), KeepRule(reach=1, margin=1), (3, 6)).keep.view(3, 6)
    assert both.int().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]]
    cells = torch.tensor([1, 2, 4, 5, 6, 14, 15, 16])  # of 3 x 6: a gap behind 2, the edge behind 5
    some = select(scores.flatten()[cells], KeepRule(reach=4), (3, 6), cells).keep
    assert cells[some].tolist() == [1, 2, 5, 15, 16]
    scores[0, 3] = -6.0
    low = select(scores.flatten(), KeepRule(reach=3, reach_threshold=0.01), (3, 6)).keep
    assert low.view(3, 6).nonzero().tolist() == [[0, 1], [0, 2], [0, 5], [2, 3], [2, 4], [2, 5]]
    capped = select(scores.flatten(), KeepRule(reach=3, max_ratio=0.2), (3, 6))
    assert (capped.keep.nonzero()[:, 0].tolist(), capped.cap_hit) == ([1, 5, 15], True)


def test_neighbours_that_show_blank_paper_are_left_out() -> None:
    scores = torch.full((3, 6), -1.0)
    scores[1, 1] = 2.0
    inked = torch.tensor([[0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 1, 1], [1, 1, 1, 1, 0, 1]]).bool()
    rule = KeepRule(margin=1)
    keep = select(scores.flatten(), rule, (3, 6), inked=inked.flatten()).keep
    # What passes stays, with ink or without.
    assert keep.view(3, 6).int().tolist() == [[0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    reached = select(scores.flatten(), KeepRule(reach=2, margin=1), (3, 6), inked=inked.flatten()).keep
    assert reached.view(3, 6).int().tolist() == [[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]
    cells = torch.tensor([1, 6, 7, 8, 12, 14])  # of 3 x 6
    some = select(scores.flatten()[cells], rule, (3, 6), cells, inked.flatten()[cells]).keep
    assert cells[some].tolist() == [6, 7, 12, 14]


def test_anchors_stay_as_well_within_the_cap() -> None:
    scores = torch.full((4, 5), -4.0)
    scores[1, 1] = 2.0
    rule = KeepRule(anchor=3)
    keep = select(scores.flatten(), rule, (4, 5)).keep
    assert keep.view(4, 5).nonzero().tolist() == [[0, 0], [0, 3], [1, 1], [3, 0], [3, 3]]
    some = torch.tensor([0, 6, 18, 19])  # of 4 x 5
    assert some[select(scores.flatten()[some], rule, (4, 5), some).keep].tolist() == [0, 6, 18]
    capped = select(scores.flatten(), KeepRule(anchor=3, max_ratio=0.05), (4, 5))
    assert (capped.keep.nonzero().tolist(), capped.cap_hit) == ([[6]], True)
    nothing = select(scores.flatten() - 9, rule, (4, 5))
    assert nothing.floor_hit
    assert nothing.keep.view(4, 5)[::3, ::3].all()
    assert int(nothing.keep.sum()) == 5


def test_neighbours_are_those_of_the_page_where_tokens_were_left_out() -> None:
    cells = torch.tensor([0, 1, 2, 9, 14, 18])  # of 4 x 5
    scores = torch.tensor([-1.0, -1.0, -1.0, 3.0, -1.0, -1.0])
    keep = select(scores, KeepRule(margin=1), (4, 5), cells).keep
    assert cells[keep].tolist() == [9, 14]


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": 1.0},
        {"threshold": -0.1},
        {"max_ratio": 0.0},
        {"max_ratio": 1.5},
        {"min_tokens": -1},
        {"reach": -1},
        {"reach_threshold": 1.0},
        {"margin": -1},
        {"anchor": -1},
    ],
)
def test_a_rule_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        KeepRule(**values)  # type: ignore[arg-type]
