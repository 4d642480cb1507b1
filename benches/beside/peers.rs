//! The stage of the questions about S3: a SeaweedFS of their own, the URLs by
//! which it is reached without Kura, and the other clients.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use hyper::Method;

use crate::load::{Call, Payload, milliseconds};
use crate::server::{BUCKET, Server, cpu_of_ended};
use crate::support::app::{FOLDER, SECRET};
use crate::support::seaweed::{Seaweed, static_key};

/// An S3 server with an empty bucket.
pub(crate) struct Stage {
    pub(crate) seaweed: Seaweed,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let seaweed = Seaweed::start();
        seaweed.bucket(BUCKET).await;
        let stage = Self { seaweed };
        // The first object makes the bucket's volumes, which takes seconds.
        let client = Self::client(&stage.seaweed.endpoint);
        let put = client.put_object().bucket(BUCKET).key("first").send();
        put.await.unwrap();
        stage
    }

    /// Host and port of the S3 server.
    pub(crate) fn address(&self) -> &str {
        self.seaweed.endpoint.trim_start_matches("http://")
    }

    /// The SDK, as an application without Kura would use it.
    pub(crate) fn client(endpoint: &str) -> aws_sdk_s3::Client {
        let key = static_key();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(key.id, key.secret, None, None, "bench"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// The path and query by which anybody can read an object from `endpoint`
    /// for an hour.
    pub(crate) async fn signed_get(&self, endpoint: &str, name: &str) -> String {
        let get = Self::client(endpoint).get_object().bucket(BUCKET);
        let signed = get.key(object(name)).presigned(an_hour()).await.unwrap();
        path_of(signed.uri(), endpoint)
    }

    /// The same for writing it.
    pub(crate) async fn signed_put(&self, endpoint: &str, name: &str) -> String {
        let put = Self::client(endpoint).put_object().bucket(BUCKET);
        let signed = put.key(object(name)).presigned(an_hour()).await.unwrap();
        path_of(signed.uri(), endpoint)
    }
}

/// Where Kura keeps the file of this name.
pub(crate) fn object(name: &str) -> String {
    format!("{FOLDER}/2026/11/{name}")
}

fn an_hour() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_hours(1)).unwrap()
}

fn path_of(uri: &str, endpoint: &str) -> String {
    uri.strip_prefix(endpoint).unwrap().to_owned()
}

/// The token of a tenant.
pub(crate) fn token(tenant: &str) -> String {
    let secrets = kura::tenant::Secrets::parse(SECRET).unwrap();
    format!("Bearer {}", secrets.token(&tenant.parse().unwrap()))
}

/// A download through Kura.
pub(crate) fn kura_get(kura: &Server, tenant: &str, name: &str) -> Call {
    Call::get(&kura.address, format!("/v1/files/2026/11/{name}"))
        .header("authorization", token(tenant))
}

/// An upload through Kura under a name that may be taken.
pub(crate) fn kura_post(kura: &Server, tenant: &str, name: &str, body: Payload) -> Call {
    let path = format!("/v1/files?directory=2026/11&name={name}");
    Call::get(&kura.address, path)
        .method(Method::POST)
        .header("authorization", token(tenant))
        .body(body)
}

/// The CPU seconds that it takes to hash a gigabyte, which Kura does with all
/// that it stores and hands out, and a proxy does not.
pub(crate) fn hashing_seconds(scratch: &Path) -> Option<f64> {
    const BYTES: usize = 256 << 20;
    if !crate::server::has("openssl") {
        return None;
    }
    let file = scratch.join("hashed");
    fs::write(&file, vec![7; BYTES]).unwrap();
    let before = cpu_of_ended();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256"]).arg(&file);
    assert!(openssl.stdout(Stdio::null()).status().unwrap().success());
    let seconds = cpu_of_ended() - before;
    fs::remove_file(&file).unwrap();
    Some(seconds * 1e9 / BYTES as f64)
}

/// A program's wall clock time in milliseconds.
pub(crate) fn timed(command: &mut Command) -> f64 {
    let begun = Instant::now();
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    milliseconds(begun.elapsed())
}
