"""Stage 1: the losses on tensors made by hand, and a forward that is the one inference runs."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.training import losses
from glimpseprune.training.forward import answer_logits, run_prefix, token_scores
from glimpseprune.training.gate import gated_causal_bias, log_gate, uniform_noise
from glimpseprune.training.stage1 import LossWeights, TrainingExample, batch_loss
from tests.support.batches import item
from tests.support.pages import ask_page
from tests.support.tiny_model import make_glimpse, make_tiny_addon, make_tiny_checkpoint, tiny_addon_config

ALL = LossWeights(kl=1.0, language=1.0, localisation=1.0, retention=0.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> gp.GlimpseModel:
    folder: Path = tmp_path_factory.mktemp("stage1")
    return gp.load(make_tiny_checkpoint(folder / "base"), glimpse=make_tiny_addon(folder / "glimpse"), device="cpu")


@pytest.fixture
def glimpse() -> Glimpse:
    return make_glimpse(tiny_addon_config()).requires_grad_(True)


def _examples(model: gp.GlimpseModel, count: int = 2) -> list[TrainingExample]:
    examples = []
    for seed in range(count):
        prompt = model.backbone.prompts(item([(4, 6)], 5, seed))[0]
        evidence = torch.zeros(24, dtype=torch.bool)
        evidence[seed : seed + 4] = True
        examples.append(TrainingExample(prompt, torch.tensor([40 + seed, 50, 60, 258]), evidence))
    return examples


class TestLosses:
    def test_kl_of_two_known_distributions(self) -> None:
        teacher = torch.tensor([[0.5, 0.5]]).log()
        student = torch.tensor([[0.25, 0.75]]).log()
        expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
        assert losses.kl_divergence(teacher, student).item() == pytest.approx(expected, abs=1e-6)

    def test_kl_is_a_mean_over_positions_and_zero_for_equals(self) -> None:
        logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
        assert losses.kl_divergence(logits, logits + 3.0).item() == pytest.approx(0.0, abs=1e-6)
        other = logits.flip(-1)
        one_by_one = [losses.kl_divergence(logits[i : i + 1], other[i : i + 1]).item() for i in range(5)]
        assert losses.kl_divergence(logits, other).item() == pytest.approx(sum(one_by_one) / 5, rel=1e-5)

    def test_language_is_the_mean_surprise(self) -> None:
        logits = torch.tensor([[0.25, 0.75], [0.9, 0.1]]).log()
        expected = -(math.log(0.75) + math.log(0.9)) / 2
        assert losses.language(logits, torch.tensor([1, 0])).item() == pytest.approx(expected, rel=1e-5)

    def test_dice_of_half_an_overlap(self) -> None:
        scores = torch.tensor([50.0, 50.0, -50.0, -50.0])
        assert losses.dice(scores, torch.tensor([True, False, True, False])).item() == pytest.approx(0.5, abs=1e-5)
        assert losses.dice(scores, torch.tensor([True, True, False, False])).item() == pytest.approx(0.0, abs=1e-5)

    def test_localisation_weighs_dice_ten_to_one(self) -> None:
        scores, evidence = torch.zeros(4), torch.tensor([True, False, False, False])
        dice = 1.0 - 2 * 0.5 / (2.0 + 1.0)
        assert losses.localisation(scores, evidence).item() == pytest.approx(dice + 0.1 * math.log(2.0), rel=1e-5)

    def test_expected_retention(self) -> None:
        assert losses.expected_retention(torch.tensor([0.0, 50.0, -50.0, 0.0])).item() == pytest.approx(0.5)


class TestGate:
    def test_middle_noise_keeps_the_sign_of_the_score(self) -> None:
        gate = log_gate(torch.tensor([-3.0, 0.0, 3.0]), torch.full((3,), 0.5)).exp()
        assert gate.tolist() == pytest.approx([1 / (1 + math.exp(6)), 0.5, 1 / (1 + math.exp(-6))], rel=1e-5)

    def test_a_gate_is_above_one_half_as_often_as_the_score_says(self) -> None:
        scores = torch.full((20000,), 1.0)
        noise = uniform_noise(20000, torch.Generator().manual_seed(0))
        share = (log_gate(scores, noise).exp() > 0.5).float().mean().item()
        assert share == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item(), abs=0.01)

    def test_bias_gates_columns_and_hides_what_comes_later(self) -> None:
        bias = gated_causal_bias(2, 4, torch.tensor([1]), torch.tensor([-0.5]), torch.zeros(()))
        inf = float("inf")
        assert torch.equal(bias, torch.tensor([[[[0.0, -0.5, 0.0, -inf], [0.0, -0.5, 0.0, 0.0]]]]))


class TestForward:
    @pytest.mark.parametrize("reduce_layer", [0, 2, 3])
    def test_scores_are_those_of_inference(self, tmp_path: Path, reduce_layer: int) -> None:
        model = gp.load(
            make_tiny_checkpoint(tmp_path / "base"),
            glimpse=make_tiny_addon(tmp_path / "g", reduce_layer=reduce_layer, selected_layers=(0,), le_length=2),
            device="cpu",
        )
        assert model.method is not None
        inputs = item([(4, 6), (2, 2)], 5, 0)
        prompt = model.backbone.prompts(inputs)[0]
        images = [model.backbone.encode(p, g, (3, 2, 1, 0)) for p, g in zip(prompt.pixels, prompt.grids, strict=True)]
        prefix = run_prefix(model.backbone, prompt, images, reduce_layer)
        out = gp.generate(model, inputs, rule=gp.KeepRule(), max_new_tokens=1)
        assert out.scores[0] is not None
        torch.testing.assert_close(token_scores(model.backbone, model.method, prefix), out.scores[0])

    @pytest.mark.parametrize("rule", [None, gp.KeepRule(threshold=0.5), gp.KeepRule(max_ratio=0.1)])
    @pytest.mark.parametrize("reduce_layer", [0, 2, 3])
    def test_closed_gates_are_pruning(self, tmp_path: Path, rule: gp.KeepRule | None, reduce_layer: int) -> None:
        model = gp.load(
            make_tiny_checkpoint(tmp_path / "base"),
            glimpse=make_tiny_addon(tmp_path / "g", reduce_layer=reduce_layer, selected_layers=(0,)),
            device="cpu",
        )
        inputs = item([(4, 6)], 5, 3)
        out = gp.generate(model, inputs, rule=rule, max_new_tokens=6)
        prompt = model.backbone.prompts(inputs)[0]
        prefix = run_prefix(
            model.backbone, prompt, [model.backbone.encode(prompt.pixels[0], prompt.grids[0], ())], reduce_layer
        )
        gate = None if rule is None else torch.where(out.keep[0], 0.0, -1e4)
        logits = answer_logits(model.backbone, prefix, out.sequences[0], reduce_layer, gate)
        torch.testing.assert_close(logits[0], out.first_logits[0], rtol=1e-4, atol=1e-4)
        assert logits.argmax(-1).tolist() == out.sequences[0].tolist()


class TestGradients:
    def test_reach_every_parameter_of_the_addon_and_nothing_else(
        self, model: gp.GlimpseModel, glimpse: Glimpse
    ) -> None:
        loss, _ = batch_loss(model.backbone, glimpse, _examples(model), ALL, torch.Generator().manual_seed(0))
        loss.backward()  # type: ignore[no-untyped-call]
        silent = [name for name, p in glimpse.named_parameters() if p.grad is None or not p.grad.abs().sum()]
        assert silent == []
        assert [name for name, p in model.base.named_parameters() if p.grad is not None] == []

    @pytest.mark.parametrize(
        "weights", [LossWeights(1, 0, 0), LossWeights(0, 1, 0), LossWeights(0, 0, 1)], ids=["kl", "language", "boxes"]
    )
    def test_each_loss_alone_trains_the_token_and_the_predictor(
        self, model: gp.GlimpseModel, glimpse: Glimpse, weights: LossWeights
    ) -> None:
        batch_loss(model.backbone, glimpse, _examples(model), weights, torch.Generator().manual_seed(0))[0].backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None and bool(p.grad.abs().sum()) for p in glimpse.parameters())

    def test_ten_steps_lower_the_loss(self, model: gp.GlimpseModel, glimpse: Glimpse) -> None:
        examples = _examples(model)
        optimizer = torch.optim.AdamW(glimpse.parameters(), lr=3e-3)

        def loss() -> Tensor:
            return batch_loss(model.backbone, glimpse, examples, ALL, torch.Generator().manual_seed(0))[0]

        before = loss().item()
        for _ in range(10):
            optimizer.zero_grad()
            loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        assert loss().item() < 0.9 * before

    def test_figures_count_what_the_threshold_keeps(self, model: gp.GlimpseModel, glimpse: Glimpse) -> None:
        example = _examples(model, 1)[0]
        prefix = run_prefix(
            model.backbone,
            example.prompt,
            [model.backbone.encode(example.prompt.pixels[0], example.prompt.grids[0], (3, 2, 1, 0))],
            2,
        )
        kept = token_scores(model.backbone, glimpse, prefix) > 0
        _, figures = batch_loss(model.backbone, glimpse, [example], ALL, torch.Generator().manual_seed(0))
        assert example.evidence is not None
        assert figures["retention"] == pytest.approx(kept.float().mean().item())
        assert figures["coverage"] == pytest.approx(kept[example.evidence].float().mean().item())

    def test_are_right_where_the_predictor_is_sure_of_itself(self, glimpse: Glimpse) -> None:
        generator = torch.Generator().manual_seed(0)
        features = [torch.randn(600, 32, generator=generator) for _ in glimpse.config.selected_visual_layers]
        attention = torch.randn(600, glimpse.attn_fuser.attn_in_proj.in_features, generator=generator)
        with torch.no_grad():
            for layer in glimpse.attn_fuser.layers:
                layer.attn.q_proj.weight *= 1e8  # type: ignore[union-attr, operator]

        def grads(dtype: torch.dtype) -> list[Tensor]:
            vip = copy.deepcopy(glimpse.attn_fuser).to(dtype)
            image = vip.precompute([feature.to(dtype) for feature in features], (20, 30))
            scores = vip.score(attention.to(dtype)[None], image)[0]
            scores.square().sum().backward()
            return [p.grad for p in vip.parameters() if p.grad is not None]

        for single, double in zip(grads(torch.float32), grads(torch.float64), strict=True):
            torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-3 * float(double.abs().max()))

    def test_examples_of_one_page_share_its_beginning_and_lose_as_alone(
        self, model: gp.GlimpseModel, glimpse: Glimpse
    ) -> None:
        image = item([(4, 6)], 0, 0)
        ids = [torch.cat([image["input_ids"][0], torch.tensor(tail)]) for tail in ([11, 5, 6], [11, 7], [11, 5, 9, 9])]
        grid = (int(image["image_grid_thw"][0, 1]), int(image["image_grid_thw"][0, 2]))
        prompts = model.backbone.page_prompts(ids, [image["pixel_values"]], [grid])
        examples = [TrainingExample(prompt, torch.tensor([40, 258]), None) for prompt in prompts]
        weights = LossWeights(kl=1.0, language=1.0, retention=1.0)

        def grads(*batches: list[TrainingExample]) -> list[Tensor]:
            glimpse.zero_grad()
            noise = torch.Generator().manual_seed(0)
            losses = [batch_loss(model.backbone, glimpse, batch, weights, noise)[0] for batch in batches]
            torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
            return [p.grad.clone() for p in glimpse.parameters() if p.grad is not None]

        together, alone = grads(examples), grads(*([example] for example in examples))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)

    def test_an_example_without_boxes_has_no_localisation(self, model: gp.GlimpseModel, glimpse: Glimpse) -> None:
        example = _examples(model, 1)[0]
        blind = TrainingExample(example.prompt, example.answer, None)
        _, figures = batch_loss(model.backbone, glimpse, [blind], ALL, torch.Generator().manual_seed(0))
        assert sorted(figures) == ["kl", "language", "retention"]

    def test_an_example_without_an_image_is_refused(self, model: gp.GlimpseModel, glimpse: Glimpse) -> None:
        prompt = model.backbone.prompts({"input_ids": torch.tensor([[1, 2, 3]])})[0]
        with pytest.raises(gp.InputError, match="found an example with no image"):
            batch_loss(
                model.backbone, glimpse, [TrainingExample(prompt, torch.tensor([258]), None)], ALL, torch.Generator()
            )

    def test_what_is_not_visible_is_left_out_as_in_inference(self, model: gp.GlimpseModel) -> None:
        assert model.method is not None
        example = _examples(model, 1)[0]
        visible = torch.rand(24, generator=torch.Generator().manual_seed(1)) < 0.6
        prompt = example.prompt
        out = ask_page(model, [prompt.input_ids], prompt.pixels[0], prompt.grids[0], gp.KeepRule(), 1, visible)
        assert example.evidence is not None
        assert out.scores[0] is not None
        expected = losses.localisation(out.scores[0][visible], example.evidence[visible])
        weights = LossWeights(language=0.0, localisation=1.0)
        seen = replace(example, visible=visible)
        loss, _ = batch_loss(model.backbone, model.method, [seen, seen], weights, torch.Generator())
        torch.testing.assert_close(loss, expected)
        assert not torch.allclose(
            batch_loss(model.backbone, model.method, [example], weights, torch.Generator())[0], loss
        )
