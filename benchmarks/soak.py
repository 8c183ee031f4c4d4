"""20,000 pages in one run on Ray: do the processes' memory, descriptors and threads stay where they are?

    python benchmarks/soak.py --out /tmp/soak                        # 200 documents of 100 pages, one question each
    python benchmarks/soak.py --out /tmp/soak --documents 10         # a smaller one

The pages are 1,000 drawn ones in another order in every document. `docpipe run` is a process of its own; every five
seconds each process of its session is read from ``/proc``: driver, actors, renderers, raylet and the rest of Ray.
Writes ``soak.jsonl`` and ``soak.svg`` and prints a table: memory of its own (anonymous) and of the object store
(shared), descriptors and threads by role after each quarter of the pages, and bundles per second in each quarter.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.output.current import PARTS
from pipeline.samples.write import pick_seeds, write_samples
from tests.support.merged_pdf import merged

matplotlib.use("svg")

import matplotlib.pyplot as plt

DISTINCT = 1000
EVERY_S = 5.0
ROLES = {
    "AnswerActor": "actor",
    "pipeline.pages.render_child": "renderer",
    "raylet/raylet": "raylet",
    "gcs_server": "gcs",
}
KINDS = {"anonymous_mb": "RssAnon", "shared_mb": "RssShmem", "threads": "Threads"}


def draw(out: Path, documents: int, pages: int, seed: int) -> None:
    """Draw the pages, and put them together in another order in every document."""
    write_samples(out / "drawn", pick_seeds(seed, DISTINCT), keys=("total",))
    drawn = sorted((out / "drawn" / "pdfs").glob("*.pdf"))
    rng = random.Random(seed)
    (out / "making").mkdir(exist_ok=True)
    for number in range(documents):
        with merged(path.read_bytes() for path in rng.sample(drawn, pages)) as whole:
            whole.save(out / "making" / f"{number:04}.pdf")
    (out / "making").rename(out / "pdfs")


def reading(driver: int) -> dict[str, dict[str, float]]:
    """Sum up what the processes of each role hold; those of the driver's session are read."""
    roles: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) != driver:
                continue
            command = " ".join(process.cmdline())
            role = "driver" if process.pid == driver else "other"
            role = next((named for part, named in ROLES.items() if part in command), role)
            status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            roles[role]["processes"] += 1
            roles[role]["descriptors"] += process.num_fds()
            for name, field in KINDS.items():
                roles[role][name] += int(status.get(field, "0").split()[0]) / (1000 if name.endswith("_mb") else 1)
        except (ProcessLookupError, psutil.Error, FileNotFoundError):
            continue  # it ended while it was read
    return {role: dict(found) for role, found in roles.items()}


def answered(output: Path) -> int:
    """Bundles that are committed."""
    return sum(1 for _ in (output / PARTS).glob("*.parquet"))


def table(samples: list[dict[str, Any]]) -> str:
    """What each role held when a quarter of the bundles was done, in the middle, and at the end."""
    most = samples[-1]["bundles"]
    picked = [next(s for s in samples if s["bundles"] >= most * share) for share in (0.25, 0.5, 0.75, 0.98)]
    lines = ["| role | figure | at 25 % | 50 % | 75 % | 98 % |", "| --- " * 6 + "|"]
    for role in ("driver", "actor", "renderer", "raylet", "gcs", "other"):
        for name in ("anonymous_mb", "shared_mb", "descriptors", "threads", "processes"):
            cells = [f"{sample['roles'].get(role, {}).get(name, 0):.0f}" for sample in picked]
            lines.append(f"| {role} | {name} | " + " | ".join(cells) + " |")
    ends = [samples[0], *picked]
    pace = [(b["bundles"] - a["bundles"]) / max(b["seconds"] - a["seconds"], 1e-9) for a, b in pairwise(ends)]
    return "\n".join([*lines, "bundles per second in each quarter: " + ", ".join(f"{one:.3f}" for one in pace)])


def plot(samples: list[dict[str, Any]], path: Path) -> None:
    """Draw memory of each role's own over time."""
    figure, axes = plt.subplots(figsize=(9, 3.5))
    minutes = [sample["seconds"] / 60 for sample in samples]
    for role in ("driver", "actor", "renderer", "raylet", "gcs"):
        axes.plot(minutes, [s["roles"].get(role, {}).get("anonymous_mb", 0) for s in samples], label=role)
    axes.set(xlabel="minutes", ylabel="memory of its own, MB", ylim=(0, None))
    axes.legend(ncols=5, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--pages", type=int, default=100, help="Pages per document.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("run", nargs="*", help="More flags of docpipe run, behind --.")
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "pdfs").exists():
        draw(out, given.documents, given.pages, given.seed)
    (out / "q.yaml").write_text("version: 1\nquestions: [{id: total, text: 'What is the total?'}]\n")
    command = [sys.executable, "-m", "jobs", "run", "--input", out / "pdfs", "--questions", out / "q.yaml"]
    command += ["--output", out / "answers", "--engine", "ray", "--quiet", *given.run]
    samples: list[dict[str, Any]] = []
    began = time.monotonic()
    with (out / "run.log").open("w") as log, (out / "soak.jsonl").open("w", buffering=1) as noted:
        run = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, start_new_session=True)
        while run.poll() is None:
            seconds = round(time.monotonic() - began, 1)
            samples.append({"seconds": seconds, "bundles": answered(out / "answers"), "roles": reading(run.pid)})
            noted.write(json.dumps(samples[-1]) + "\n")
            time.sleep(EVERY_S)
    report = json.loads((out / "answers" / "run.json").read_text())
    print(f"exit code {run.returncode}; {time.monotonic() - began:.0f} s; {json.dumps(report['counts'])}")
    print(table(samples))
    plot(samples, out / "soak.svg")


if __name__ == "__main__":
    main()
