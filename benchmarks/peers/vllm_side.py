"""vLLM as a contender, run by the Python of its own environment.

    venv/bin/python vllm_side.py FOLDER DTYPE [PAGES_AT_A_TIME]

Prefix cache and image cache are on, so that tower and prefix run once per page; every round has new image ids, so that
nothing is left over from the round before. Pages are handed over all at once unless a number is given: vLLM does best
with all of them, except where two pages exceed its token budget and it computes prompts again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import turns

_MAX_TOKENS = 8192
SETTINGS: dict[str, Any] = {
    "max_model_len": _MAX_TOKENS, "max_num_batched_tokens": _MAX_TOKENS, "max_num_seqs": 64, "block_size": 32,
    "enable_prefix_caching": True, "enforce_eager": True, "seed": 0, "limit_mm_per_prompt": {"image": 1, "video": 0},
    "mm_processor_cache_gb": 1, "skip_mm_profiling": True, "disable_log_stats": True,
}  # fmt: skip


def main() -> None:
    pipe = turns.quiet_output()
    folder, dtype = Path(sys.argv[1]), sys.argv[2]
    work = turns.read_work(folder)
    from vllm import LLM

    pages = work["pages"]
    at_a_time = int(sys.argv[3]) if len(sys.argv) > 3 else len(pages)
    start = time.perf_counter()
    engine = LLM(model=work["model"], dtype=dtype, **SETTINGS)
    loaded = time.perf_counter() - start
    ask = rounds(engine, work, folder, at_a_time)
    ask(-1)
    turns.serve(pipe, {"load_s": loaded}, ask)


def rounds(engine: Any, work: dict[str, Any], folder: Path, at_a_time: int) -> Callable[[int], list[Any]]:
    """Return a function that has vLLM answer the whole work as round ``number``."""
    from PIL import Image
    from vllm import SamplingParams

    pages, limit = work["pages"], work["max_new_tokens"]
    forced: dict[str, Any] = {"min_tokens": limit, "ignore_eos": True, "detokenize": False} if work["forced"] else {}
    sampling = SamplingParams(temperature=0, max_tokens=limit, **forced)
    tokenizer = engine.get_tokenizer()
    pictures = [Image.fromarray(np.load(folder / page["pixels"])) for page in pages]

    def one_round(number: int) -> list[Any]:
        answers: list[Any] = []
        for first in range(0, len(pages), at_a_time):
            asked = [
                {
                    "prompt_token_ids": one_image_token(ids, work["image_token"]),
                    "multi_modal_data": {"image": pictures[i]},
                    "multi_modal_uuids": {"image": f"{number}-{i}"},
                }
                for i in range(first, min(first + at_a_time, len(pages)))
                for ids in pages[i]["ids"]
            ]
            for done in engine.generate(asked, sampling, use_tqdm=False):
                output = done.outputs[0]
                text = tokenizer.decode(output.token_ids, skip_special_tokens=True) if work["forced"] else output.text
                answers.append(text.strip())
        return answers

    return one_round


def one_image_token(ids: list[int], image: int) -> list[int]:
    """vLLM itself puts in as many image tokens as the image has."""
    first = ids.index(image)
    return [*ids[: first + 1], *[token for token in ids[first:] if token != image]]


if __name__ == "__main__":
    main()
