"""Prometheus metrics of one server, in a registry of its own."""

import functools

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
        gauge = functools.partial(Gauge, registry=self.registry)
        histogram = functools.partial(Histogram, registry=self.registry)
        seconds = functools.partial(histogram, buckets=_LATENCY_BUCKETS_SECONDS)
        of_request, of_call = ["protocol", "method"], ["model", "signature"]
        of_version = ["model", "version"]
        self.requests = Counter(
            "mmstack_requests", "Requests answered", [*of_request, "code"], registry=self.registry
        )
        meaning = "Time from the whole request read to the reply made"
        self.latency_seconds = seconds("mmstack_request_latency_seconds", meaning, of_request)
        meaning = "Time of one call of the graph"
        self.graph_seconds = seconds("mmstack_graph_seconds", meaning, of_call)
        sizes, meaning = (1, 2, 4, 8, 16, 32, 64, 128, 256), "Rows in one call of the graph"
        self.batch_rows = histogram("mmstack_batch_rows", meaning, of_call, buckets=sizes)
        self.queue_length = gauge("mmstack_queue_length", "Requests waiting for the graph")
        meaning = "1 while a version answers requests"
        self.version_available = gauge("mmstack_model_version_available", meaning, of_version)
        meaning = "Time to load and warm a version"
        self.load_seconds = gauge("mmstack_model_load_seconds", meaning, of_version)

    def observe(self, protocol: str, method: str, code: str, seconds: float) -> None:
        """Counts one answered request."""
        self.requests.labels(protocol, method, code).inc()
        self.latency_seconds.labels(protocol, method).observe(seconds)

    def render(self) -> bytes:
        """The page in Prometheus text format."""
        return prometheus_client.generate_latest(self.registry)
