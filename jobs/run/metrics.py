"""Declares the metrics of a run, and counts them with Ray, which shows them to Prometheus on a port of every node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.records import PageAnswer
from pipeline.results import BundleResult, PageReport

Kind = Literal["counter", "histogram", "gauge"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name; Ray exports it with ``ray_`` before the name.

    Attributes:
        name: name, with its unit; a counter ends in ``_total``.
        kind: counter, histogram or gauge.
        meaning: what it measures, in a few words.
        label: name of its label; ``None`` without one.
        bounds: upper bounds of the buckets of a histogram.
    """

    name: str
    kind: Kind
    meaning: str
    label: str | None = None
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One observation of a metric.

    Attributes:
        name: name of the metric.
        value: what a counter grows by, a histogram observes, or a gauge shows.
        label: value of its label; ``None`` without one.
    """

    name: str
    value: float
    label: str | None = None


PAGES = "docpipe_pages_total"
ROWS = "docpipe_rows_total"
FAILURES = "docpipe_failures_total"
TOKENS = "docpipe_tokens_total"
SECONDS = "docpipe_seconds_total"
RETENTION = "docpipe_retention"
BUNDLE_SECONDS = "docpipe_bundle_seconds"
BUNDLES = "docpipe_bundles_total"
IDLE = "docpipe_idle_seconds_total"
ACTORS = "docpipe_actors"
MEMORY = "docpipe_memory_bytes"
LEFT = "docpipe_bundles_left"

METRICS = {
    metric.name: metric
    for metric in (
        Metric(PAGES, "counter", "pages whose rows are committed"),
        Metric(ROWS, "counter", "committed rows", "status"),
        Metric(FAILURES, "counter", "failed rows", "type"),
        Metric(TOKENS, "counter", "visual tokens of pages (visual) and tokens of answers (new)", "kind"),
        Metric(SECONDS, "counter", "seconds spent on pages, by stage, summed over all processes", "stage"),
        Metric(
            RETENTION, "histogram", "retention of answers", bounds=(0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
        ),
        Metric(
            BUNDLE_SECONDS,
            "histogram",
            "seconds from a rendered bundle to its last commit",
            bounds=(1, 2, 5, 10, 20, 60, 120, 300, 600, 1800),
        ),
        Metric(BUNDLES, "counter", "finished bundles, rendered on the actor's node (here) or elsewhere", "rendered"),
        Metric(IDLE, "counter", "seconds in which actors waited for a rendered bundle"),
        Metric(ACTORS, "gauge", "1 for each actor that has loaded its model"),
        Metric(MEMORY, "gauge", "peak memory of an actor, on its device or host", "where"),
        Metric(LEFT, "gauge", "bundles that the driver has given to Ray and that are not finished"),
    )
}
"""All metrics of docpipe. Their labels have few values, and never the name of a document."""


class Meter:
    """Counts with Ray; every process that counts has one."""

    def __init__(self) -> None:
        from ray.util import metrics as ray_metrics

        def made(metric: Metric) -> Any:
            labels = () if metric.label is None else (metric.label,)
            if metric.kind == "histogram":
                return ray_metrics.Histogram(metric.name, metric.meaning, list(metric.bounds), labels)
            kinds = {"counter": ray_metrics.Counter, "gauge": ray_metrics.Gauge}
            return kinds[metric.kind](metric.name, metric.meaning, labels)

        self._made = {name: made(metric) for name, metric in METRICS.items()}

    def record(self, samples: Iterable[Sample]) -> None:
        """Count some samples; a counter that does not grow is left alone.

        Args:
            samples: the samples.
        """
        for sample in samples:
            metric, made = METRICS[sample.name], self._made[sample.name]
            labels = None if metric.label is None else {metric.label: str(sample.label)}
            if metric.kind == "histogram":
                made.observe(sample.value, labels)
            elif metric.kind == "gauge":
                made.set(sample.value, labels)
            elif sample.value > 0:
                made.inc(sample.value, labels)


def samples_of(result: BundleResult) -> Iterator[Sample]:
    """Tell what a committed part adds to the metrics.

    Args:
        result: rows and page reports of the part.
    """
    answers, pages = result.answers, result.pages
    yield Sample(PAGES, len(pages) + len(_unread(answers)))
    for status, count in Counter(answer.status for answer in answers).items():
        yield Sample(ROWS, count, status)
    for kind, count in Counter(a.failure.error_type for a in answers if a.failure is not None).items():
        yield Sample(FAILURES, count, kind)
    yield Sample(TOKENS, sum(page.visual_tokens for page in pages), "visual")
    yield Sample(TOKENS, sum(answer.new_tokens or 0 for answer in answers), "new")
    for stage in ("render", "vision", "prefix"):
        yield Sample(SECONDS, _seconds(pages, stage), stage)
    for stage in ("prefill", "decode"):
        yield Sample(SECONDS, _seconds(answers, stage), stage)
    for answer in answers:
        if answer.retention is not None:
            yield Sample(RETENTION, answer.retention)
    for where, column in (("device", "peak_memory_bytes"), ("host", "peak_rss_bytes")):
        peaks = [peak for page in pages if (peak := getattr(page, column)) is not None]
        if peaks:
            yield Sample(MEMORY, max(peaks), where)


def _unread(answers: Iterable[PageAnswer]) -> set[tuple[str, int]]:
    """Return the pages that the model never got, of which there is no report."""
    failed = (answer for answer in answers if answer.failure is not None and answer.failure.stage != "infer")
    return {(answer.document_id, answer.page) for answer in failed if answer.page is not None}


def _seconds(costs: Iterable[PageReport | PageAnswer], stage: str) -> float:
    return sum(getattr(cost, f"{stage}_ms") or 0.0 for cost in costs) / 1e3
