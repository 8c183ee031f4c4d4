"""SROIE (Huang et al., 2019), task 3: four entities of scanned receipts, scored by F1."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion, Reply
from pipeline.evaluation.benchmarks.files import BenchmarkFolder, read_json
from pipeline.evaluation.benchmarks.scores import micro_f1

SOURCE = "https://rrc.cvc.uab.es/?ch=13&com=downloads (task 3)"
QUESTIONS = {
    "company": "What is the name of the company that issued this receipt?",
    "date": "What is the date of this receipt?",
    "address": "What is the address of the company that issued this receipt?",
    "total": "What is the total amount of this receipt?",
}
_ENTITIES = ("entities", "key", "SROIE_test_gt_task_3")
_IMAGES = ("img", "images", "SROIE_test_images_task_3")


def read(data: Path) -> list[BenchmarkQuestion]:
    """Read receipts, each with a JSON object of its entities in a file of the same name.

    Args:
        data: folder with ``img/`` and ``entities/`` or ``key/``, or the folders of the challenge.

    Raises:
        UsageError: a folder or a file is missing, or a file holds no such object.
    """
    root = BenchmarkFolder(data, SOURCE).root
    images = next((root / name for name in _IMAGES if (root / name).is_dir()), None)
    if images is None:
        raise UsageError(f"--data {data}: expected a folder {' or '.join(_IMAGES)} in it; get it from {SOURCE}")
    answers = next((root / name for name in _ENTITIES if (root / name).is_dir()), None)
    questions = []
    for image in sorted(path for path in images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")):
        entities = None if answers is None else _entities(answers, image.stem)
        for entity, text in QUESTIONS.items():
            gold = None if entities is None else tuple(entities.get(entity, ()))
            questions.append(BenchmarkQuestion(image.stem, text, (image,), gold, entity=entity))
    return questions


def _entities(folder: Path, name: str) -> dict[str, list[str]]:
    found = [path for path in (folder / f"{name}.json", folder / f"{name}.txt") if path.is_file()]
    if not found:
        raise UsageError(f"{folder}: expected {name}.txt or {name}.json beside the image, found neither; see {SOURCE}")
    raw = read_json(found[0])
    if not isinstance(raw, dict):
        raise UsageError(f"{found[0]}: expected an object with company, date, address and total; see {SOURCE}")
    return {entity: [str(value)] for entity, value in raw.items() if value}


def score(replies: Sequence[Reply]) -> dict[str, float]:
    """Compute F1, precision and recall of entities that are right character for character."""
    pairs = ([() if one.is_none else (one.answer.strip(),), [g.strip() for g in one.question.answers or ()]]
             for one in replies)  # fmt: skip
    return dict(micro_f1((said, gold) for said, gold in pairs))


def submit(replies: Sequence[Reply], path: Path) -> None:
    """Write the archive of one text file per receipt that the challenge takes.

    Args:
        replies: replies to all questions.
        path: archive to write.
    """
    receipts: dict[str, dict[str, str]] = {}
    for one in replies:
        entities = receipts.setdefault(str(one.question.id), {})
        if not one.is_none:
            entities[one.question.entity] = one.answer
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, entities in receipts.items():
            archive.writestr(f"{name}.txt", json.dumps(entities, ensure_ascii=False, indent=4))


BENCHMARK = Benchmark(read, score, ".zip", submit)
