//! An OTLP receiver as others build it: gRPC by `tonic`, HTTP by `hyper`, both with the messages of the protocol's own definition.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request as Call, Response as Reply, Status, transport::Server};

/// What has come, and with which headers.
#[derive(Debug, Default)]
pub struct Received {
    pub spans: Vec<Span>,
    /// Attributes of what sent them.
    pub resource: Vec<KeyValue>,
    /// Names of metrics.
    pub metrics: Vec<String>,
    pub headers: Vec<(String, String)>,
}

impl Received {
    pub fn named(&self, name: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.name == name).collect()
    }

    pub fn children(&self, parent: &Span) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.parent_span_id == parent.span_id).collect()
    }
}

/// The attribute as text, whatever it is.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|one| one.key == key)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

/// Listens on both protocols, each on a port of its own.
pub struct OtlpReceiver {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    received: Shared,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Received>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap()
    }

    fn take_spans(&self, request: ExportTraceServiceRequest) {
        let mut received = self.lock();
        for resource in request.resource_spans {
            received.resource = resource.resource.unwrap().attributes;
            received.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }

    fn take_metrics(&self, request: ExportMetricsServiceRequest) {
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name);
        self.lock().metrics.extend(names);
    }
}

impl OtlpReceiver {
    pub async fn start() -> Self {
        let received = Shared::default();
        let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = (grpc.local_addr().unwrap(), http.local_addr().unwrap());
        let server = Server::builder()
            .add_service(TraceServiceServer::new(received.clone()))
            .add_service(MetricsServiceServer::new(received.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(grpc)));
        tokio::spawn(serve_http(http, received.clone()));
        Self { grpc: addresses.0, http: addresses.1, received }
    }

    /// What has come so far.
    pub fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock()
    }
}

#[tonic::async_trait]
impl TraceService for Shared {
    async fn export(&self, call: Call<ExportTraceServiceRequest>) -> Result<Reply<ExportTraceServiceResponse>, Status> {
        let headers = call.metadata().clone().into_headers();
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        self.lock().headers = headers.collect();
        self.take_spans(call.into_inner());
        Ok(Reply::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Shared {
    async fn export(
        &self,
        call: Call<ExportMetricsServiceRequest>,
    ) -> Result<Reply<ExportMetricsServiceResponse>, Status> {
        self.take_metrics(call.into_inner());
        Ok(Reply::new(ExportMetricsServiceResponse::default()))
    }
}

async fn serve_http(listener: TcpListener, received: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = received.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(request, received.clone()));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    request: Request<hyper::body::Incoming>,
    received: Shared,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let status = match head.uri.path() {
        "/v1/traces" => {
            let headers =
                head.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
            received.lock().headers = headers.collect();
            received.take_spans(ExportTraceServiceRequest::decode(body).unwrap());
            200
        }
        "/v1/metrics" => {
            received.take_metrics(ExportMetricsServiceRequest::decode(body).unwrap());
            200
        }
        _ => 404,
    };
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}
