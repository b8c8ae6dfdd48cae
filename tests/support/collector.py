"""A collector of traces: takes OTLP over HTTP, as a real one does, and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Span:
    """A span as it arrived, with its ids in hexadecimal digits."""

    service: str
    """Its process, by the name of the role."""
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first one of a trace."""
    began: int
    ended: int
    """Nanoseconds since the epoch."""
    failed: bool
    kind: str
    attributes: dict[str, object]
    links: tuple[str, ...]
    """Ids of spans."""


class Collector:
    """What has arrived so far."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.requests: list[dict[str, str]] = []
        """The headers of each, by names in small letters."""
        self.url = ""

    def named(self, *names: str) -> list[Span]:
        """Return the spans of some names."""
        return [span for span in self.spans if span.name in names]

    def tree(self, trace_id: str) -> list[str]:
        """Return a trace as lines, the children below their parents and indented, in the order in which they began."""
        spans = sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.began)
        return list(_lines(spans, "", ""))


def _lines(spans: Sequence[Span], parent_id: str, indent: str) -> Iterator[str]:
    for span in spans:
        if span.parent_id == parent_id:
            yield f"{indent}{span.service}: {span.name}"
            yield from _lines(spans, span.span_id, indent + "  ")


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """Run a collector on a port of this machine, or on any."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.requests.append({name.lower(): value for name, value in self.headers.items()})
            if self.path == "/v1/traces":
                collector.spans += _read(body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


def _read(body: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    service=str(about["service.name"]),
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    failed=span.status.code == Status.STATUS_CODE_ERROR,
                    kind=WireSpan.SpanKind.Name(span.kind),
                    attributes=_attributes(span.attributes),
                    links=tuple(link.span_id.hex() for link in span.links),
                )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
