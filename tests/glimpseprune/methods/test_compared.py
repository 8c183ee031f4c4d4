"""The methods GlimpsePrune is compared with: each selects what a slow version, written from its formula, selects."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from glimpseprune.methods.attention import MeanAttention
from glimpseprune.methods.cdpruner import CDPruner
from glimpseprune.methods.divprune import DivPrune
from glimpseprune.methods.grid import UniformGrid, bayer
from glimpseprune.methods.pyramiddrop import PyramidDrop
from glimpseprune.methods.visionzip import CONTEXTUAL, VisionZip
from glimpseprune.methods.vscan import GlobalAndLocalScan, OneDrop, VScan
from glimpseprune.received_attention import ReceivedAttention, received_attention
from glimpseprune.rule import KeepRule
from glimpseprune.selection import select

NONE = torch.empty(0, 6)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(
    received: Tensor, keys: Tensor, early: Tensor | None = None, grid: tuple[int, int] = (5, 6)
) -> ReceivedAttention:
    """What a tower tells of every token of a grid."""
    return ReceivedAttention(received, keys, received if early is None else early, grid, torch.arange(len(received)))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


class TestMeanAttention:
    def test_the_tokens_with_the_largest_mean_probability_stay(self) -> None:
        raw = drawn(1, 2, 12, 4) * 3  # [Q, N, H]
        scores = MeanAttention(3).score(raw.log_softmax(1), ())
        for question in range(2):
            means = [
                sum(math.exp(float(raw[question, n, h])) / sum(math.exp(float(v)) for v in raw[question, :, h])
                    for h in range(4)) / 4
                for n in range(12)
            ]  # fmt: skip
            assert scores[question].exp().tolist() == pytest.approx(means, rel=1e-5)
            keep = select(scores[question], KeepRule(threshold=0.0, max_ratio=5.5 / 12), (3, 4)).keep
            assert keep.nonzero()[:, 0].tolist() == sorted(sorted(range(12), key=lambda n: -means[n])[:5])

    def test_it_reads_the_prune_layer_and_appends_what_the_glimpse_appends(self) -> None:
        assert (MeanAttention(3).attention_layers, MeanAttention(3).appended) == ((3,), 0)
        assert MeanAttention(3).token_at(0) is None


class TestUniformGrid:
    def test_the_order_is_that_of_ordered_dithering(self) -> None:
        def matrix(size: int) -> Tensor:  # by its recursion
            if size == 1:
                return torch.zeros(1, 1)
            half = 4 * matrix(size // 2)
            return torch.cat([torch.cat([half, half + 2], 1), torch.cat([half + 3, half + 1], 1)])

        assert torch.equal(bayer((8, 8)) * 64, matrix(8))
        assert torch.equal(bayer((5, 7)) * 64, matrix(8)[:5, :7])

    def test_any_number_lies_evenly(self) -> None:
        grid = UniformGrid(0)
        scores = grid.score(torch.empty(1, 64, 0), grid.precompute([], (8, 8)))[0]
        four = select(scores, KeepRule(threshold=0.0, max_ratio=4.5 / 64), (8, 8)).keep.view(8, 8)
        assert four.nonzero().tolist() == [[0, 0], [0, 4], [4, 0], [4, 4]]
        sixteen = select(scores, KeepRule(threshold=0.0, max_ratio=16.5 / 64), (8, 8)).keep.view(8, 8)
        assert sixteen[::2, ::2].all()

    def test_cells_that_are_left_out_keep_the_places_of_the_others(self) -> None:
        whole = UniformGrid(0).precompute([], (4, 4))
        cells = torch.tensor([1, 2, 7, 15])
        assert torch.equal(UniformGrid(0).precompute([], (4, 4), cells), whole[cells])


class TestDivPrune:
    @pytest.mark.parametrize("count", [1, 2, 5, 14])
    def test_each_token_is_the_farthest_from_those_chosen(self, count: int) -> None:
        tokens = drawn(2, 14, 6)
        far = [[1 - cosine(tokens[a], tokens[b]) for b in range(14)] for a in range(14)]
        chosen = [max(range(14), key=lambda a: min(far[a][b] for b in range(14) if b != a))]
        while len(chosen) < count:
            left = [a for a in range(14) if a not in chosen]
            chosen.append(max(left, key=lambda a: min(far[a][b] for b in chosen)))
        reduced = DivPrune().reduce(tokens, None, NONE, count)
        assert reduced.places.tolist() == sorted(chosen)
        assert torch.equal(reduced.tokens, tokens[sorted(chosen)])

    def test_of_two_groups_one_token_each_stays(self) -> None:
        tokens = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.01, 1.0]])
        assert len({place // 2 for place in DivPrune().reduce(tokens, None, NONE, 2).places.tolist()}) == 2


class TestCDPruner:
    def kernel(self, tokens: Tensor, question: Tensor) -> Tensor:
        means = [sum(cosine(token, word) for word in question) / len(question) for token in tokens]
        weight = [(one - min(means) + 1e-6) / (max(means) - min(means)) for one in means]
        n = len(tokens)
        return torch.tensor(
            [[weight[a] * cosine(tokens[a], tokens[b]) * weight[b] for b in range(n)] for a in range(n)],
            dtype=torch.float64,
        )

    @pytest.mark.parametrize("count", [1, 3, 6])
    def test_each_token_makes_the_determinant_largest(self, count: int) -> None:
        tokens, question = drawn(3, 12, 8), drawn(4, 5, 8)
        kernel = self.kernel(tokens, question)
        chosen: list[int] = []
        for _ in range(count):
            left = [a for a in range(12) if a not in chosen]
            chosen.append(max(left, key=lambda a: float(torch.linalg.det(kernel[[*chosen, a]][:, [*chosen, a]]))))
        assert CDPruner().reduce(tokens, None, question, count).places.tolist() == sorted(chosen)

    def test_beyond_the_rank_of_the_kernel_the_most_relevant_stay(self) -> None:
        tokens, question = drawn(5, 10, 3), drawn(6, 2, 3)
        places = CDPruner().reduce(tokens, None, question, 7).places.tolist()
        assert len(set(places)) == 7
        first = CDPruner().reduce(tokens, None, question, 3).places.tolist()
        weight = self.kernel(tokens, question).diagonal().sqrt()
        left = sorted((a for a in range(10) if a not in first), key=lambda a: -float(weight[a]))
        assert places == sorted([*first, *left[:4]])

    def test_the_question_matters(self) -> None:
        tokens = drawn(7, 12, 8)
        one, other = (CDPruner().reduce(tokens, None, drawn(seed, 3, 8), 4).places.tolist() for seed in (8, 9))
        assert one != other


class TestVisionZip:
    @pytest.mark.parametrize("count", [1, 4, 13, 20, 29])
    def test_dominant_tokens_stay_and_the_rest_is_merged(self, count: int) -> None:
        tokens, keys, received = drawn(10, 30, 6), drawn(11, 30, 4), drawn(12, 30).abs()
        contextual = min(int(CONTEXTUAL * count), count - 1)
        dominant = sorted(range(30), key=lambda n: -float(received[n]))[: count - contextual]
        rest = [n for n in range(30) if n not in dominant]
        step = max(1, len(rest) // max(1, contextual))
        targets = rest[::step][:contextual]
        want = {n: tokens[n] for n in dominant}
        groups: dict[int, list[Tensor]] = {n: [] for n in targets}
        for n in rest:
            if n not in targets and targets:
                groups[max(targets, key=lambda t: cosine(keys[n], keys[t]))].append(tokens[n])
        for n, group in groups.items():
            want[n] = tokens[n] + sum(group) / len(group) if group else tokens[n]
        reduced = VisionZip().reduce(tokens, told(received, keys), NONE, count)
        assert reduced.places.tolist() == sorted(want)
        assert len(want) == count
        torch.testing.assert_close(reduced.tokens, torch.stack([want[n] for n in sorted(want)]))

    def test_the_tower_has_to_be_read(self) -> None:
        with pytest.raises(ValueError, match="vision tower"):
            VisionZip().reduce(drawn(1, 4, 6), None, NONE, 2)


class TestVScan:
    @pytest.mark.parametrize("count", [1, 4, 13, 40, 90])
    def test_half_stays_per_window_half_by_the_last_block_and_the_rest_is_merged(self, count: int) -> None:
        rows, columns = 9, 10  # two by two windows, the last ones larger
        n = rows * columns
        tokens, received, early = drawn(15, n, 6), drawn(16, n).abs(), drawn(17, n).abs()
        taken: dict[tuple[int, int], int] = {}
        kept: list[int] = []
        for token in sorted(range(n), key=lambda t: -float(early[t])):
            window = min(token // columns // 4, 1), min(token % columns // 4, 1)
            if len(kept) < count // 2 and taken.get(window, 0) < math.ceil((count // 2) / 4):
                taken[window] = taken.get(window, 0) + 1
                kept.append(token)
        assert len(kept) == count // 2
        kept += sorted((t for t in range(n) if t not in kept), key=lambda t: -float(received[t]))[: count - len(kept)]
        groups = {t: [tokens[t]] for t in kept}
        for t in range(n):
            if t not in groups:
                groups[max(sorted(kept), key=lambda k: cosine(tokens[t], tokens[k]))].append(tokens[t])
        reduced = GlobalAndLocalScan().reduce(tokens, told(received, tokens, early, (rows, columns)), NONE, count)
        assert reduced.places.tolist() == sorted(kept)
        torch.testing.assert_close(reduced.tokens, torch.stack([sum(groups[t]) / len(groups[t]) for t in sorted(kept)]))

    def test_the_language_model_gets_three_times_as_many_as_stay(self) -> None:
        method = VScan(GlobalAndLocalScan(), OneDrop(18))
        assert [method.first_count(1000, count) for count in (56, 111, 500)] == [168, 333, 1000]
        assert (method.staged.layers, method.staged.counts(168, 56)) == ((18,), [56])


def test_received_attention_is_summed_over_the_queries_of_each_sequence() -> None:
    query, key = drawn(13, 7, 2, 4), drawn(14, 7, 2, 4)
    want = [0.0] * 7
    for sequence in ((0, 1, 2, 3), (4, 5, 6)):
        for head, asks in itertools.product(range(2), sequence):
            weights = [math.exp(float(query[asks, head] @ key[n, head]) / 2) for n in sequence]
            for n, one in zip(sequence, weights, strict=True):
                want[n] += one / sum(weights) / 2
    found = received_attention(query, key, torch.tensor([0, 4, 7]))
    assert found.tolist() == pytest.approx(want, rel=1e-5)
    assert float(found.sum()) == pytest.approx(7)


class TestPyramidDrop:
    @pytest.mark.parametrize(
        ("layers", "at"), [(32, (8, 16, 24)), (28, (7, 14, 21)), (6, (2, 3, 5)), (4, (1, 2, 3)), (2, (1,))]
    )
    def test_stages_are_of_equal_depth(self, layers: int, at: tuple[int, ...]) -> None:
        assert PyramidDrop(layers).layers == at

    def test_the_published_shares_follow_from_the_last(self) -> None:
        assert PyramidDrop(32).counts(576, 72) == [288, 144, 72]
        assert PyramidDrop(32).counts(10, 10) == [10, 10, 10]
        assert PyramidDrop(4).counts(100, 1) == [21, 4, 1]
