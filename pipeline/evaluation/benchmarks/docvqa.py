"""DocVQA (Mathew et al., 2021), task 1: questions about single pages of documents, scored by ANLS."""

from __future__ import annotations

from pathlib import Path

from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion
from pipeline.evaluation.benchmarks.document_questions import read_questions, score, submit

SOURCE = "https://rrc.cvc.uab.es/?ch=17&com=downloads (task 1: spdocvqa_qas.zip and spdocvqa_images.tar.gz)"
_PATTERNS = ("val_v1.0*.json", "train_v1.0*.json", "test_v1.0*.json")
_FOLDERS = ("spdocvqa_images", "val", "train", "test", "documents")


def read(data: Path) -> list[BenchmarkQuestion]:
    """Read the validation split, or the one whose file is given.

    Args:
        data: folder of the benchmark, or a file such as ``val_v1.0_withQT.json``.

    Raises:
        UsageError: a file or an image is missing, or an entry has another layout.
    """
    return read_questions(data, SOURCE, _PATTERNS, _FOLDERS)


BENCHMARK = Benchmark(read, score, ".json", submit)
