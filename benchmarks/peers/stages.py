"""Where the time of a cell goes, in docpipe and in vLLM: by stage and by kind of operator.

    python benchmarks/peers/stages.py FOLDER --vllm PYTHON [--dtype float32] [--prune auto] [--drop-blank]
                                     [--pages-at-a-time 0]

FOLDER is a cell's of ``compare.py``. docpipe answers in one lane of one thread, so that its seconds are core seconds;
vLLM's are wall seconds times its threads, whether or not all of them had work. Each runs a round to warm up, one for
the stages, and one under torch's profiler, which slows small operators down.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import docpipe_side
import kernels
import turns
from compare import HERE, vllm_environment
from torch.profiler import ProfilerActivity, profile


def docpipe(folder: Path, prune: str, dtype: str, drop_blank: bool) -> dict[str, Any]:
    """Answer the work of a cell in one lane."""
    work = turns.read_work(folder)
    answerer, _ = docpipe_side.load(work, prune, dtype, threads=1)
    answerer.drop_blank = drop_blank
    ask = docpipe_side.rounds(answerer, work, folder, prune)
    ask(-1)
    start = time.perf_counter()
    stats = [answer.stats for answer in ask(0)]
    seconds = time.perf_counter() - start
    spent = {
        "vision tower": sum(one.vision_ms or 0.0 for one in stats) / 1e3,
        "prefill": sum((one.prefix_ms or 0.0) + one.prefill_ms for one in stats) / 1e3,
        "decoding": sum(one.decode_ms or 0.0 for one in stats) / 1e3,
    }
    spent["between the steps"] = seconds - sum(spent.values())
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        ask(1)
    return {"seconds": seconds, "stages": spent, "kernels": kernels.by_kind(profiled)}


def vllm(folder: Path, python: Path, dtype: str, at_a_time: int) -> dict[str, Any]:
    """Have vLLM answer the same work, with one thread per core."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **vllm_environment(python)}
    command = [str(python), str(HERE / "vllm_stages.py"), str(folder.absolute()), dtype, str(at_a_time)]
    log = folder / "vllm-stages.log"
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log.open("w"), env=environment, cwd=HERE, text=True)
    if done.returncode:
        raise SystemExit(f"vLLM ended with {done.returncode}; see {log}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(found: dict[str, dict[str, Any]], kind: str, questions: int, cores: dict[str, int]) -> str:
    """Core milliseconds per question, by stage or kind of operator."""
    names = list(dict.fromkeys(name for each in found.values() for name in each[kind]))
    lines = [f"| {kind} | " + " | ".join(f"{who}, core ms per question" for who in found) + " |", "| --- " * 3 + "|"]
    for name in names:
        cells = [f"{each[kind].get(name, 0.0) * cores[who] / questions * 1e3:.1f}" for who, each in found.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    totals = [f"{sum(each[kind].values()) * cores[who] / questions * 1e3:.1f}" for who, each in found.items()]
    return "\n".join([*lines, "| all | " + " | ".join(totals) + " |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vllm", type=Path, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--prune", choices=["glimpse", "off", "auto"], default="auto")
    parser.add_argument("--drop-blank", action="store_true")
    parser.add_argument("--pages-at-a-time", type=int, default=0, help="pages that vLLM gets at a time; 0 for all")
    args = parser.parse_args()
    work = turns.read_work(args.folder)
    questions = sum(len(page["texts"]) for page in work["pages"])
    found = {
        "vLLM": vllm(args.folder, args.vllm.absolute(), args.dtype, args.pages_at_a_time),
        "docpipe": docpipe(args.folder, args.prune, args.dtype, args.drop_blank),
    }
    cores = {"vLLM": len(os.sched_getaffinity(0)), "docpipe": 1}
    print(table(found, "stages", questions, cores), "\n", sep="\n")
    print(table(found, "kernels", questions, cores))
    json.dump(found, sys.stderr)


if __name__ == "__main__":
    main()
