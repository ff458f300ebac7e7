"""Prometheus metrics of one server, in a registry of its own."""

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_LATENCY_BUCKETS_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


class Metrics:
    """Counters of requests, time, batches, queue and versions."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mmstack_requests",
            "Requests answered",
            ["protocol", "method", "code"],
            registry=self.registry,
        )
        self.latency_seconds = Histogram(
            "mmstack_request_latency_seconds",
            "Time from the whole request read to the reply made",
            ["protocol", "method"],
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.graph_seconds = Histogram(
            "mmstack_graph_seconds",
            "Time of one call of the graph",
            ["model", "signature"],
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "mmstack_batch_rows",
            "Rows in one call of the graph",
            ["model", "signature"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.queue_length = Gauge(
            "mmstack_queue_length", "Requests waiting for the graph", registry=self.registry
        )
        self.version_available = Gauge(
            "mmstack_model_version_available",
            "1 while a version answers requests",
            ["model", "version"],
            registry=self.registry,
        )
        self.load_seconds = Gauge(
            "mmstack_model_load_seconds",
            "Time to load and warm a version",
            ["model", "version"],
            registry=self.registry,
        )

    def observe(self, protocol: str, method: str, code: str, seconds: float) -> None:
        """Counts one answered request."""
        self.requests.labels(protocol, method, code).inc()
        self.latency_seconds.labels(protocol, method).observe(seconds)

    def render(self) -> bytes:
        """The page in Prometheus text format."""
        return prometheus_client.generate_latest(self.registry)
