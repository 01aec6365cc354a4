//! What waits to be sent, bounded and counted: each recorded span ends as exported, dropped or failed.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};

use crate::telemetry::metrics::{Metrics, SpanEnd};

/// Spans of one message to the receiver.
const BATCH: usize = 512;
/// How long the first of them waits for others.
const LINGER: Duration = Duration::from_secs(1);

/// The library's processor behind a bound of our own: its queue drops without counting.
pub fn bounded(exporter: impl SpanExporter + 'static, queue: usize, metrics: Metrics) -> impl SpanProcessor {
    let open = Open(Arc::default());
    let counted =
        Counted { inner: exporter, open: open.clone(), metrics: metrics.clone(), fails: AtomicBool::default() };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(queue)
        .with_max_export_batch_size(BATCH.min(queue))
        .with_scheduled_delay(LINGER)
        .build();
    let inner = BatchSpanProcessor::builder(counted).with_batch_config(config).build();
    Bounded { inner, open, queue, metrics }
}

/// Spans that were taken and are neither exported nor failed.
#[derive(Clone, Debug)]
struct Open(Arc<AtomicUsize>);

struct Bounded<P> {
    inner: P,
    open: Open,
    queue: usize,
    metrics: Metrics,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        // Those that are being sent are in no queue, so what is let through always finds room.
        if self.open.0.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.open.0.fetch_sub(1, Ordering::Relaxed);
            self.metrics.spans(SpanEnd::Dropped, 1);
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: fmt::Debug> fmt::Debug for Bounded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bounded").field(&self.inner).finish()
    }
}

struct Counted<E> {
    inner: E,
    open: Open,
    metrics: Metrics,
    /// Whether the last attempt failed: it is said once, not at every attempt.
    fails: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.open.0.fetch_sub(spans, Ordering::Relaxed);
        let failed_before = self.fails.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Ok(()) => {
                self.metrics.spans(SpanEnd::Exported, spans);
                if failed_before {
                    tracing::info!("spans are sent again");
                }
            }
            Err(error) => {
                self.metrics.spans(SpanEnd::Failed, spans);
                if !failed_before {
                    tracing::warn!(%error, "spans cannot be sent; events and requests are not affected");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: fmt::Debug> fmt::Debug for Counted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counted").field(&self.inner).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::{error::OTelSdkError, trace::SdkTracerProvider};

    use super::*;
    use crate::telemetry::metrics::Format;

    /// What came of each batch is sent to it.
    struct Receiver(std::sync::Mutex<mpsc::Receiver<OTelSdkResult>>);

    impl fmt::Debug for Receiver {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Receiver")
        }
    }

    impl SpanExporter for Receiver {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().recv().unwrap()
        }
    }

    fn counted(metrics: &Metrics, outcome: &str) -> u64 {
        let text = metrics.encode(Format::OpenMetrics).unwrap();
        let series = format!("analytics_trace_spans_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }

    #[test]
    fn each_span_is_exported_dropped_or_failed() {
        let metrics = Metrics::default();
        let (say, said) = mpsc::channel();
        let processor = bounded(Receiver(std::sync::Mutex::new(said)), 8, metrics.clone());
        let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
        let tracer = provider.tracer("test");
        // The receiver hangs: eight wait, in its hands or before it, and further ones are dropped without a wait.
        (0..20).for_each(|_| drop(tracer.start("span")));
        assert_eq!(counted(&metrics, "dropped"), 12);
        say.send(Err(OTelSdkError::InternalFailure("refused".to_owned()))).unwrap();
        (0..8).for_each(|_| say.send(Ok(())).unwrap());
        provider.force_flush().unwrap_or_default();
        let (exported, failed) = (counted(&metrics, "exported"), counted(&metrics, "failed"));
        assert!(failed > 0 && exported + failed == 8, "{exported} and {failed}");
        drop(tracer.start("span"));
        provider.force_flush().unwrap_or_default();
        assert_eq!(counted(&metrics, "dropped"), 12, "there is room again");
    }
}
