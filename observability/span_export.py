"""Sends spans to a collector, and says in one line when it takes none and when it takes them again.

Imported only if there is a collector: the SDK takes time and memory.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from observability.logs import one_line

logger = logging.getLogger(__name__)

EXPORT_SECONDS = 3.0
"""For the collector to take a batch of spans; one that hangs must not hold up the end of a process."""

MAX_REASON = 300
"""Characters."""


class _FirstWords(logging.Filter):
    """Keeps the first line that the library logs about a batch instead of letting it log one for each attempt."""

    words = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.words = self.words or record.getMessage()
        return False


_first_words = _FirstWords()  # one for all: a logger asks no filter after one that drops a line


class ReportingExporter(OTLPSpanExporter):
    """The library's exporter, but for its log lines."""

    def __init__(self, url: str, headers: Mapping[str, str] | None) -> None:
        """Take the collector's base address, and what it is shown with each request."""
        super().__init__(endpoint=f"{url}/v1/traces", headers=headers, timeout=EXPORT_SECONDS)
        self._works = True
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(_first_words)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that the collector does not take in time are lost."""
        _first_words.words = ""
        result = super().export(spans)
        works = result is SpanExportResult.SUCCESS
        if works and not self._works:
            logger.info("the collector takes traces again")
        if self._works and not works:
            reason = one_line(_first_words.words, MAX_REASON)
            logger.warning("the collector takes no traces, which are lost until it does: %s", reason)
        self._works = works
        return result


def make_provider(names: Mapping[str, str], url: str, headers: Mapping[str, str] | None) -> TracerProvider:
    """Return what makes spans and sends them to a collector.

    Args:
        names: what the process is called, as attributes of its resource.
        url: the collector's base address.
        headers: what it is shown with each request.
    """
    provider = TracerProvider(resource=Resource.create(dict(names)))
    provider.add_span_processor(BatchSpanProcessor(ReportingExporter(url, headers)))
    return provider
