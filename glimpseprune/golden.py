"""Checks that the installed torch and transformers compute the golden numbers of small models.

Releases of transformers have silently changed rotary indices, key names and attention. An installation that computes
other numbers must not answer questions. The weights come from a formula; each family brings its model and its numbers.
"""

from __future__ import annotations

import torch
import transformers
from torch import Tensor

from glimpseprune.errors import StackError
from glimpseprune.families.registry import Golden, find_family, find_golden, golden_families
from glimpseprune.families.tower_attention import choose_attention
from glimpseprune.generation import Output, generate
from glimpseprune.methods.glimpse.addon_config import AddonConfig, BaseShape
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.model import GlimpseModel
from glimpseprune.rule import KeepRule

_RULE = KeepRule(max_ratio=0.5, min_tokens=1)
_TOLERANCE = {torch.float32: 2e-3, torch.float16: 0.05, torch.bfloat16: 0.2}
# Scores come of fewer layers and differ less, so they tell a wrong rotary index apart in bfloat16 too.
_SCORE_TOLERANCE = {torch.float32: 2e-3, torch.float16: 0.01, torch.bfloat16: 0.03}


def check(
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    attn_implementation: str = "auto",
    model_type: str | None = None,
) -> None:
    """Run the small model of every family and compare its numbers. Sources of randomness stay as they are.

    Args:
        device: name of a torch device.
        dtype: type to compute in; 16 bits are held to fewer digits.
        attn_implementation: attention, as in :func:`glimpseprune.load`.
        model_type: name of the one family to check; ``None`` for all.

    Raises:
        StackError: some numbers differ; the message names them and the installed versions.
    """
    only = None if model_type is None else find_golden(model_type)
    known = golden_families() if model_type is None else {} if only is None else {model_type: only}
    with torch.random.fork_rng(devices=[]):  # the models are made in host memory
        wrong = [
            f"{what} of {name}"
            for name, golden in known.items()
            for what in differences(name, golden, device, dtype, attn_implementation)
        ]
    if wrong:
        raise StackError(
            f"expected the golden numbers, found others with torch {torch.__version__} and transformers "
            f"{transformers.__version__} on {device} in {str(dtype).removeprefix('torch.')}; different: "
            f"{', '.join(wrong)}. Install the versions in docpipe's constraints.txt"
        )


def differences(
    name: str, golden: Golden, device: str, dtype: torch.dtype = torch.float32, attn_implementation: str = "auto"
) -> list[str]:
    """Name the results in which the small model of family ``name`` differs from its golden numbers."""
    out, tolerance = run(name, golden, device, dtype, attn_implementation), _TOLERANCE[dtype]
    wrong = []
    scores = out.scores[0]
    if scores is None or not _close(scores, golden.scores, _SCORE_TOLERANCE[dtype]):
        wrong.append("importance scores")
    if not _close(out.first_logits[0], golden.logits, tolerance):
        wrong.append("logits of the first token")
    if out.sequences[0].tolist() != golden.tokens or not _close(out.logprobs[0], golden.logprobs, tolerance):
        wrong.append("generated tokens")
    return wrong


def run(
    name: str, golden: Golden, device: str, dtype: torch.dtype = torch.float32, attn_implementation: str = "auto"
) -> Output:
    """Prune and answer the fixed prompt with the fixed model of family ``name``."""
    base, family = golden.make_model(), find_family(name)
    glimpse = Glimpse(_addon(BaseShape.of(family.read_shape(base.config))))
    for module, gain in ((base, 3.0), (glimpse, 1.2)):
        _fill(module, gain)
        module.requires_grad_(False).eval().to(device, dtype)
    attention = choose_attention(attn_implementation, torch.device(device), dtype)
    model = GlimpseModel(base, family.backbone(base, attention), glimpse, frozenset(), 1.0)
    return generate(model, golden.make_inputs(_noise), rule=_RULE, max_new_tokens=len(golden.tokens))


def _close(found: Tensor, expected: list[float], tolerance: float) -> bool:
    want = torch.tensor(expected)
    return found.shape == want.shape and torch.allclose(found.float().cpu(), want, rtol=tolerance, atol=tolerance)


def _fill(module: torch.nn.Module, gain: float) -> None:
    """Fill the weights from a formula: equal on every platform, different for every weight."""
    for index, (_, parameter) in enumerate(sorted(module.named_parameters())):
        noise = _noise(parameter.numel(), index)
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        values = gain * noise * fan_in**-0.5 if parameter.ndim > 1 else 1.0 + 0.2 * noise
        parameter.data.copy_(values.view_as(parameter))


def _noise(count: int, seed: int) -> Tensor:
    """Compute ``[count]`` numbers in -1..1 that look random but follow from ``seed``."""
    wave = torch.sin(torch.arange(1, count + 1, dtype=torch.float64) * 12.9898 + seed * 78.233) * 43758.5453
    return 2.0 * (wave - wave.floor()) - 1.0


def _addon(base: BaseShape) -> AddonConfig:
    return AddonConfig(
        base=base,
        window=2,
        rms_norm_eps=1e-6,
        selected_layers=(1,),
        use_attention_logits=True,
        attn_fuse_size=8,
        visual_cond_size=8,
        attn_fuse_num_heads=2,
        attn_fuse_hidden_act="silu",
        attn_fuse_global=True,
        selected_visual_layers=(1, 0),
        deep_supervision=False,
        le_layers=(0, 1),
        le_length=1,
        le_norm_type="rmsnorm",
        reduce_layer=1,
        reduce_threshold=0.5,
        min_remain_num=1,
        max_remain_ratio=None,
    )
