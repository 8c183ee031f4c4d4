"""docpipe against the engines a user would pick instead: the same pixels and questions, taking turns in one run.

    python benchmarks/peers/compare.py --out DIR [--vllm PYTHON] [--openvino PYTHON] [--rounds 5]
                                       [--cells nano-10 noise-1000-10 ...] [--contenders vllm-bfloat16 docpipe ...]

A cell is ``nano-QUESTIONS``, ``noise-TOKENS-QUESTIONS`` or ``text-TOKENS-QUESTIONS``. Each contender is a process of
its own, which loads the model and warms up once, and is idle while it is not its turn. Ratios are medians over rounds
of the times of the same round. A cell in whose rounds other programs kept more than half a core busy gets no verdict.
Writes DIR/peers.json and DIR/peers.md. ``setup.py`` makes the environments of the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CELLS = ("nano-10", "nano-1", "nano-4", "nano-30") + tuple(
    f"{kind}-{tokens}-{questions}"
    for kind in ("noise", "text")
    for tokens in (1000, 5000)
    for questions in (10, 1, 4, 30)
)
CONTENDERS = {
    "vllm-float32": ["float32"],
    "vllm-bfloat16": ["bfloat16"],
    "openvino-float32": [],
    "docpipe": ["auto"],
    "docpipe-glimpse": ["glimpse"],
    "docpipe-unpruned": ["off"],
    "docpipe-drop-blank": ["auto", "--drop-blank"],
}
PEERS = ("vllm", "openvino")
PAGES = {"nano": 40, "1000": 6, "5000": 2}
OTHERS_ALLOWED = 0.5  # cores


@dataclass
class Turn:
    """One round of one contender; ``others`` is how many cores other programs kept busy meanwhile."""

    seconds: float
    cpu: float
    peak_bytes: int
    others: float
    answers: list[Any] = field(repr=False)


class Contender:
    """A process that answers the work of a cell whenever it is told to."""

    def __init__(self, name: str, folder: Path, pythons: dict[str, Path]) -> None:
        self.name = name
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        words = [str(folder), *CONTENDERS[name]]
        engine = name.split("-")[0]
        python = pythons[engine]
        if engine == "vllm":
            environment |= vllm_environment(python)
            # Two such pages at once exceed its token budget, and it computes each page again for every question.
            words += ["1"] if folder.name.split("-")[1] == "5000" else []
        command = [str(python), str(HERE / f"{engine}_side.py"), *words]
        self.log = folder / f"{name}.log"
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"), env=environment,
            text=True, cwd=HERE,
        )  # fmt: skip
        self.ready = self._read()

    def turn(self, number: int) -> Turn:
        assert self.process.stdin is not None
        before = psutil.cpu_times()
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        found = self._read()
        after = psutil.cpu_times()
        busy = sum(getattr(after, kind) - getattr(before, kind) for kind in ("user", "nice", "system"))
        others = max(0.0, busy - found["cpu"]) / found["seconds"]
        return Turn(found["seconds"], found["cpu"], found["peak_bytes"], others, found["answers"])

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(120)

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early; see {self.log}")
        message: dict[str, Any] = json.loads(line)
        return message


def vllm_environment(python: Path) -> dict[str, str]:
    """What vLLM's page on CPUs asks for: its OpenMP and tcmalloc loaded first, its threads bound to the cores."""
    home = python.parents[1]
    preload = [*home.glob("deb/usr/lib/*/libtcmalloc_minimal.so.4"), *home.glob("lib/libiomp5.so")]
    cores = sorted(os.sched_getaffinity(0))
    return {
        "LD_PRELOAD": ":".join(map(str, preload)), "VLLM_CPU_KVCACHE_SPACE": "3", "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_CPU_OMP_THREADS_BIND": f"{cores[0]}-{cores[-1]}",
        "KMP_BLOCKTIME": "1", "KMP_TPAUSE": "0", "VLLM_CACHE_ROOT": str(home / "vllm_cache"),
    }  # fmt: skip


def make_work(cell: str, folder: Path) -> dict[str, Any]:
    """The work of a cell, made unless it is there."""
    kind, *rest = cell.split("-")
    if not (folder / "work.json").exists():
        words = ["nano" if kind == "nano" else "shape", str(folder), "--questions", rest[-1]]
        words += ["--pages", str(PAGES[rest[0] if kind != "nano" else "nano"])]
        words += [] if kind == "nano" else ["--tokens", rest[0], "--content", kind]
        subprocess.run([sys.executable, str(HERE / "work.py"), *words], check=True)
    work: dict[str, Any] = json.loads((folder / "work.json").read_text())
    return work


