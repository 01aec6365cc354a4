//! What traces count, and the metric that goes their way too.

use opentelemetry::metrics::Meter;

use super::{Metrics, SpanEnd, of};

impl Metrics {
    pub fn spans(&self, end: SpanEnd, spans: usize) {
        let labels = of::trace_spans { outcome: end };
        self.series.trace_spans.get_or_create(&labels).inc_by(u64::try_from(spans).unwrap_or(u64::MAX));
    }

    /// From now on the time from a batch's commit to its merge goes to an OTLP receiver too.
    pub fn export_latency(&self, meter: &Meter) {
        let histogram = meter.f64_histogram("analytics.rollup.latency").with_unit("s");
        let histogram = histogram.with_description("From a batch's commit to its merge, by the database's clock");
        // Set before: a process has one receiver.
        let _ = self.exported_latency.set(histogram.build());
    }
}
