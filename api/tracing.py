"""OpenTelemetry traces, by the official instrumentations; off unless the setting `tracing` is on.

Where they are sent, and how many, is said by OpenTelemetry's own environment variables, such as
OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_TRACES_SAMPLER.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from brainformer.search.errors import EnvironmentProblem

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.sdk.trace.export import SpanExporter
    from sqlalchemy import Engine

SERVICE = "brainformer-controller"
NOT_TRACED = "healthz,readyz,metrics,assets"  # asked for all the time, and always the same


def trace(
    app: FastAPI, engines: list[Engine], *, exporter: SpanExporter | None = None
) -> Callable[[], None]:
    """Traces every request and every statement; returns what ends that.

    Args:
        app: The controller's.
        engines: Of its database.
        exporter: Of the spans; by default OTLP over HTTP, by the environment.

    Raises:
        EnvironmentProblem: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    except ImportError as error:
        raise EnvironmentProblem(
            f"the setting tracing needs OpenTelemetry ({error.name} is not installed)",
            "pip install 'brainformer-search[otel]', or turn the setting off",
        ) from None
    named = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE)})
    provider = TracerProvider(resource=named)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter())
        if exporter is None
        else SimpleSpanProcessor(exporter)
    )
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=provider, excluded_urls=NOT_TRACED, exclude_spans=["send", "receive"]
    )
    statements = SQLAlchemyInstrumentor()
    # It names SQLAlchemy below 2.1 as what it knows; a test holds that 2.1 is traced too.
    statements.instrument(engines=engines, tracer_provider=provider, skip_dep_check=True)

    def end() -> None:
        FastAPIInstrumentor.uninstrument_app(app)
        statements.uninstrument()
        provider.shutdown()

    return end
