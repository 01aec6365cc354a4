//! Object stores of one test: an S3 server of its own (s3s-fs, with real signatures), which can be made to fail, and a local
//! folder. Both go when they are dropped.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use analytics_service::{
    config::{self, Settings},
    objects::Objects,
};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use s3s::{
    Body,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch};

use super::files::below;

pub const BUCKET: &str = "exports";
/// Allowed beside the first.
pub const SECOND_BUCKET: &str = "tenant-exports";
const KEY_ID: &str = "AKIATESTS";
const SECRET: &str = "a-secret-that-nobody-may-see";

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An object by one request.
    Put,
    /// Begins a multipart upload.
    Begin,
    /// Its part of that number, from 1.
    Part(u32),
    Complete,
    Abort,
    /// Reading, listing, deleting.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Answers so, and does nothing.
    Status(u16),
    /// Does it, and closes the connection in place of the answer.
    Lost,
    /// Does it after a while.
    Slow(Duration),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub asked: Asked,
    pub headers: HeaderMap,
}

/// An S3 server with two buckets.
pub struct S3Server {
    pub address: SocketAddr,
    folder: TempDir,
    state: Arc<Mutex<State>>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    refusing: bool,
    /// What happens to the next so many requests of a kind.
    faults: Vec<(Asked, Fault, usize)>,
    seen: Vec<Seen>,
}

impl S3Server {
    pub fn start() -> Self {
        // Already there where another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        for bucket in [BUCKET, SECOND_BUCKET] {
            std::fs::create_dir(folder.path().join(bucket)).unwrap();
        }
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = watch::channel(false);
        let state = Arc::<Mutex<State>>::default();
        let fixture = CommitFixture { s3: builder.build(), state: Arc::clone(&state), root: folder.path().into() };
        // A thread and a runtime of its own, so that it goes on while the test is busy.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(fixture.serve(listener, ended));
        });
        Self { address, folder, state, end, thread: Some(thread) }
    }

    /// What a service is started with to use it: settings, and credentials as they usually come.
    pub fn variables(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        let settings = [
            ("STORE", "s3"),
            ("BUCKET", BUCKET),
            ("ALLOWED_BUCKETS", SECOND_BUCKET),
            ("ENDPOINT", &endpoint),
            ("REGION", "eu-test-1"),
            ("PATH_STYLE", "true"),
            ("ALLOW_HTTP", "true"),
            ("PART_BYTES", "5242880"),
        ];
        let credentials = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
        let settings = settings.map(|(key, value)| (format!("ANALYTICS__OBJECTS__{key}"), value.to_owned()));
        settings.into_iter().chain(credentials.map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
    }

    pub fn settings(&self) -> config::Objects {
        objects_settings(self.variables())
    }

    pub fn objects(&self) -> Objects {
        self.objects_with(&self.settings())
    }

    /// With other settings, but these credentials.
    pub fn objects_with(&self, settings: &config::Objects) -> Objects {
        Objects::with_environment(settings, self.variables()).unwrap()
    }

    /// What the next so many requests of a kind meet.
    pub fn fault(&self, asked: Asked, fault: Fault, times: usize) {
        self.state.lock().unwrap().faults.push((asked, fault, times));
    }

    /// Closes all connections, present and new, until [`S3Server::heal`].
    pub fn refuse(&self) {
        self.state.lock().unwrap().refusing = true;
    }

    /// Removes all faults.
    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        (state.refusing, state.faults) = (false, Vec::new());
    }

    /// Requests that came so far, those that met a fault too.
    pub fn seen(&self, asked: Asked) -> Vec<Seen> {
        self.state.lock().unwrap().seen.iter().filter(|seen| seen.asked == asked).cloned().collect()
    }

    /// Makes all objects that are there so much older.
    pub fn age(&self, by: Duration) {
        let then = std::time::SystemTime::now() - by;
        for file in below(self.folder.path()) {
            std::fs::File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
        }
    }

    /// Files that the server keeps for uploads which are neither completed nor aborted.
    pub fn unfinished(&self) -> Vec<String> {
        let names = names_below(self.folder.path()).into_iter();
        names.filter(|name| name.contains(".upload-") || name.contains(".upload_id-")).collect()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The server's side that runs on its thread.
#[derive(Clone)]
struct CommitFixture {
    s3: S3Service,
    state: Arc<Mutex<State>>,
    root: Arc<Path>,
}

impl CommitFixture {
    async fn serve(self, listener: std::net::TcpListener, mut ended: watch::Receiver<bool>) {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => continue,
                },
                _ = ended.wait_for(|ended| *ended) => return,
            };
            if self.state.lock().unwrap().refusing {
                let _ = stream.set_zero_linger();
                continue;
            }
            let fixture = self.clone();
            let answer = service_fn(move |request| fixture.clone().answer(request));
            tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await });
        }
    }

    /// An error closes the connection.
    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Body>, String> {
        let asked = asked(&request);
        let fault = {
            let mut state = self.state.lock().unwrap();
            if state.refusing {
                return Err("refused".to_owned());
            }
            state.seen.push(Seen { asked, headers: request.headers().clone() });
            let fault = state.faults.iter_mut().find(|(kind, _, left)| *kind == asked && *left > 0);
            fault.map(|(_, fault, left)| {
                *left -= 1;
                *fault
            })
        };
        match fault {
            Some(Fault::Status(status)) => {
                read_to_end(&mut request).await;
                return Ok(refusal(status, if status == 403 { "AccessDenied" } else { "InternalError" }));
            }
            Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::Lost) | None => {}
        }
        if let Some(code) = self.lacks(&request) {
            read_to_end(&mut request).await;
            return Ok(refusal(404, code));
        }
        let answer = self.s3.call(request.map(Body::from)).await.map_err(|error| format!("{error:?}"))?;
        if matches!(fault, Some(Fault::Lost)) { Err("lost".to_owned()) } else { Ok(answer) }
    }
}

