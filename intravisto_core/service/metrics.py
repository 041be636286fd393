"""What a monitor reads of the service, in Prometheus' form. Names of models and kinds of requests, never a text."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        made: Any = {"registry": self._registry}
        self.jobs = Counter("intravisto_jobs", "Jobs that have ended", ["model", "kind", "state"], **made)
        self.seconds = Histogram(
            "intravisto_job_seconds", "From a job's arrival to its end", ["model", "kind"], buckets=SECONDS, **made
        )
        self.tokens = Counter("intravisto_tokens", "Tokens run through a model", ["model"], **made)
        self.bytes = Counter("intravisto_answer_bytes", "Bytes of answers", ["model"], **made)
        self.open_jobs = Gauge("intravisto_open_jobs", "Jobs that wait or run", **made)
        self.kept_bytes = Gauge("intravisto_kept_bytes", "Bytes of answers that wait to be fetched", **made)
        self.refused = Counter("intravisto_refused", "Requests refused, by status", ["status"], **made)
        self.again = Counter("intravisto_again", "Jobs begun again after a replica was lost", **made)

    def write(self) -> bytes:
        """All of them as text."""
        return generate_latest(self._registry)
