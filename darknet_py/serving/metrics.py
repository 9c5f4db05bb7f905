"""What a server counts, for Prometheus: in a registry of its own, not the process-wide one of the client library."""

from __future__ import annotations

from collections.abc import Callable

try:
    import prometheus_client as client
except ImportError as error:
    raise ImportError("serving needs prometheus-client: pip install 'darknet-torch[serve]'") from error

CONTENT_TYPE = client.CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Requests, batches and the queue of one server.

    Args:
        queue_length: returns the number of requests that wait.
    """

    def __init__(self, queue_length: Callable[[], float]) -> None:
        self._registry = client.CollectorRegistry()
        self._requests = client.Counter(
            "darknet_requests", "Requests by endpoint and status", ["path", "code"], registry=self._registry
        )
        self._latency = client.Histogram(
            "darknet_request_seconds",
            "Seconds from a request's header to the end of its answer, streams left out",
            ["path"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._images = client.Counter("darknet_images", "Images that the network has seen", registry=self._registry)
        self._batch_size = client.Histogram(
            "darknet_batch_size", "Images per forward pass", buckets=_SIZES, registry=self._registry
        )
        self._batch_seconds = client.Histogram(
            "darknet_batch_seconds", "Seconds per forward pass and NMS", buckets=_SECONDS, registry=self._registry
        )
        waiting = client.Gauge(
            "darknet_queue_length", "Requests that are decoded or wait for the network", registry=self._registry
        )
        waiting.set_function(queue_length)
        client.ProcessCollector(registry=self._registry)

    def count_request(self, path: str, code: int, seconds: float | None) -> None:
        """Count a request; ``seconds``: its time, None for a stream."""
        self._requests.labels(path, str(code)).inc()
        if seconds is not None:
            self._latency.labels(path).observe(seconds)

    def count_batch(self, size: int, seconds: float) -> None:
        """Count a batch of images."""
        self._images.inc(size)
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def to_text(self) -> bytes:
        """Format all metrics in Prometheus' text format."""
        return client.generate_latest(self._registry)
