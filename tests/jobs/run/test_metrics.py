"""What is counted is what was committed; documents and dashboard name the metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import promql_parser
import pytest

from jobs.run.metrics import METRICS, Meter, Sample, samples_of
from pipeline.records import Bundle, Document, Failure, PageAnswer
from pipeline.results import BundleResult, PageReport
from tests.support.colours import WHITE, make_pdf
from tests.support.markdown import ROOT
from tests.support.ray_apart import run_apart

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/docpipe.json").read_text())
SCHEMA = json.loads((ROOT / "tests/support/grafana_schema.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
EXPORTED = {f"ray_{m.name}{suffix}" for m in METRICS.values() for suffix in SUFFIXES[m.kind]}


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\bray_\w+", expression))


def report(page: int, **more: Any) -> PageReport:
    return PageReport("d", page, 9.0, 9.0, 72.0, 28, 28, 40, render_ms=500.0, **more)


def answer(page: int | None, status: Any, **more: Any) -> PageAnswer:
    return PageAnswer("d", page, "q", "u", status, **more)


def test_a_part_is_counted_by_hand() -> None:
    broken, lost = Failure("render", "RenderCrash", "x"), Failure("infer", "OutOfMemory", "x")
    closed = Failure("open", "EncryptedDocument", "x")
    answers = (
        answer(1, "answered", retention=0.1, new_tokens=5, prefill_ms=200.0, decode_ms=300.0),
        answer(1, "needs_review", retention=0.3, new_tokens=2, prefill_ms=100.0),
        answer(2, "failed", failure=lost),
        answer(3, "failed", failure=broken),
        answer(3, "failed", failure=broken),
        answer(None, "failed", failure=closed),
    )
    pages = (report(1, vision_ms=50.0, peak_rss_bytes=7), report(2, peak_rss_bytes=9))
    bundle = Bundle("b", (Document("d", "d.pdf", "/d.pdf", 1, "1"),), (), (), {})
    assert list(samples_of(BundleResult(bundle, answers, pages))) == [
        Sample("docpipe_pages_total", 3),  # page 3 was never drawn, and has no report
        Sample("docpipe_rows_total", 1, "answered"),
        Sample("docpipe_rows_total", 1, "needs_review"),
        Sample("docpipe_rows_total", 4, "failed"),
        Sample("docpipe_failures_total", 1, "OutOfMemory"),
        Sample("docpipe_failures_total", 2, "RenderCrash"),
        Sample("docpipe_failures_total", 1, "EncryptedDocument"),
        Sample("docpipe_tokens_total", 80, "visual"),
        Sample("docpipe_tokens_total", 7, "new"),
        Sample("docpipe_seconds_total", 1.0, "render"),
        Sample("docpipe_seconds_total", 0.05, "vision"),
        Sample("docpipe_seconds_total", 0.0, "prefix"),
        Sample("docpipe_seconds_total", pytest.approx(0.3), "prefill"),
        Sample("docpipe_seconds_total", 0.3, "decode"),
        Sample("docpipe_retention", 0.1),
        Sample("docpipe_retention", 0.3),
        Sample("docpipe_memory_bytes", 9, "host"),
    ]


def test_ray_takes_every_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter()
    meter.record(Sample(m.name, 1.0, None if m.label is None else "x") for m in METRICS.values())
    meter.record([Sample("docpipe_pages_total", 0)])  # which Ray's counters refuse
    with pytest.raises(KeyError):
        meter.record([Sample("docpipe_colour", 1)])


def test_the_document_lists_the_metrics() -> None:
    text = (ROOT / "docs/observing.md").read_text()
    rows = re.findall(r"^\| `(docpipe_\w+)` \| (\w+) \| (\w*) ?\| (.+) \|$", text, re.MULTILINE)
    assert rows == [(m.name, m.kind, m.label or "", m.meaning) for m in METRICS.values()]


def test_names_are_those_that_prometheus_wants() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"docpipe_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.bounds) == (metric.kind == "histogram")
        assert list(metric.bounds) == sorted(metric.bounds)


def test_grafana_takes_the_dashboard() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(DASHBOARD)
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)  # none lies on another
    assert max(x for x, _ in cells) < 24
    for key in ("gridPos", "targets"):
        broken = {**DASHBOARD, "panels": [{name: value for name, value in panels[0].items() if name != key}]}
        assert not validator.is_valid(broken)
    variables = {f"${variable['name']}" for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert {f"${name}" for name in used if not name.startswith("__")} == variables


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_prometheus_takes_the_expressions(expression: str) -> None:
    whole = expression.replace("$__rate_interval", "5m")
    promql_parser.parse(whole)
    with pytest.raises(ValueError, match="parenthesis"):
        promql_parser.parse(f"sum({whole}")


def test_the_dashboard_shows_every_metric_and_none_that_is_not_there() -> None:
    named = set().union(*map(names_in, EXPRESSIONS))
    ours = {name for name in named if name.startswith("ray_docpipe_")}
    assert ours <= EXPORTED
    assert [name for name in METRICS if not any(shown.startswith(f"ray_{name}") for shown in ours)] == []


@pytest.mark.slow
def test_prometheus_reads_them_from_the_port_of_a_run(tmp_path: Path, tiny_base: Path) -> None:
    """A small run in a process of its own, whose Ray has a port for Prometheus; it is read until the run is over."""
    (tmp_path / "in").mkdir()
    for number in range(4):
        make_pdf(tmp_path / "in" / f"{number}.pdf", [WHITE] * 17)
    (tmp_path / "in" / "broken.pdf").write_bytes(b"no PDF")
    found = json.loads(run_apart("tests.support.scraped_run", str(tmp_path), str(tiny_base)))
    counts, seen = found["counts"], found["samples"]
    assert set().union(*map(names_in, EXPRESSIONS)) <= set(seen)
    assert EXPORTED <= set(seen)
    assert seen["ray_docpipe_pages_total"] == {"": counts["pages"]}
    assert seen["ray_docpipe_rows_total"] == {"answered": counts["answered"], "failed": counts["failed"]}
    assert seen["ray_docpipe_failures_total"] == {"UnsupportedDocument": counts["failed"]}
    assert seen["ray_docpipe_bundles_total"] == {"here": counts["bundles"]}
    assert seen["ray_docpipe_actors"] == {"": 1}
    assert seen["ray_docpipe_bundles_left"] == {"": 0}
