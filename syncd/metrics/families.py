"""A snapshot into what Prometheus reads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from syncd.metrics.snapshot import Snapshot
from syncd.metrics.table import METRICS, Kind, Labels, Metric
from syncd.tally import Spread

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class _Collected(Collector):
    """Families that are there already."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Sequence[Family]:
        return self._families


def snapshot_to_text(snapshot: Snapshot) -> bytes:
    """In Prometheus's text format."""
    return generate_latest(_Collected(list(snapshot_to_families(snapshot))))


def snapshot_to_families(snapshot: Snapshot) -> Iterator[Family]:
    """One of every metric, in the order of the table."""
    return (_family(metric, snapshot) for metric in METRICS)


def _family(metric: Metric, snapshot: Snapshot) -> Family:
    samples = metric.read(snapshot)
    if metric.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, spread in samples.items():
            if isinstance(spread, Spread):
                histogram.add_metric(_writable(labels), _buckets(spread), spread.total)
        return histogram
    of_kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = of_kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples.items():
        if not isinstance(value, Spread):
            family.add_metric(_writable(labels), float(value))
    return family


def _writable(labels: Labels) -> Labels:
    """What is no text is escaped; the library does the rest."""
    return tuple(value.encode("utf-8", "backslashreplace").decode("utf-8") for value in labels)


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    """Prometheus counts in each bucket also what lies in the lower ones."""
    bounds = (*(str(bound) for bound in spread.bounds), "+Inf")
    return list(zip(bounds, accumulate(spread.counts), strict=True))
