"""300 PDFs damaged in thirteen ways: does every one end as rows or as a failure, in time and within the memory limit?

    python benchmarks/robustness.py DIR --out /tmp/robustness            # PDFs below DIR are damaged, seed 0
    python benchmarks/robustness.py DIR --out /tmp/robustness --count 30 --seed 5

A model that answers with the mean grey of a page takes the place of a real one, since what is tried is all before it.
Prints and writes ``robustness.json``: what became of the documents, the longest page, and the largest memory of a
renderer, which is read from ``/proc`` every 20 ms. The exit code is 1 where a document is missing or a limit broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent))

from jobs.run.job import run_job
from jobs.run.loop_engine import LoopEngine
from jobs.run.ray_workers import ActorConfig
from jobs.settings import RunSettings
from pipeline.answering.bundle_answerer import BundleAnswerer
from pipeline.output.attempts import Markers
from pipeline.output.folder import Folder
from pipeline.output.store import OutputStore
from pipeline.questions.file import parse_questions
from tests.support.damaged import damaged
from tests.support.helpers import FakePageAnswerer

QUESTIONS = 'version: 1\nquestions: [{id: title, text: "What is the title?", pages: "1-3,-1"}]\n'
_LARGEST = 2_000_000  # bytes of a sound PDF that is damaged


class Renderers(threading.Thread):
    """Reads how much memory the render children of this process have taken at most.

    Attributes:
        peak_rss_bytes: most resident memory of one.
        peak_size_bytes: most address space of one, which is what the limit is about.
        seen: process ids of all that were seen.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_rss_bytes = self.peak_size_bytes = 0
        self.seen: set[str] = set()

    def run(self) -> None:
        while True:
            for pid in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
                self._look(pid)
            time.sleep(0.02)

    def _look(self, children: Path) -> None:
        try:
            for pid in children.read_text().split():
                if b"render_child" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    continue
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                found = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
                self.seen.add(pid)
                self.peak_rss_bytes = max(self.peak_rss_bytes, 1024 * int(found.get("VmHWM", 0)))
                self.peak_size_bytes = max(self.peak_size_bytes, 1024 * int(found.get("VmPeak", 0)))
        except OSError:
            return  # it has ended meanwhile


def load(config: ActorConfig) -> BundleAnswerer:
    """Answer with the mean grey of the page."""
    folder = Folder(config.output)
    return BundleAnswerer(FakePageAnswerer(), OutputStore(folder, config.command, config.run_id), Markers(folder))  # type: ignore[arg-type]


def measure(pdfs: Path, out: Path, count: int, seed: int) -> dict[str, Any]:
    """Damage PDFs, run over them, and tell what became of each.

    Args:
        pdfs: folder with sound PDFs.
        out: folder for the damaged ones and the answers.
        count: number of damaged PDFs.
        seed: seed of the damage.
    """
    sound = [path for path in sorted(pdfs.rglob("*.pdf")) if path.stat().st_size <= _LARGEST]
    (out / "pdfs").mkdir(parents=True)
    made = damaged([path.read_bytes() for path in sound], count, seed)
    for name, content in made:
        (out / "pdfs" / name).write_bytes(content)
    run = RunSettings(
        input=(str(out / "pdfs"),),
        questions="q.yaml",
        output=str(out / "answers"),
        engine="local",
        document_seconds=120.0,
        max_failed_share=1.0,
    )
    renderers = Renderers()
    renderers.start()
    began = time.monotonic()
    report = run_job(run, parse_questions(QUESTIONS, "q.yaml"), load=load)
    wall_s = time.monotonic() - began
    rows = pq.read_table(out / "answers" / "answers").to_pylist()
    ended = {row["document"] for row in rows}
    failures = pq.read_table(out / "answers" / "failures").to_pylist()
    pages = pq.read_table(out / "answers" / "pages").to_pylist()
    limit = LoopEngine().resources(run).render_memory_bytes
    by_damage: dict[str, Counter[str]] = {}
    failed = {(row["document"], row["page"]): row["error_type"] for row in failures}
    for row in rows:
        became = failed.get((row["document"], row["page"]), row["status"])
        by_damage.setdefault(row["document"][4:-4], Counter())[became] += 1
    return {
        "sound_pdfs": len(sound),
        "damaged_pdfs": count,
        "seed": seed,
        "documents_without_rows": sorted({name for name, _ in made} - ended),
        "counts": report["counts"],
        "exit_code": report["exit_code"],
        "wall_s": round(wall_s, 1),
        "longest_render_s": max((row["render_ms"] or 0) for row in pages) / 1000,
        "render_children": len(renderers.seen),
        "renderer_peak_rss_bytes": renderers.peak_rss_bytes,
        "renderer_peak_address_space_bytes": renderers.peak_size_bytes,
        "renderer_limit_bytes": limit,
        "rows_by_damage": {name: dict(sorted(counts.items())) for name, counts in sorted(by_damage.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pdfs", type=Path, help="Folder with sound PDFs.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = measure(given.pdfs, given.out, given.count, given.seed)
    (given.out / "robustness.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    broken = found["documents_without_rows"] or found["counts"]["pending"] or found["exit_code"]
    sys.exit(1 if broken or found["renderer_peak_rss_bytes"] > found["renderer_limit_bytes"] else 0)


if __name__ == "__main__":
    main()
