"""What is counted, under Prometheus' rules of naming. No part, station or file is a label: those are without number."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self.inspections = Counter(
            "weakspot_inspections", "Pictures answered.", ["decision", "model"], registry=registry
        )
        self.seconds = Histogram(
            "weakspot_inspection_duration_seconds", "From accepted to on disk.", buckets=_SECONDS, registry=registry
        )
        self.refused = Counter("weakspot_refused", "Requests refused.", ["reason"], registry=registry)
        self.queue = Gauge("weakspot_queue_length", "Pictures waiting or at work.", registry=registry)
        self.free = Gauge("weakspot_data_free_bytes", "Free space where data lie.", registry=registry)
        self.model = Gauge("weakspot_model_info", "The active model.", ["name", "sha256"], registry=registry)
        self._registry = registry

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return bytes(generate_latest(self._registry))
