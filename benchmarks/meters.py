"""Not a benchmark: counts operations and memory for those that are; it imports torch and nothing else."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def count_tflops(run: Callable[[], Any]) -> float:
    def attention(q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return int(sdpa_flop_count(q, k, v))

    # torch has no formula for the fused attention of a CPU.
    fused = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=fused) as counter:
        run()
    return float(counter.get_total_flops()) / 1e12


def reset_peak(device: torch.device) -> int:
    """Bytes in use now, from which the next peak is counted."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    return _status_bytes("VmRSS")


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024
