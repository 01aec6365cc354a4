//! Traces: spans that go to an OTLP receiver. Off where `otlp.endpoint` is empty: nothing is recorded or sent then.
//!
//! A span is an ordinary `tracing` span that declares a field `otel.kind`; those without are context of log lines alone, and what
//! libraries trace is never sent. `spans` makes those of the service, `sampler` decides which are recorded, `exporter` bounds and
//! counts what waits. A receiver that is away, slow or lies costs spans and nothing else: they are handed over without waiting,
//! and sent by a thread and a runtime of their own.

mod exporter;
mod sampler;
pub mod spans;

use std::{
    collections::HashMap,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use opentelemetry::{KeyValue, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_otlp::{
    MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::{self, Runtime};
use tonic::{
    metadata::{AsciiMetadataKey, MetadataMap},
    transport::ClientTlsConfig,
};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{Layer, filter, registry::LookupSpan};

use self::{exporter::bounded, sampler::Sampler};
use super::metrics::Metrics;
use crate::config::Otlp;

/// The name under which operators find the service, and the library that made the spans.
const SERVICE: &str = "analytics-service";
/// Attempts beyond the first where one may succeed later. Meanwhile spans wait, and beyond the queue they are dropped.
const RETRIES: usize = 2;
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How often metrics are sent.
const METRICS_EVERY: Duration = Duration::from_secs(30);

/// An exporter of one signal: the library has a type for each, and its builders one for each protocol.
macro_rules! exporter {
    ($of:ty, $signal:literal, $settings:expr) => {{
        let (settings, builder): (&Otlp, _) = ($settings, <$of>::builder());
        let built = match settings.protocol.as_str() {
            "http" => builder
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{}/{}", settings.endpoint.trim_end_matches('/'), $signal))
                .with_timeout(settings.timeout())
                .with_headers(headers(settings))
                .with_retry_policy(retries())
                .build(),
            _ => builder
                .with_tonic()
                .with_endpoint(settings.endpoint.as_str())
                .with_timeout(settings.timeout())
                .with_metadata(metadata(settings)?)
                .with_tls_config(tls(settings))
                .with_retry_policy(retries())
                .build(),
        };
        built.context("otlp")?
    }};
}

/// What sends spans and metrics to the receiver, for as long as the process lives.
pub struct Exports {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    /// gRPC's connection lives on it. The actors' runtimes have one thread each, which may wait for the export itself at the end.
    runtime: Runtime,
    flush: Duration,
}

impl Exports {
    /// None where there is no receiver.
    ///
    /// # Errors
    /// What of the settings the exporter does not take.
    pub fn start(settings: &Otlp, process: &str, metrics: &Metrics) -> anyhow::Result<Option<Self>> {
        if settings.endpoint.is_empty() {
            return Ok(None);
        }
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).thread_name("otlp").enable_all().build();
        let runtime = runtime.context("otlp: its runtime")?;
        let entered = runtime.enter();
        let resource = resource(process);
        let spans = bounded(exporter!(SpanExporter, "v1/traces", settings), settings.queue, metrics.clone());
        let sampler = Sampler::new(settings.sample_ratio, settings.requested_per_second);
        let tracers = SdkTracerProvider::builder()
            .with_span_processor(spans)
            .with_sampler(sampler)
            .with_resource(resource.clone())
            .build();
        let reader = PeriodicReader::builder(exporter!(MetricExporter, "v1/metrics", settings))
            .with_interval(METRICS_EVERY)
            .build();
        let meters = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        metrics.export_latency(&meters.meter(SERVICE));
        drop(entered);
        Ok(Some(Self { tracers, meters, runtime, flush: settings.flush() }))
    }

    /// The layer that records spans. It sees those that declare their kind, whatever the log's filter says.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer: SdkTracer = self.tracers.tracer(SERVICE);
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(filter::filter_fn(is_exported).with_max_level_hint(Level::DEBUG))
    }

    /// Sends what waits, within `otlp.flush_ms`. Not on a thread of an actor.
    pub fn end(self) {
        let until = Instant::now() + self.flush;
        // Beside the spans, and left where it takes longer: the library waits five seconds, whatever it is given.
        let (ended, wait) = mpsc::channel();
        let meters = self.meters;
        let metrics = thread::spawn(move || ended.send(meters.shutdown()));
        if let Err(error) = self.tracers.shutdown_with_timeout(self.flush) {
            tracing::warn!(%error, "spans were left when the process ended");
        }
        let left = until.saturating_duration_since(Instant::now());
        if !matches!(wait.recv_timeout(left), Ok(Ok(()))) {
            tracing::debug!("metrics were left when the process ended");
        }
        drop(metrics);
        self.runtime.shutdown_background();
    }
}

/// Whether a span is one that is sent.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.fields().field(spans::KIND).is_some()
}

fn resource(process: &str) -> Resource {
    Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", process.to_owned()),
        ])
        .build()
}

fn retries() -> RetryPolicy {
    RetryPolicy::disabled().with_max_retries(RETRIES).with_initial_delay(RETRY_AFTER).with_max_delay(RETRY_AFTER * 2)
}

/// Without TLS no root is needed: an image without certificates has none.
fn tls(settings: &Otlp) -> ClientTlsConfig {
    let tls = ClientTlsConfig::new();
    if settings.endpoint.starts_with("https:") { tls.with_native_roots() } else { tls }
}

fn headers(settings: &Otlp) -> HashMap<String, String> {
    let pairs = settings.header_pairs().unwrap_or_default();
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn metadata(settings: &Otlp) -> anyhow::Result<MetadataMap> {
    let mut metadata = MetadataMap::new();
    for (name, value) in settings.header_pairs().unwrap_or_default() {
        // Neither is quoted in the error: the value is a secret, and may stand where the name should.
        let name: AsciiMetadataKey = name.to_ascii_lowercase().parse().ok().context("otlp.headers: a name is none")?;
        metadata.insert(name, value.parse().ok().context("otlp.headers: a value is none")?);
    }
    Ok(metadata)
}
