"""InfographicVQA (Mathew et al., 2022): questions about infographics, scored by ANLS."""

from __future__ import annotations

from pathlib import Path

from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion
from pipeline.evaluation.benchmarks.document_questions import read_questions, score, submit

SOURCE = (
    "https://rrc.cvc.uab.es/?ch=17&com=downloads (task 3: infographicsvqa_qas.zip and infographicsvqa_images.tar.gz)"
)
_PATTERNS = ("infographicsVQA_val_v1.0*.json", "infographicsVQA_train_v1.0*.json", "infographicsVQA_test_v1.0*.json")
_FOLDERS = ("infographicsvqa_images", "images")


def read(data: Path) -> list[BenchmarkQuestion]:
    """Read the validation split, or the one whose file is given.

    Args:
        data: folder of the benchmark, or a file such as ``infographicsVQA_val_v1.0_withQT.json``.

    Raises:
        UsageError: a file or an image is missing, or an entry has another layout.
    """
    return read_questions(data, SOURCE, _PATTERNS, _FOLDERS)


BENCHMARK = Benchmark(read, score, ".json", submit)