def measure(cell: str, args: argparse.Namespace) -> dict[str, Any]:
    """Let the contenders answer a cell in turns."""
    folder = args.out / cell
    work = make_work(cell, folder)
    truth = [answer for page in work["pages"] for answer in page["truth"]]
    pythons = {"docpipe": Path(sys.executable), "vllm": args.vllm, "openvino": args.openvino}
    contenders = [Contender(name, folder, pythons) for name in args.contenders]
    turns: dict[str, list[Turn]] = {name: [] for name in args.contenders}
    for number in range(args.rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            turn = contender.turn(number)
            turns[contender.name].append(turn)
            print(f"{cell} round {number} {contender.name}: {len(truth) / turn.seconds:.2f} questions/s, "
                  f"{turn.cpu:.1f} CPU s, others {turn.others:.2f}", file=sys.stderr, flush=True)  # fmt: skip
    for contender in contenders:
        contender.close()
    visual = statistics.mean(page["visual_tokens"] for page in work["pages"])
    rows = [row(name, turns, truth, args.contenders) for name in args.contenders]
    quiet = all(turn.others <= OTHERS_ALLOWED for each in turns.values() for turn in each)
    load_s = {contender.name: contender.ready["load_s"] for contender in contenders}
    return {
        "cell": cell,
        "pages": len(work["pages"]),
        "visual_tokens": visual,
        "quiet": quiet,
        "load_s": load_s,
        "rows": rows,
    }


def row(name: str, turns: dict[str, list[Turn]], truth: list[Any], names: list[str]) -> dict[str, Any]:
    """The figures of one contender; ``x`` is how many times as fast as each other it is."""
    mine = turns[name]
    ratios = {
        other: statistics.median(a.seconds / b.seconds for a, b in zip(turns[other], mine, strict=True))
        for other in names
    }
    right = None
    if truth[0] is not None:
        right = sum(a == b for a, b in zip(mine[-1].answers, truth, strict=True)) / len(truth)
    same = {
        other: sum(a == b for a, b in zip(turns[other][-1].answers, mine[-1].answers, strict=True)) for other in names
    }
    return {
        "contender": name,
        "questions_per_s": len(truth) / statistics.median(turn.seconds for turn in mine),
        "x": ratios,
        "cpu_s_per_100": statistics.median(turn.cpu for turn in mine) / len(truth) * 100,
        "peak_bytes": max(turn.peak_bytes for turn in mine),
        "right": right,
        "same_answers": same,
        "others": max(turn.others for turn in mine),
    }


def table(cells: list[dict[str, Any]], names: list[str]) -> str:
    peers = [name for name in names if name.startswith(PEERS)]
    heads = ["cell", "contender", "questions/s", *(f"x {peer}" for peer in peers), "CPU s / 100", "peak MB", "right"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for cell in cells:
        for one in cell["rows"]:
            ratios = [f"{one['x'][peer]:.2f}" if cell["quiet"] else "machine busy" for peer in peers]
            right = "" if one["right"] is None else f"{one['right']:.4f}"
            values = [cell["cell"], one["contender"], f"{one['questions_per_s']:.2f}", *ratios,
                      f"{one['cpu_s_per_100']:.2f}", f"{one['peak_bytes'] / 1e6:.0f}", right]  # fmt: skip
            lines.append("| " + " | ".join(values) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vllm", type=Path, default=ROOT / ".venv-peers/bin/python")
    parser.add_argument("--openvino", type=Path, default=ROOT / ".venv-openvino/bin/python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", nargs="+", default=list(CELLS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    args = parser.parse_args()
    args.out = args.out.resolve()
    if not {"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()):
        print(
            "vllm-bfloat16 is left out: this CPU has no products of that type, and takes minutes per page",
            file=sys.stderr,
        )
        args.contenders = [name for name in args.contenders if name != "vllm-bfloat16"]
    args.vllm, args.openvino = args.vllm.absolute(), args.openvino.absolute()
    found = []
    for cell in args.cells:
        found.append(measure(cell, args))
        (args.out / "peers.json").write_text(
            json.dumps({"settings": {k: str(v) for k, v in vars(args).items()}, "cells": found}, indent=1)
        )
        (args.out / "peers.md").write_text(table(found, args.contenders) + "\n")
    print(table(found, args.contenders))


if __name__ == "__main__":
    main()
