//! Listening, and serving connections under a limit until told to stop.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{HeaderValue, SERVER};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use crate::metrics::Metrics;
use crate::storage::names::nonce;

/// How long a connection over the limit is kept to be told so.
const FAREWELL: Duration = Duration::from_secs(1);
/// How much of a request's head and body is buffered for one connection.
const MAX_BUFFER_BYTES: usize = 128 * 1024;

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// How many there may be.
    pub max_connections: usize,
    /// How long a request's head may take, also between requests.
    pub head_timeout: Duration,
    /// How long a peer may take no byte of an answer.
    pub write_timeout: Duration,
}

/// A bound address.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket and its path, removed in the end.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds a TCP address.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn tcp(address: &str) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::bind(address).await?))
    }

    /// Binds a Unix socket, in place of one that nobody listens on any more.
    ///
    /// # Errors
    /// When the system refuses, somebody listens there, or something other
    /// than a socket lies there.
    pub fn unix(path: &Path) -> io::Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // Only what this server may have left: a slip in the configuration
        // must not cost a file. Binding fails where one lies.
        let left = std::fs::symlink_metadata(path);
        if left.is_ok_and(|left| left.file_type().is_socket()) {
            std::fs::remove_file(path)?;
        }
        Ok(Self::Unix(UnixListener::bind(path)?, path.to_owned()))
    }

    /// Where it listens, for people.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(
                |error| error.to_string(),
                |address| format!("http://{address}"),
            ),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Serves connections until `stop`; then lets those that are busy finish.
    /// Returns when the last is done.
    pub async fn serve(
        self,
        router: Router,
        options: ServeOptions,
        metrics: Metrics,
        stop: CancellationToken,
    ) {
        let server = Server {
            router,
            options,
            metrics,
            places: Arc::new(Semaphore::new(options.max_connections)),
            graceful: GracefulShutdown::new(),
        };
        let accept = async {
            loop {
                let accepted = match &self {
                    Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                        // Small answers must not wait for an acknowledgement.
                        let _ = stream.set_nodelay(true);
                        server.connection(stream);
                    }),
                    Self::Unix(listener, _) => listener
                        .accept()
                        .await
                        .map(|(stream, _)| server.connection(stream)),
                };
                if let Err(error) = accepted {
                    // Out of file descriptors, most likely: it passes.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            never = accept => never,
        }
        if let Self::Unix(_, path) = &self {
            let _ = std::fs::remove_file(path);
        }
        drop(self);
        server.graceful.shutdown().await;
    }
}

struct Server {
    router: Router,
    options: ServeOptions,
    metrics: Metrics,
    places: Arc<Semaphore>,
    graceful: GracefulShutdown,
}

impl Server {
    fn connection<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tokio::spawn(tokio::time::timeout(FAREWELL, turn_away(stream)));
            return;
        };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.options.write_timeout));
        let service = TowerToHyperService::new(self.router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.head_timeout)
            .max_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = self.graceful.watch(connection);
        let metrics = self.metrics.clone();
        metrics.connections.inc();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            metrics.connections.dec();
            drop(place);
        });
    }
}

/// Tells a connection over the limit so, without waiting for its request.
async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let (problem, request_id) = (ApiError::too_many_connections(), nonce());
    let body = problem.to_json(&request_id);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n\
         Content-Type: application/problem+json\r\nX-Request-Id: {request_id}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await?;
    // To close with bytes unread resets the connection, and what the peer has
    // received of the answer with it.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Puts the server's name into a response.
pub async fn name(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(SERVER, HeaderValue::from_static("kura"));
    response
}
