//! Every store keeps the same promises: one contract suite and one random
//! model test, on S3 as this process plays it, on S3 as SeaweedFS does, and on
//! a store that ignores conditions. The directory store's are beside its code.

use std::sync::Arc;
use std::time::Duration;

use kura::budget::Budget;
use kura::key::Layout;
use kura::metrics::Metrics;
use kura::storage::s3::{Bucket, ConnectOptions, Connection, S3Options, S3Store};
use kura::storage::{BlobStore as _, StoreError, contract, model};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::s3_server::S3Server;
use crate::support::seaweed::{Seaweed, static_key};

/// It lists by the names of directories: `b/x` before `b-`.
const SEAWEEDFS_CANNOT: &[&str] = &[
    "list_is_in_the_byte_order_of_keys",
    "list_starts_behind_a_key_that_is_not_there",
];
const MEMORY_BYTES: usize = 256 << 20;

async fn store(connection: &ConnectOptions, bucket: &str, options: S3Options) -> Arc<S3Store> {
    let opened = Connection::open(connection, Metrics::default()).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let bucket = Bucket::new(&opened.unwrap(), bucket, options, tasks, stop);
    let budget = Budget::new(MEMORY_BYTES, MEMORY_BYTES, Duration::from_secs(30));
    Arc::new(S3Store::new(bucket, layout(), budget.share()))
}

fn layout() -> Layout {
    Layout::new("user001", None, None).unwrap()
}

fn connection(server: &S3Server) -> ConnectOptions {
    ConnectOptions {
        endpoint: Some(server.endpoint()),
        region: Some("us-east-1".into()),
        sts_endpoint: None,
        path_style: true,
        static_key: Some(static_key()),
        ca_bundle: None,
        connect_timeout: Duration::from_secs(3),
        read_timeout: Duration::from_secs(30),
        max_attempts: 3,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract() {
    let server = S3Server::start().await.with_bucket("files");
    let store = store(&connection(&server), "files", S3Options::default()).await;
    contract::run(store, &layout()).await;
    assert_eq!(server.open_uploads(), []);
    assert_eq!(
        server.keys("files"),
        Vec::<String>::new(),
        "claims and all are gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_that_ignores_conditions_keeps_the_contract_as_far_as_it_can() {
    let server = S3Server::start().await.with_bucket("files");
    server.ignore_conditions(true);
    let store = store(&connection(&server), "files", S3Options::default()).await;
    // A key that must be this one and no other cannot be taken safely there.
    let excepted = ["put_create_only_lets_one_of_many_win"];
    contract::run_except(store, &layout(), &excepted).await;
    assert_eq!(server.open_uploads(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_keeps_the_contract() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("contract").await;
    let options = seaweed.connect_options();
    let store = store(&options, "contract", S3Options::default()).await;
    contract::run_except(store, &layout(), SEAWEEDFS_CANNOT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_without_checksums_keeps_the_contract() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("no-checksums").await;
    let options = S3Options {
        checksums: false,
        ..S3Options::default()
    };
    let store = store(&seaweed.connect_options(), "no-checksums", options).await;
    contract::run_except(store, &layout(), SEAWEEDFS_CANNOT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_does_as_the_model_does() {
    let server = S3Server::start().await.with_bucket("files");
    let store = store(&connection(&server), "files", S3Options::default()).await;
    for seed in 0..4 {
        model::run_random(Arc::clone(&store) as _, &layout(), seed, 1000).await;
    }
    model::run_thousand(store, &layout()).await;
    assert_eq!(server.open_uploads(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_does_as_the_model_does() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("model").await;
    let store = store(&seaweed.connect_options(), "model", S3Options::default()).await;
    model::run_random(store, &layout(), 7, 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_certificate_that_nobody_trusts_is_refused() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("tls").await;
    let untrusted = ConnectOptions {
        endpoint: Some(seaweed.tls_endpoint.clone()),
        ..seaweed.connect_options()
    };
    let trusted = ConnectOptions {
        ca_bundle: Some(seaweed.certificate.clone()),
        ..untrusted.clone()
    };
    let refusing = store(&untrusted, "tls", S3Options::default()).await;
    let error = refusing.ping().await.unwrap_err();
    let StoreError::Unavailable(detail) = error else {
        panic!("{error:?}")
    };
    assert!(detail.contains("certificate"), "{detail}");
    let trusting = store(&trusted, "tls", S3Options::default()).await;
    trusting.ping().await.unwrap();
}
