"""GlimpsePrune+: GRPO's loss as trl has it, and answers that are trained on the cache they were sampled on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.training.forward import run_prefix, token_scores
from glimpseprune.training.grpo.batch import plus_loss, see_prompts
from glimpseprune.training.grpo.export import save_tuned
from glimpseprune.training.grpo.lora import Lora
from glimpseprune.training.grpo.loss import group_advantages, grpo_loss
from glimpseprune.training.grpo.policy import answer_logprobs
from glimpseprune.training.grpo.sampling import SeenPrompt, sample_groups
from tests.support.families import FAMILIES
from tests.support.tiny_family import TinyFamily
from tests.support.tiny_model import make_tiny_addon

SIZE, LONGEST = 5, 12
ENDS = frozenset(range(60))  # of 263 tokens, so that answers have many lengths


class Tuned:
    """A tiny model with an add-on and with LoRA weights that have learned something."""

    def __init__(self, family: TinyFamily, folder: Path) -> None:
        self.base = family.make_checkpoint(folder / "base")
        fields: dict[str, Any] = {**family.addon, "max_remain_ratio": 0.4}
        addon = make_tiny_addon(folder / "glimpse", **fields)
        self.model = gp.load(self.base, glimpse=addon, device="cpu", dtype="float32")
        self.family = family
        torch.manual_seed(3)
        self.lora = Lora(self.model.backbone)
        for name, weight in self.lora.weights.items():
            if "lora_B" in name:
                weight.data.normal_(std=0.1)

    def asked(self) -> list[SeenPrompt]:
        """Two questions about pages of different sizes, and one of which some tokens are not visible."""
        prompts = [self.model.backbone.prompts(one)[0] for one in self.family.items[:3]]
        count = prompts[2].image_slots[0].numel()
        visible = torch.rand(count, generator=torch.Generator().manual_seed(1)) < 0.7
        return see_prompts(self.model, [(prompts[0], None), (prompts[1], None), (prompts[2], visible)])

    def groups(self) -> Any:
        assert self.model.method is not None
        generator = torch.Generator().manual_seed(5)
        backbone, method = self.model.backbone, self.model.method
        return sample_groups(backbone, method, self.asked(), SIZE, LONGEST, ENDS, generator)

    def logprobs(self, group: Any) -> Tensor:
        assert self.model.method is not None
        prompt, images = group.asked.prompt, group.asked.images
        prefix = run_prefix(self.model.backbone, prompt, images, self.model.method.prune_layer)
        return answer_logprobs(self.model.backbone, prefix, group.keep, group.tokens)


@pytest.fixture(params=FAMILIES)
def tuned(request: pytest.FixtureRequest, tmp_path: Path) -> Tuned:
    return Tuned(FAMILIES[request.param], tmp_path)


@pytest.fixture
def one_tuned(tmp_path: Path) -> Tuned:
    return Tuned(FAMILIES["qwen2_5_vl"], tmp_path)


class TestLoss:
    def test_is_the_formula_of_trl(self) -> None:
        """The loss type ``grpo`` of its GRPOTrainer, with rewards scaled by group, one number after the other."""
        generator = torch.Generator().manual_seed(0)
        now = (-3 * torch.rand(3, 4, generator=generator)).requires_grad_(True)
        then, reference = (now.detach() + 0.4 * torch.randn(3, 4, generator=generator) for _ in range(2))
        written = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
        rewards, beta, epsilon = [1.0, 0.25, 0.0], 0.3, 0.2

        mean = sum(rewards) / 3
        spread = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / 2)
        answers, clipped = [], 0
        for g in range(3):
            advantage = (rewards[g] - mean) / (spread + 1e-4)
            tokens = []
            for t in range(4):
                if not written[g, t]:
                    continue
                coef_1 = math.exp(now[g, t].item() - then[g, t].item())
                coef_2 = min(max(coef_1, 1 - epsilon), 1 + epsilon)
                clipped += coef_1 != coef_2
                token = -min(coef_1 * advantage, coef_2 * advantage)
                away = reference[g, t].item() - now[g, t].item()
                tokens.append(token + beta * (math.exp(away) - away - 1))
            answers.append(sum(tokens) / len(tokens))
        assert 0 < clipped < int(written.sum())

        advantages = group_advantages(torch.tensor(rewards))
        loss, figures = grpo_loss(now, then, reference, written, advantages, beta)
        assert loss.item() == pytest.approx(sum(answers) / 3, rel=1e-5)
        assert figures["clipped"] == pytest.approx(clipped / int(written.sum()))

    def test_its_gradient_is_that_of_the_policy_where_nothing_has_changed(self) -> None:
        now = torch.tensor([[-1.0, -2.0], [-0.5, -9.0]], requires_grad=True)
        written = torch.tensor([[True, True], [True, False]])
        advantages = group_advantages(torch.tensor([1.0, 0.0]))
        loss, _ = grpo_loss(now, now.detach(), now.detach(), written, advantages, 1.0)
        loss.backward()  # type: ignore[no-untyped-call]
        a = float(advantages[0])
        torch.testing.assert_close(now.grad, torch.tensor([[-a / 4, -a / 4], [a / 2, 0.0]]))

    def test_equal_rewards_teach_nothing(self) -> None:
        assert group_advantages(torch.tensor([0.7, 0.7, 0.7])).tolist() == [0.0, 0.0, 0.0]


def test_answers_have_the_probabilities_in_training_that_they_were_sampled_with(tuned: Tuned) -> None:
    for group in tuned.groups():
        assert 0 < int(group.keep.sum()) < group.keep.numel()
        assert group.pruning_rate == 1 - int(group.keep.sum()) / group.asked.visual_tokens
        lengths = group.written.sum(dim=1).tolist()
        assert len(set(lengths)) > 1
        for row, length in zip(group.tokens.tolist(), lengths, strict=True):
            assert [token in ENDS for token in row[: length - 1]] == [False] * (length - 1)
            assert row[length - 1] in ENDS or length == LONGEST
        torch.testing.assert_close(tuned.logprobs(group), group.logprobs, rtol=0, atol=2e-5)


def test_other_survivors_give_other_probabilities(one_tuned: Tuned) -> None:
    group = one_tuned.groups()[0]
    other = torch.ones_like(group.keep)
    assert one_tuned.model.method is not None
    prefix = run_prefix(one_tuned.model.backbone, group.asked.prompt, group.asked.images, 2)
    found = answer_logprobs(one_tuned.model.backbone, prefix, other, group.tokens)
    assert float((found - group.logprobs).abs().max()) > 0.01


def test_samples_have_the_frequencies_of_the_model(one_tuned: Tuned) -> None:
    model = one_tuned.model
    assert model.method is not None
    asked, generator = one_tuned.asked()[:1], torch.Generator().manual_seed(0)
    (group,) = sample_groups(model.backbone, model.method, asked, 4000, 1, ENDS, generator)
    seen, counts = group.tokens[:, 0].unique(return_counts=True)
    by_token = dict(zip(group.tokens[:, 0].tolist(), group.logprobs[:, 0].exp().tolist(), strict=True))
    expected = torch.tensor([by_token[token] for token in seen.tolist()])
    assert float((counts / 4000 - expected).abs().max()) < 0.03


class TestLora:
    def test_off_is_the_frozen_model_and_merged_is_the_tuned_one(self, tuned: Tuned, tmp_path: Path) -> None:
        frozen = gp.load(tuned.base, device="cpu", dtype="float32")
        before = set(frozen.base.state_dict())
        inputs = tuned.family.items[0]

        def first(model: gp.GlimpseModel) -> Tensor:
            return gp.generate(model, inputs, max_new_tokens=1).first_logits

        learned = first(tuned.model)
        with tuned.lora.off():
            torch.testing.assert_close(first(tuned.model), first(frozen), rtol=0, atol=0)
        torch.testing.assert_close(first(tuned.model), learned, rtol=0, atol=0)
        assert float((learned - first(frozen)).abs().max()) > 0.1

        tuned.lora.merge()
        torch.testing.assert_close(first(tuned.model), learned, rtol=0, atol=2e-4)
        assert set(tuned.model.base.state_dict()) == before
        save_tuned(tuned.model, tuned.base, tmp_path / "tuned")
        torch.testing.assert_close(
            first(gp.load(tmp_path / "tuned", device="cpu", dtype="float32")), first(tuned.model), rtol=0, atol=0
        )
        base: Any = tuned.model.base
        with torch.no_grad():
            stock = base(**tuned.family.stock_inputs(base, inputs)).logits[:, -1]
        torch.testing.assert_close(stock, learned, rtol=0, atol=2e-4)

    def test_all_of_its_weights_learn_and_no_others(self, one_tuned: Tuned) -> None:
        model = one_tuned.model
        assert model.method is not None
        generator = torch.Generator().manual_seed(0)
        loss, figures = plus_loss(
            model, model.method, one_tuned.lora, one_tuned.asked(), _first_token_even, 4, 6, 0.1, 0.1, generator
        )
        loss.backward()  # type: ignore[no-untyped-call]
        weights = dict(one_tuned.lora.named_parameters())
        assert [name for name, p in weights.items() if p.grad is None or not p.grad.abs().sum()] == []
        assert [name for name, p in model.base.named_parameters() if p.grad is not None and "lora" not in name] == []
        assert figures["reward"] == pytest.approx(figures["quality"] + 0.1 * (1 - figures["retention"]))
        assert figures["kl"] > 0


def _first_token_even(answers: Any) -> list[list[float]]:
    return [[float(int(tokens[0]) % 2 == 0) for tokens in group] for group in answers]


def test_what_is_rewarded_is_said_more_often(one_tuned: Tuned) -> None:
    model, lora = one_tuned.model, one_tuned.lora
    assert model.method is not None
    optimizer = torch.optim.AdamW(lora.parameters(), lr=1e-3)
    asked, qualities = one_tuned.asked(), []
    for step in range(12):
        generator = torch.Generator().manual_seed(step)
        loss, figures = plus_loss(model, model.method, lora, asked, _first_token_even, 32, 2, 0.0, 0.0, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        qualities.append(figures["quality"])
    assert sum(qualities[-3:]) / 3 > sum(qualities[:3]) / 3 + 0.15


def test_the_pruning_rate_is_raised_by_its_weight_alone(one_tuned: Tuned) -> None:
    model, lora = one_tuned.model, one_tuned.lora
    assert model.method is not None
    asked = one_tuned.asked()
    method = model.method

    def expected() -> float:
        scores = []
        with torch.no_grad():
            for one in asked:
                prefix = run_prefix(model.backbone, one.prompt, one.images, method.prune_layer)
                scores.append(float(token_scores(model.backbone, method, prefix).sigmoid().mean()))
        return sum(scores) / len(scores)

    optimizer, before = torch.optim.AdamW(lora.parameters(), lr=1e-3), expected()
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        same = lambda answers: [[1.0] * len(group) for group in answers]  # noqa: E731
        plus_loss(model, method, lora, asked, same, 2, 2, 0.0, 1.0, generator)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    assert expected() < before - 0.01


def test_a_prompt_without_an_image_is_refused(one_tuned: Tuned) -> None:
    prompt = one_tuned.model.backbone.prompts({"input_ids": torch.tensor([[1, 2, 3]])})[0]
    with pytest.raises(gp.InputError, match="expected one image per prompt, found 0"):
        see_prompts(one_tuned.model, [(prompt, None)])
