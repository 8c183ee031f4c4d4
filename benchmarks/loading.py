"""How much memory of the host a model takes while it is loaded, on the CPU and for another device.

    python benchmarks/loading.py [--layers 12]

A checkpoint of random weights in bfloat16 and shards of 200 MB is written, and loaded by one process per type and
device. Counted is the growth of memory that belongs to the process (RssAnon, sampled every 2 ms), without files that
are mapped, of which all processes share one copy. The meta device stands for a GPU: what moves there leaves the host.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import torch
from random_model import SHAPES, make_model

import glimpseprune as gp

SHAPE = replace(SHAPES["small"], hidden=1536, mlp=8960)


def own_bytes() -> int:
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def load_and_watch(folder: str, dtype: str, device: str) -> None:
    """Print the largest growth and the growth at the end, in bytes."""
    peak, start, over = 0, own_bytes(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.is_set():
            peak = max(peak, own_bytes() - start)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    model = gp.load(folder, dtype=dtype, device=device)
    end = own_bytes() - start
    over.set()
    watcher.join()
    print(model.backbone.device.type, max(peak, end), end)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--load", nargs=3, metavar=("FOLDER", "DTYPE", "DEVICE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        load_and_watch(*given.load)
        return
    with tempfile.TemporaryDirectory() as folder:
        base = make_model(replace(SHAPE, layers=given.layers), torch.device("cpu"), torch.bfloat16).base
        base.save_pretrained(folder, max_shard_size="200MB")  # type: ignore[operator]
        size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
        print(f"{size / 1e9:.2f} GB on disk, in {len(list(Path(folder).glob('*.safetensors')))} files\n")
        print("| type | device | most memory of the host, GB | after loading, GB |\n| --- | --- | --- | --- |")
        for device in ("meta", "cpu"):
            for dtype in ("bfloat16", "float16", "float32"):
                command = [sys.executable, __file__, "--load", folder, dtype, device]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                print(f"| {dtype} | {told[0]} | {int(told[1]) / 1e9:.2f} | {int(told[2]) / 1e9:.2f} |", flush=True)


if __name__ == "__main__":
    main()
