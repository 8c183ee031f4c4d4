"""Every PDF on this machine and files damaged on purpose: does a run end as it should, and is every failure typed?

    python benchmarks/robustness.py --model MODEL --glimpse ADDON --out /tmp/robustness

Copies nothing: the PDFs are read where they lie, through one --input a file. Prints and writes ``robustness.json``.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pymupdf

QUESTIONS = """\
version: 1
defaults: {pages: "1-3,-1", max_new_tokens: 8}
questions:
  - {id: title, text: "What is the title?"}
  - {id: version, text: "Which version is described?", aggregate: first}
  - {id: date, text: "What is the date?", type: date, aggregate: vote}
"""
SKIPPED = ("proc", "sys", "dev", "tmp")


def pdfs_on_this_machine() -> list[Path]:
    roots = [path for path in Path("/").iterdir() if path.is_dir() and path.name not in SKIPPED]
    return sorted({pdf.resolve() for root in roots for pdf in root.rglob("*.[pP][dD][fF]") if pdf.is_file()})


def damage(folder: Path, sources: list[Path], seed: int = 0) -> list[Path]:
    """Twenty files: truncated, bit-flipped, encrypted, renamed text, empty, oversized, without pages."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    good = [path.read_bytes() for path in rng.sample(sources, min(8, len(sources)))]
    made: dict[str, bytes] = {}
    for i, share in enumerate((0.02, 0.3, 0.6, 0.9, 0.99)):
        data = good[i % len(good)]
        made[f"truncated_{i}.pdf"] = data[: int(len(data) * share)]
    for i, flips in enumerate((5, 50, 500, 5000, 50000)):
        data = bytearray(good[(i + 3) % len(good)])
        for _ in range(flips):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        made[f"flipped_{i}.pdf"] = bytes(data)
    made["text.pdf"] = b"This is a letter, and not a PDF.\n" * 50
    made["html.pdf"] = b"<!doctype html><title>404</title>"
    made["zeros.pdf"] = bytes(20_000)
    made["empty.pdf"] = b""
    made["header.pdf"] = b"%PDF-1.7\n"
    made["picture.pdf"] = b"\x89PNG\r\n\x1a\n" + bytes(rng.randrange(256) for _ in range(2000))
    made["no_pages.pdf"] = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
        b"trailer<</Root 1 0 R>>\n%%EOF"
    )
    for name, data in made.items():
        (folder / name).write_bytes(data)
    for name, how in (
        ("encrypted_rc4.pdf", pymupdf.PDF_ENCRYPT_RC4_128),
        ("encrypted_aes.pdf", pymupdf.PDF_ENCRYPT_AES_256),
    ):
        with pymupdf.open() as document:
            document.new_page().insert_text((72, 72), "secret")
            document.save(folder / name, encryption=how, owner_pw="owner", user_pw="user")
    with pymupdf.open() as document:
        document.new_page(width=14_400, height=14_400).insert_text((72, 72), "huge")
        document.save(folder / "huge.pdf")
    return sorted(folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--glimpse", required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = pdfs_on_this_machine()
    damaged = damage(given.out / "damaged", found)
    questions = given.out / "questions.yaml"
    questions.write_text(QUESTIONS)
    config = given.out / "run.toml"
    config.write_text(f"input = {json.dumps([str(path) for path in [*found, *damaged]])}\n")
    output = given.out / "answers"
    command = [sys.executable, "-m", "jobs", "run", "--config", config, "--questions", questions, "--output", output]
    done = subprocess.run([*map(str, command), "--model", given.model, "--glimpse", given.glimpse], check=False)

    run = json.loads((output / "run.json").read_text())
    counts = run["counts"]
    failures = pq.read_table(output / "failures").to_pylist()
    by_type = Counter((row["stage"], row["error_type"]) for row in failures)
    of_damaged = Counter(row["document"] for row in failures if "/damaged/" in row["command"])
    report = {
        "pdfs_found": len(found),
        "damaged": len(damaged),
        "documents": run["documents"],
        "pages": run["pages"],
        "counts": counts,
        "adds_up": counts["planned"] == sum(value for key, value in counts.items() if key != "planned"),
        "exit_code": done.returncode,
        "failed_share": run["failed_share"],
        "failures": {f"{stage}/{kind}": rows for (stage, kind), rows in sorted(by_type.items())},
        "damaged_documents_with_failures": len(of_damaged),
        "wall_s": run["wall_s"],
    }
    (given.out / "robustness.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
