//! A Kura that listens on a free port of this machine until it is dropped.

use std::sync::Arc;

use kura::app::App;
use kura::config::{Config, StoreConfig, Values};
use kura::http::Served;
use kura::storage::s3::StaticKey;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::s3_server::S3Server;

/// The bucket of every test that does not say otherwise.
pub const BUCKET: &str = "files";
/// The folder of the single tenant.
pub const FOLDER: &str = "user001";
/// The secret that every test's tokens are derived from.
pub const SECRET: &str = "a secret for tests only";

/// A running Kura.
pub struct TestApp {
    /// Where it listens.
    pub url: String,
    /// A client with its own connections.
    pub client: Client,
    /// What its requests share.
    pub served: Arc<Served>,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
    /// The root of its directory store, if it has one.
    pub root: TempDir,
}

impl TestApp {
    /// One tenant on a directory store.
    pub async fn directory() -> Self {
        Self::with(&[], |_| {}).await
    }

    /// One tenant on the S3 server `server`.
    pub async fn s3(server: &S3Server) -> Self {
        Self::s3_with(server, &[], |_| {}).await
    }

    /// The same with more settings.
    pub async fn s3_with(
        server: &S3Server,
        settings: &[(&'static str, &str)],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let endpoint = server.endpoint();
        let mut all = vec![
            ("KURA_STORE", "s3"),
            ("AWS_ENDPOINT_URL_S3", endpoint.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("S3_BUCKET_NAME", BUCKET),
            ("S3_FOLDER_NAME", FOLDER),
            ("KURA_S3_CONDITIONAL_WRITES", "yes"),
            // Requests are counted: none may come by itself.
            ("KURA_PING_SECONDS", "86400"),
        ];
        all.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
        all.extend_from_slice(settings);
        let app = Self::with(&all, change).await;
        app.wait_until_ready().await;
        server.reset_counts();
        app
    }

    /// Whatever the settings say; a directory store in a directory of its own
    /// unless they name another store.
    pub async fn with(settings: &[(&'static str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = format!("dir:{}", root.path().display());
        let mut all = vec![
            ("KURA_LISTEN", "127.0.0.1:0"),
            ("KURA_SECRET", SECRET),
            ("KURA_STORE", store.as_str()),
            ("KURA_GRACE_SECONDS", "5"),
        ];
        all.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
        all.extend_from_slice(settings);
        let mut config = Values::from_pairs(&all).config().unwrap();
        if let StoreConfig::S3(s3) = &mut config.deployment.store {
            s3.connect.static_key.get_or_insert_with(|| StaticKey {
                id: "kura-test".into(),
                secret: "kura-test-secret".into(),
            });
        }
        config.render.program = env!("CARGO_BIN_EXE_kura").into();
        change(&mut config);
        // Boxed: it would make the future of every test a large one.
        let app = Box::pin(App::start(config)).await.unwrap();
        let (url, served) = (app.address(), app.served());
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(stop.clone()));
        Self {
            url,
            client: Client::new(),
            served,
            stop,
            running: Some(running),
            root,
        }
    }

    /// The token of the tenant `id`.
    pub fn token(&self, id: &str) -> String {
        self.served.secrets.token(&id.parse().unwrap())
    }

    /// A request of the single tenant.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as("default", method, path)
    }

    /// A request of the tenant `id`.
    pub fn request_as(&self, id: &str, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method, url).bearer_auth(self.token(id))
    }

    /// GET.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// POST of a file whose name Kura may change.
    pub fn upload(&self, name: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let path = format!("/v1/files?directory=2026/11&name={name}");
        self.request(Method::POST, &path).body(body)
    }

    /// Waits until `/readyz` says so.
    pub async fn wait_until_ready(&self) {
        let url = format!("{}/readyz", self.url);
        for _ in 0..500 {
            let answer = self.client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("Kura does not become ready");
    }

    /// Ends it as SIGTERM does, and waits until it has ended.
    pub async fn shut_down(mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The code of a problem; panics when the answer is none.
pub async fn problem_code(response: Response) -> String {
    let status = response.status().as_u16();
    let content_type = response.headers()["content-type"].clone();
    assert_eq!(content_type, "application/problem+json", "status {status}");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert!(
        problem["request_id"]
            .as_str()
            .is_some_and(|id| !id.is_empty())
    );
    problem["code"].as_str().unwrap().to_owned()
}
