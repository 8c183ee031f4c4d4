"""OpenVINO GenAI as a contender, run by the Python of its own environment.

    venv/bin/python openvino_side.py FOLDER

Weights, activations, keys and values are float32. Its prefix cache is on. The first question of a page fills it and the
others follow together, since it looks for a prefix when a question arrives. It has no image cache outside chats, so it
runs the tower for every question. Its cache cannot be emptied between rounds; each round therefore changes one value of
a page's first pixel by one, and nothing of the round before is found again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import turns

_CACHE_GB = 1
_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
# Where GenAI puts the page, three tokens; spaces between them would hide it.
_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
# Prompts are complete as they are.
_TEMPLATE = "{%- for message in messages -%}{{ message['content'] }}{%- endfor -%}"


def main() -> None:
    pipe = turns.quiet_output()
    folder = Path(sys.argv[1])
    work = turns.read_work(folder)
    import openvino
    from openvino_genai import ChatHistory, ContinuousBatchingPipeline, SchedulerConfig

    exported = export(Path(work["model"]), folder / "openvino")
    start = time.perf_counter()
    scheduler = SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.cache_size = _CACHE_GB
    scheduler.max_num_batched_tokens = sys.maxsize
    engine = ContinuousBatchingPipeline(str(exported), scheduler, "CPU", _FLOAT32)
    tokenizer = engine.get_tokenizer()
    tokenizer.set_chat_template(_TEMPLATE)
    sampling = engine.get_config()
    sampling.do_sample = False
    sampling.max_new_tokens = work["max_new_tokens"]
    if work["forced"]:
        # The model has no token that ends an answer, and GenAI wants one even where it is to ignore it.
        sampling.stop_token_ids = set()
        sampling.set_eos_token_id(0)
        sampling.ignore_eos = True
    pages = [np.load(folder / page["pixels"])[None] for page in work["pages"]]
    asked = [[prompt(tokenizer, ids, work["image_token"]) for ids in page["ids"]] for page in work["pages"]]

    def one_round(number: int) -> list[Any]:
        answers: list[Any] = []
        for pixels, prompts in zip(pages, asked, strict=True):
            image = openvino.Tensor(marked(pixels, number))
            histories = [ChatHistory([{"role": "user", "content": text}]) for text in prompts]
            for part in filter(None, (histories[:1], histories[1:])):
                done = engine.generate(part, images=[[image]] * len(part), generation_config=[sampling] * len(part))
                answers += [one.texts[0].strip() for one in done]
        return answers

    loaded = time.perf_counter() - start
    one_round(-1)
    turns.serve(pipe, {"load_s": loaded}, one_round)


def export(model: Path, folder: Path) -> Path:
    """Convert the model into OpenVINO's format unless that is done."""
    if not folder.exists():
        part = folder.with_suffix(".part")
        tool = Path(sys.executable).parent / "optimum-cli"
        words = ["--task", "image-text-to-text", "--weight-format", "fp32"]
        subprocess.run([tool, "export", "openvino", "--model", model, *words, part], check=True)
        part.rename(folder)
    return folder


def prompt(tokenizer: Any, ids: list[int], image: int) -> str:
    """The text that GenAI's tokenizer turns into the given ids, with one image token where the page has many."""
    first = ids.index(image)
    wanted = [*ids[: first + 1], *[token for token in ids[first:] if token != image]]
    text: str = _IMAGE + tokenizer.decode(wanted[3:], skip_special_tokens=False)
    found = tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
    if found != wanted:
        raise SystemExit(f"expected the token ids {wanted}, found {found}")
    return text


def marked(pixels: Any, number: int) -> Any:
    """The page with its first value moved by as many steps as no other round moves it."""
    copy = pixels.copy()
    value, steps = int(copy.flat[0]), number + 1
    copy.flat[0] = value + steps if value + steps < 256 else value - steps
    return copy


if __name__ == "__main__":
    main()
