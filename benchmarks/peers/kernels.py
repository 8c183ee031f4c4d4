"""Sums a profile by kind of operator; imported in docpipe's environment and in the peers'."""

from __future__ import annotations

import re
from typing import Any

_KINDS = {
    "attention": re.compile("attention|attn|sdpa|flash"),
    "matrix products": re.compile("mm$|mm_|addmm|linear|gemm|matmul|convolution|mkldnn|onednn"),
    "copies and indexing": re.compile("copy|cat$|index|gather|scatter|clone|to$|fill|zero|slot|select|empty|arange"),
    "norms, activations, rotary": re.compile("norm|silu|gelu|mul|add|rotary|sigmoid|pow|mean|rsqrt|neg|softmax"),
}


def by_kind(profiled: Any) -> dict[str, float]:
    """Seconds in operators of each kind, without the operators they call."""
    seconds = dict.fromkeys([*_KINDS, "other operators"], 0.0)
    for event in profiled.key_averages():
        kind = next((name for name, known in _KINDS.items() if known.search(event.key)), "other operators")
        seconds[kind] += event.self_cpu_time_total / 1e6
    return seconds
