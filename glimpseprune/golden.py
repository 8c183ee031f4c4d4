"""A check of the installed stack: a small model with weights from a formula has to give known numbers.

Releases of transformers have changed rotary indices, key names and attention silently. The numbers below come from
a stack that agrees with the published GlimpsePrune code; a stack that gives others must not answer questions.
"""

from __future__ import annotations

import torch
import transformers
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from glimpseprune.errors import StackError
from glimpseprune.families.qwen2_5_vl import Qwen25VL
from glimpseprune.generation import Output, generate
from glimpseprune.methods.glimpse.addon_config import AddonConfig, BaseShape
from glimpseprune.methods.glimpse.module import Glimpse
from glimpseprune.model import GlimpseModel
from glimpseprune.rule import KeepRule

_IMAGE, _VIDEO, _START, _END = 28, 29, 30, 31
_GRID = (3, 5)  # visual tokens: not square, and not a multiple of the vision tower's window
_RULE = KeepRule(max_ratio=0.5, min_tokens=1)
_NEW_TOKENS = 6
_TOLERANCE = 2e-3

_SCORES = [
    6.8342,
    5.5866,
    5.6242,
    5.8185,
    5.7611,
    5.9336,
    5.9428,
    5.6251,
    5.2835,
    5.8042,
    6.5711,
    6.1417,
    6.6621,
    6.1752,
    6.1727,
]
_LOGITS = [
    1.1215,
    0.2622,
    -1.4624,
    -0.5983,
    -0.44,
    -0.198,
    0.8804,
    -0.3222,
    0.5308,
    1.9468,
    -0.4141,
    1.256,
    -0.2187,
    -2.0482,
    0.0688,
    2.0349,
    -4.8639,
    -2.6092,
    1.1445,
    2.779,
    3.842,
    -1.1302,
    -0.8451,
    0.6851,
    -1.6614,
    1.5647,
    0.0634,
    -2.6961,
    -0.0892,
    -1.0934,
    -2.2686,
    -0.3767,
]
_TOKENS = [20, 20, 20, 20, 20, 20]
_LOGPROBS = [-0.8503, -0.769, -1.1617, -0.5937, -0.5118, -1.2001]


def check(device: str = "cpu") -> None:
    """Run the small model in float32 and compare.

    Args:
        device: a torch device.

    Raises:
        StackError: naming what differs, by how much, and the versions at fault.
    """
    out = run(device)
    wrong = []
    scores = out.scores[0]
    if scores is None or not _close(scores, _SCORES):
        wrong.append("importance scores")
    if not _close(out.first_logits[0], _LOGITS):
        wrong.append("logits of the first token")
    if out.sequences[0].tolist() != _TOKENS or not _close(out.logprobs[0], _LOGPROBS):
        wrong.append("generated tokens")
    if wrong:
        raise StackError(
            f"torch {torch.__version__} and transformers {transformers.__version__} on {device} do not compute what "
            f"they have to; different: {', '.join(wrong)}. Install the versions of docpipe's constraints file"
        )


def run(device: str) -> Output:
    """Prune and answer one fixed prompt with the fixed model."""
    base = Qwen2_5_VLForConditionalGeneration._from_config(_config(), dtype=torch.float32, attn_implementation="sdpa")
    glimpse = Glimpse(_addon())
    for module, gain in ((base, 3.0), (glimpse, 1.2)):
        _fill(module, gain)
        module.requires_grad_(False).eval().to(device)
    model = GlimpseModel(base, Qwen25VL(base), glimpse, frozenset(), 1.0)
    rows, columns = _GRID
    ids = [1, 2, _START, *[_IMAGE] * (rows * columns), _END, 5, 6, 7, 8]
    inputs = {
        "input_ids": torch.tensor([ids]),
        "pixel_values": _noise(rows * columns * 4 * 1176, 99).float().view(-1, 1176),
        "image_grid_thw": torch.tensor([[1, 2 * rows, 2 * columns]]),
    }
    return generate(model, inputs, rule=_RULE, max_new_tokens=_NEW_TOKENS)


def _close(found: Tensor, expected: list[float]) -> bool:
    want = torch.tensor(expected)
    return found.shape == want.shape and torch.allclose(found.cpu(), want, rtol=_TOLERANCE, atol=_TOLERANCE)


def _fill(module: torch.nn.Module, gain: float) -> None:
    """Weights from a formula: the same on every platform, and different in every place."""
    for index, (_, parameter) in enumerate(sorted(module.named_parameters())):
        noise = _noise(parameter.numel(), index)
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        values = gain * noise * fan_in**-0.5 if parameter.ndim > 1 else 1.0 + 0.2 * noise
        parameter.data.copy_(values.view_as(parameter))


def _noise(count: int, seed: int) -> Tensor:
    """``[count]`` numbers in -1..1 that look random and follow from arithmetic alone."""
    wave = torch.sin(torch.arange(1, count + 1, dtype=torch.float64) * 12.9898 + seed * 78.233) * 43758.5453
    return 2.0 * (wave - wave.floor()) - 1.0


def _config() -> Qwen2_5_VLConfig:
    return Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": 32,
            "max_position_embeddings": 512,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 56,
        },
        image_token_id=_IMAGE,
        video_token_id=_VIDEO,
        vision_start_token_id=_START,
        vision_end_token_id=_END,
        tie_word_embeddings=False,
    )


def _addon() -> AddonConfig:
    return AddonConfig(
        base=BaseShape(32, 3, 2, 16, 2),
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
