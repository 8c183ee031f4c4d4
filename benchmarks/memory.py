"""Does memory grow with the number of pages? Peak of a whole run, Ray included, over 20 and over 200 generated pages.

    python benchmarks/memory.py --model MODEL --glimpse ADDON --out /tmp/memory

Memory is the proportional set size (shared pages are divided among those who share them), summed over the run's
processes and sampled while it runs; beside it the peak resident size of the process that holds the model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pymupdf

QUESTIONS = 'version: 1\nquestions: [{id: total, text: "What is the total?", max_new_tokens: 8}]\n'


def draw(folder: Path, pages: int) -> None:
    """Documents of 10 pages full of text."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, pages, 10):
        with pymupdf.open() as pdf:
            for number in range(first, first + 10):
                page = pdf.new_page()
                for row in range(60):
                    page.insert_text((50, 50 + 12 * row), f"page {number} row {row} " + "lorem ipsum " * 5, fontsize=9)
            pdf.save(folder / f"{first:04d}.pdf")


def run_and_watch(command: list[str]) -> tuple[int, int, float]:
    """Peak PSS and RSS in bytes over all processes of the run, and its wall time in seconds."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    root = psutil.Process(process.pid)
    peak_pss = peak_rss = 0
    while process.poll() is None:
        pss = rss = 0
        for one in [root, *root.children(recursive=True)]:
            try:
                info = one.memory_full_info()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            pss += info.pss
            rss += info.rss
        peak_pss, peak_rss = max(peak_pss, pss), max(peak_rss, rss)
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}")
    return peak_pss, peak_rss, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--glimpse", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pages", type=int, nargs=2, default=[20, 200])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    questions = given.out / "questions.yaml"
    questions.write_text(QUESTIONS)
    report = {}
    for pages in given.pages:
        inputs, output = given.out / f"pdfs_{pages}", given.out / f"answers_{pages}"
        draw(inputs, pages)
        command = [sys.executable, "-m", "jobs", "run", "--input", inputs, "--questions", questions, "--output", output]
        command += ["--model", given.model, "--glimpse", given.glimpse, "--quiet"]
        pss, rss, seconds = run_and_watch([str(word) for word in command])
        actor = pc.max(pq.read_table(output / "pages", columns=["peak_rss_bytes"])["peak_rss_bytes"]).as_py()
        report[pages] = {"peak_pss_bytes": pss, "peak_rss_bytes": rss, "actor_peak_rss_bytes": actor, "wall_s": seconds}
    small, large = (report[pages] for pages in given.pages)
    ratios = {name: large[name] / small[name] for name in small}
    text = json.dumps({"pages": report, "ratio": ratios}, indent=2)
    (given.out / "memory.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
