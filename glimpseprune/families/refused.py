"""Says why checkpoints are refused that resemble those of a supported family. No torch is imported here."""

from __future__ import annotations

_HYBRID = (
    "most of its layers have linear attention, which mixes all tokens into one running state, so a visual token cannot "
    "be taken out again after it was read"
)
_EXPERTS = "its layers are mixtures of experts, which docpipe does not drive"

_REASONS = {
    "qwen3_next": _HYBRID,
    "qwen3_5": _HYBRID,
    "qwen3_5_moe": _HYBRID,
    "qwen4_exp": _HYBRID,
    "qwen3_vl_moe": _EXPERTS,
    "qwen3_omni_moe": _EXPERTS,
}


def why_refused(model_type: str) -> str | None:
    """Return the reason why a ``model_type`` is not supported; ``None`` if there is none but that nobody added it."""
    return _REASONS.get(model_type)
