//! A Kura on a faulty S3, and what must hold whatever goes wrong.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kura::config::StoreConfig;
use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::sync::mpsc;

use super::app::{BUCKET, FOLDER, TestApp, problem_code};
use super::s3_server::{Fault, FaultRule, S3Server};

/// The size of a part in these tests: the smallest that S3 takes.
pub const PART: usize = 5 << 20;
/// Enough for whatever is awaited; waiting so long is a failure.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server and a Kura with small parts and short timeouts.
pub struct Bench {
    pub server: S3Server,
    pub app: TestApp,
}

impl Bench {
    /// The SDK tries as often as it does in production.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The SDK tries a request twice, so that what fails always fails soon.
    pub async fn impatient() -> Self {
        Self::with(&[("KURA_S3_MAX_ATTEMPTS", "2")]).await
    }

    pub async fn with(settings: &[(&'static str, &str)]) -> Self {
        let server = S3Server::start().await.with_bucket(BUCKET);
        let mut all = vec![
            ("KURA_PART_BYTES", "5242880"),
            ("KURA_S3_READ_TIMEOUT_SECONDS", "1"),
            ("KURA_S3_IDLE_BODY_SECONDS", "1"),
            ("KURA_S3_MIN_BYTES_PER_SECOND", "5242880"),
        ];
        all.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
        all.extend_from_slice(settings);
        let app = TestApp::s3_with(&server, &all, |config| {
            if let StoreConfig::S3(s3) = &mut config.deployment.store {
                s3.options.slow_answer = Duration::from_secs(2);
            }
        })
        .await;
        Self { server, app }
    }

    /// Stores a body, which must succeed, and returns its key.
    pub async fn store(&self, name: &str, body: &Bytes) -> String {
        let response = self.app.upload(name, body.clone()).send().await.unwrap();
        created(response, body).await
    }

    /// GET of a file.
    pub fn file(&self, key: &str) -> RequestBuilder {
        self.app.get(&format!("/v1/files/{key}"))
    }

    /// Any other request about a file.
    pub fn on_file(&self, method: Method, key: &str) -> RequestBuilder {
        self.app.request(method, &format!("/v1/files/{key}"))
    }

    /// POST of a move.
    pub fn rename(&self, from: &str, to: &str) -> RequestBuilder {
        let body = serde_json::json!({"from": from, "to": to});
        self.app.request(Method::POST, "/v1/move").json(&body)
    }

    /// The file reads back byte for byte.
    pub async fn assert_reads(&self, key: &str, body: &Bytes) {
        let response = self.file(key).send().await.unwrap();
        assert_eq!(response.status(), 200, "{key}");
        let read = response.bytes().await.unwrap();
        assert!(read == *body, "{key} has other bytes");
    }

    /// Every request of an operation fails from now on.
    pub fn always(&self, operation: &'static str, fault: Fault) {
        let times = usize::MAX;
        let rule = FaultRule::once(operation, fault);
        self.server.fail(FaultRule { times, ..rule });
    }

    /// The next request of an operation fails.
    pub fn once(&self, operation: &'static str, fault: Fault) {
        self.server.fail(FaultRule::once(operation, fault));
    }

    /// Nothing is stored but these files: no claim, and no open upload.
    pub fn assert_only(&self, files: &[&str]) {
        assert_eq!(self.server.open_uploads(), []);
        let keys = files.iter().map(|file| format!("{FOLDER}/{file}"));
        assert_eq!(self.server.keys(BUCKET), keys.collect::<Vec<_>>());
    }

    /// Waits until nothing is stored but these files.
    pub async fn until_only(&self, files: &[&str]) {
        let keys: Vec<_> = files
            .iter()
            .map(|file| format!("{FOLDER}/{file}"))
            .collect();
        let only = || self.server.open_uploads().is_empty() && self.server.keys(BUCKET) == keys;
        // The message of this one says what is left.
        if !within(DEADLINE, only).await {
            self.assert_only(files);
        }
    }

    /// Waits until so many requests of an operation have arrived.
    pub async fn until_count(&self, operation: &str, count: usize) {
        until(|| self.server.count(operation) >= count, operation).await;
    }

    /// The operations since the last time, in the order of their arrival.
    pub fn operations(&self) -> Vec<&'static str> {
        let requests = self.server.take_requests();
        requests.iter().map(|request| request.operation).collect()
    }

    /// The same, sorted: for what is done in parallel.
    pub fn sorted_operations(&self) -> Vec<&'static str> {
        let mut operations = self.operations();
        operations.sort_unstable();
        operations
    }
}

/// The key in the reply to an upload, which must say what `body` is.
pub async fn created(response: Response, body: &Bytes) -> String {
    let status = response.status();
    let reply: Value = response.json().await.unwrap();
    assert_eq!(status, 201, "{reply}");
    assert_eq!(reply["size"], body.len());
    let digest = kura::digest::Digest::of(body).to_string();
    assert_eq!(reply["digest"], digest);
    reply["key"].as_str().unwrap().to_owned()
}

/// The request was refused with this status and code.
pub async fn assert_refused(response: Response, status: u16, code: &str, case: &str) {
    assert_eq!(response.status(), status, "{case}");
    assert_eq!(problem_code(response).await, code, "{case}");
}

/// Waits until something holds; panics when it does not come to pass.
pub async fn until(holds: impl FnMut() -> bool, what: &str) {
    assert!(within(DEADLINE, holds).await, "it does not come: {what}");
}

async fn within(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

/// A request body that the test sends piece by piece; it ends when the sender
/// is dropped.
pub fn body_by_hand() -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
        let piece: Bytes = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    (sender, Body::wrap_stream(pieces))
}
