"""Does the work of ``docpipe eval --benchmark``: scores a model by the benchmark's own metric."""

from __future__ import annotations

from pathlib import Path

from jobs.commands.evaluate import EvalSettings, measure
from pipeline.errors import UsageError


def run_benchmark(settings: EvalSettings) -> str:
    """Measure a model on a benchmark, write its rows, and a file in the form that the benchmark takes, per mode.

    Args:
        settings: settings of the evaluation, which name a benchmark and the folder of its files.

    Raises:
        UsageError: there is no such benchmark, a file of it is missing or has another layout, or as in ``measure``.
        OutputError: a file cannot be written.
        ModelError: the model cannot be loaded.

    Returns:
        The metrics of each mode as a table, and the files that were written, as text.
    """
    from pipeline.evaluation.benchmarks.base import examples_of, page_counts, replies_of
    from pipeline.evaluation.benchmarks.registry import find_benchmark
    from pipeline.evaluation.modes import label
    from pipeline.evaluation.score_table import by_way, decimal, in_columns
    from pipeline.output.faults import writing

    if settings.images is not None:
        raise UsageError("--images has no effect with --benchmark, whose folder holds the images; leave it out")
    benchmark = find_benchmark(str(settings.benchmark))
    questions = benchmark.read(Path(settings.data))
    counts = page_counts(questions)
    rows = measure(settings, lambda: examples_of(questions, counts))
    names: list[str] = []
    lines, files = [], []
    for way, mine in by_way(rows).items():
        replies = replies_of(questions, mine, counts)
        labelled = [reply for reply in replies if reply.question.answers is not None]
        figures = benchmark.score(labelled) if labelled else {}
        names = names or list(figures)
        retention = [row.retention for row in mine if row.retention is not None]
        kept = f"{sum(retention) / len(retention):.1%}" if retention else "-"
        shares = (decimal(figures.get(name)) for name in names)
        lines.append((label(*way), str(len(replies)), kept, *shares))
        share = "" if way[1] is None else f"-{way[1]:g}"
        path = settings.out.with_name(f"{settings.out.stem}-{way[0]}{share}{benchmark.suffix}")
        with writing(path):
            benchmark.submit(replies, path)
        files.append(f"{label(*way)}: {path}")
    return "\n".join([in_columns([("mode", "questions", "kept", *names), *lines]), "", *files])
