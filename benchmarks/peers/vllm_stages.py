"""Where vLLM's time goes on the work of a cell, run by the Python of its own environment; see ``stages.py``.

    venv/bin/python vllm_stages.py FOLDER DTYPE PAGES_AT_A_TIME

It prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kernels
import turns
import vllm_side


def main() -> None:
    pipe = turns.quiet_output()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the profiler sees this process only
    folder, dtype, at_a_time = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    work = turns.read_work(folder)
    from torch.profiler import ProfilerActivity, profile
    from vllm import LLM
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    spent: dict[str, float] = defaultdict(float)
    time_calls(GPUModelRunner, "_execute_mm_encoder", spent, lambda scheduled: "vision tower")
    time_calls(GPUModelRunner, "execute_model", spent, stage_of)
    time_calls(GPUModelRunner, "sample_tokens", spent, lambda scheduled: "decoding")
    engine = LLM(model=work["model"], dtype=dtype, **vllm_side.SETTINGS)
    ask = vllm_side.rounds(engine, work, folder, at_a_time or len(work["pages"]))
    ask(-1)
    spent.clear()
    cpu, start = turns.cpu_seconds(), time.perf_counter()
    ask(0)
    seconds, cpu = time.perf_counter() - start, turns.cpu_seconds() - cpu
    spent["prefill"] -= spent["vision tower"]  # which runs inside it
    stages = {**spent, "between the steps": seconds - sum(spent.values())}
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        ask(1)
    pipe.write(json.dumps({"seconds": seconds, "cpu": cpu, "stages": stages, "kernels": kernels.by_kind(profiled)}))
    pipe.close()


def time_calls(owner: Any, name: str, spent: dict[str, float], stage: Callable[[Any], str]) -> None:
    """Add the wall time of every call of a method to the stage that its first argument belongs to."""
    method = getattr(owner, name)

    def timed(self: Any, *args: Any, **words: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(self, *args, **words)
        finally:
            spent[stage(args[0] if args else None)] += time.perf_counter() - start

    setattr(owner, name, timed)


def stage_of(scheduled: Any) -> str:
    """A step in which every request gets one token decodes; in any other, prompts are read too."""
    counts = scheduled.num_scheduled_tokens.values()
    return "decoding" if counts and max(counts) == 1 else "prefill"


if __name__ == "__main__":
    main()
