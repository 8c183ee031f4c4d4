"""Spans of a run: chosen by OpenTelemetry's own variables, one per bundle, and nothing of a document in them."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from jobs.run.job import run_job
from jobs.run.tracing import Tracing, tracing_from_environment
from pipeline.errors import UsageError
from tests.support.colours import WHITE, load_colours, make_pdf
from tests.support.engines import QUESTIONS, settings_of
from tests.support.http_server import served

VARIABLES = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_SDK_DISABLED",
)


@pytest.fixture(autouse=True)
def _off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def in_memory() -> tuple[Tracing, InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider), exporter


@pytest.mark.parametrize(
    ("given", "on"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_the_standard_variables_choose(given: dict[str, str], on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**given, "OTEL_TRACES_SAMPLER": "always_off"}.items():  # nobody listens there
        monkeypatch.setenv(name, value)
    tracing = tracing_from_environment()
    with tracing.span("run", {}) as span:
        assert bool(span.carrier()) == on
    tracing.close()


def test_off_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    tracing = tracing_from_environment()
    with tracing.span("run", {}, run="r") as span:
        span.note(pages=3)
        assert span.carrier() == {}
    tracing.close()


def test_what_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(UsageError, match="an exporter that is installed, found 'zipkin'; install the extra `tracing`"):
        tracing_from_environment()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")  # the extra has the other
    with pytest.raises(UsageError, match="found 'otlp_proto_grpc'"):
        tracing_from_environment()
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(UsageError, match=r"=otlp needs opentelemetry.sdk.trace; install the extra `tracing`"):
        tracing_from_environment()


def test_a_bundle_is_a_child_of_the_run_and_an_error_is_its_type() -> None:
    driver, first = in_memory()
    actor, second = in_memory()
    with driver.span("run", {}, run="r", pages=4) as run:
        carried = run.carrier()
        with pytest.raises(ZeroDivisionError), actor.span("bundle", carried, bundle="b"):
            raise ZeroDivisionError("secret of page 3")
    (outer,), (inner,) = first.get_finished_spans(), second.get_finished_spans()
    assert (outer.name, dict(outer.attributes or {})) == ("docpipe.run", {"docpipe.run": "r", "docpipe.pages": 4})
    assert (inner.name, dict(inner.attributes or {})) == ("docpipe.bundle", {"docpipe.bundle": "b"})
    assert outer.context is not None
    assert inner.parent is not None
    assert (inner.parent.span_id, inner.context.trace_id) == (outer.context.span_id, outer.context.trace_id)
    assert (inner.status.status_code, inner.status.description) == (StatusCode.ERROR, "ZeroDivisionError")
    assert inner.events == ()
    assert outer.status.status_code is StatusCode.UNSET


def test_a_run_has_one_span_and_one_below_it_per_bundle(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing, exporter = in_memory()
    for module in ("job", "loop_engine"):
        monkeypatch.setattr(f"jobs.run.{module}.tracing_from_environment", lambda: Tracing(tracing._provider))
    monkeypatch.setattr(Tracing, "close", lambda _: None)
    (tmp_path / "in").mkdir()
    for name in ("first.pdf", "second.pdf"):
        make_pdf(tmp_path / "in" / name, [WHITE] * 17)
    run = settings_of(tmp_path / "in", tmp_path / "out", "local", tiny_base)
    report = run_job(run, QUESTIONS, load=load_colours)
    *bundles, whole = exporter.get_finished_spans()
    assert [span.name for span in bundles] == ["docpipe.bundle"] * 2
    assert whole.context is not None
    for span in bundles:
        assert span.parent is not None
        assert span.parent.span_id == whole.context.span_id
        found = dict(span.attributes or {})
        assert (found["docpipe.run"], found["docpipe.pages"], found["docpipe.attempt"]) == (report["run_id"], 17, 1)
    assert dict(whole.attributes or {}) == {
        "docpipe.run": report["run_id"],
        "docpipe.engine": "local",
        "docpipe.pages": 34,
    }
    assert "first" not in "".join(span.to_json() for span in (*bundles, whole))


class Collector(BaseHTTPRequestHandler):
    """A collector that keeps what it is sent."""

    received: list[tuple[str, ExportTraceServiceRequest]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_collector_gets_the_spans(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Collector.received = []
    (tmp_path / "in").mkdir()
    make_pdf(tmp_path / "in" / "a.pdf", [WHITE])
    with served(Collector) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        run_job(settings_of(tmp_path / "in", tmp_path / "out", "local", tiny_base), QUESTIONS, load=load_colours)
    assert {path for path, _ in Collector.received} == {"/v1/traces"}
    sent = [
        span
        for _, request in Collector.received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(span.name for span in sent) == ["docpipe.bundle", "docpipe.run"]
    assert len({span.trace_id for span in sent}) == 1