impl CommitFixture {
    /// Where s3s-fs differs from S3: it makes a bucket because somebody writes to it, and says of an upload that is gone
    /// that access is denied.
    fn lacks(&self, request: &Request<Incoming>) -> Option<&'static str> {
        let bucket = request.uri().path().split('/').nth(1).unwrap_or_default();
        if !self.root.join(bucket).is_dir() {
            return Some("NoSuchBucket");
        }
        let upload = parameter(request, "uploadId")?;
        (!self.root.join(format!(".upload-{upload}.json")).exists()).then_some("NoSuchUpload")
    }
}

fn parameter<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    let query = request.uri().query()?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn asked(request: &Request<Incoming>) -> Asked {
    let query = request.uri().query().unwrap_or_default();
    match (request.method(), parameter(request, "uploadId").is_some()) {
        (&Method::POST, true) => Asked::Complete,
        (&Method::POST, false) if query.starts_with("uploads") => Asked::Begin,
        (&Method::PUT, true) => Asked::Part(parameter(request, "partNumber").unwrap().parse().unwrap()),
        (&Method::PUT, false) => Asked::Put,
        (&Method::DELETE, true) => Asked::Abort,
        _ => Asked::Other,
    }
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    let text = format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

/// Who answers before the end of a request has its connection reset, and the answer lost.
async fn read_to_end(request: &mut Request<Incoming>) {
    let body = request.body_mut();
    while let Some(Ok(_)) = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {}
}

/// A local store in a folder of its own.
pub struct LocalStore {
    pub folder: TempDir,
}

impl LocalStore {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// What a service is started with to use it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let settings = [
            ("STORE", "local"),
            ("ALLOW_UNENCRYPTED", "true"),
            ("DIRECTORY", self.folder.path().to_str().unwrap()),
            ("LINK_SECRET", "0123456789abcdef0123456789abcdef"),
            ("PUBLIC_URL", "https://api.example.org"),
            ("PART_BYTES", "5242880"),
        ];
        settings.map(|(key, value)| (format!("ANALYTICS__OBJECTS__{key}"), value.to_owned())).into()
    }

    pub fn settings(&self) -> config::Objects {
        objects_settings(self.variables())
    }

    pub fn objects(&self) -> Objects {
        Objects::with_environment(&self.settings(), []).unwrap()
    }

    /// All files, staging ones too, by their paths within the folder.
    pub fn files(&self) -> Vec<String> {
        names_below(self.folder.path())
    }
}

fn names_below(folder: &Path) -> Vec<String> {
    let name = |file: &PathBuf| file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    below(folder).iter().map(name).collect()
}

fn objects_settings(variables: Vec<(String, String)>) -> config::Objects {
    Settings::from_variables(variables.into_iter().collect()).unwrap().objects
}
