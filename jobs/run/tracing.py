"""Traces a run with OpenTelemetry, where its standard environment variables ask for it.

Spans name bundles, statuses and types of failures, and nothing of a document.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_INSTALL = "install the extra `tracing`, or unset the variable"


class Span:
    """A span that is open, or none where nothing is traced.

    Args:
        span: span of OpenTelemetry; ``None`` where nothing is traced.
    """

    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, **attributes: str | int | float) -> None:
        """Add attributes, whose names then begin with ``docpipe.``."""
        if self._span is not None:
            self._span.set_attributes({f"docpipe.{name}": value for name, value in attributes.items()})

    def carrier(self) -> dict[str, str]:
        """Return what another process needs to make its spans children of this one."""
        carried: dict[str, str] = {}
        if self._span is not None:
            from opentelemetry.trace import set_span_in_context
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            TraceContextTextMapPropagator().inject(carried, set_span_in_context(self._span))
        return carried


class Tracing:
    """Makes the spans of one process.

    Args:
        provider: provider of OpenTelemetry, which sends spans to their exporter; ``None`` to trace nothing.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider

    @contextmanager
    def span(self, name: str, parent: Mapping[str, str], **attributes: str | int | float) -> Iterator[Span]:
        """Open a span; an exception marks it with its type, and not with its message, which may name a document.

        Args:
            name: name behind ``docpipe.``.
            parent: result of :meth:`Span.carrier` of the span around it; empty for none.
            **attributes: first attributes, as in :meth:`Span.note`.

        Raises:
            BaseException: whatever the body raises.
        """
        if self._provider is None:
            yield Span(None)
            return
        from opentelemetry.trace import StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(parent)
        opened = self._provider.get_tracer("docpipe").start_span(f"docpipe.{name}", context)
        span = Span(opened)
        span.note(**attributes)
        try:
            yield span
        except BaseException as error:
            opened.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            opened.end()

    def close(self) -> None:
        """Send what has not been sent yet."""
        if self._provider is not None:
            self._provider.shutdown()


def tracing_from_environment() -> Tracing:
    """Trace if ``OTEL_TRACES_EXPORTER`` or an OTLP endpoint is set; the SDK reads the other variables itself.

    Raises:
        UsageError: the variables ask for an exporter that is not installed.
    """
    asked = os.environ.get("OTEL_TRACES_EXPORTER") or ("otlp" if any(map(os.environ.get, _ENDPOINTS)) else "none")
    if asked == "none" or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Tracing(None)
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UsageError(f"OTEL_TRACES_EXPORTER={asked} needs {error.name}; {_INSTALL}") from error
    provider = TracerProvider()
    for name in asked.split(","):
        provider.add_span_processor(BatchSpanProcessor(_exporter(name.strip())))
    return Tracing(provider)


def _exporter(name: str) -> Any:
    if name == "otlp":
        protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), "http/protobuf")
        name = _OTLP.get(protocol, protocol)
    found = [point for point in entry_points(group="opentelemetry_traces_exporter") if point.name == name]
    if not found:
        raise UsageError(f"OTEL_TRACES_EXPORTER: expected an exporter that is installed, found {name!r}; {_INSTALL}")
    try:
        return found[0].load()()
    except ImportError as error:
        raise UsageError(f"OTEL_TRACES_EXPORTER={name} needs {error.name}; {_INSTALL}") from error
