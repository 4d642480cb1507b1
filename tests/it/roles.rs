//! Tenants whose objects are reached by a role: what the store itself refuses,
//! and what becomes of requests when there is trouble with the role.

use std::time::Duration;

use kura::budget::Budget;
use kura::key::{FileKey, Layout};
use kura::metrics::Metrics;
use kura::storage::s3::{Bucket, Connection, S3Options, S3Store};
use kura::storage::{BlobStore as _, GetOptions, Payload, PutMode, PutRequest, StoreError};
use kura::tenant::role::{Role, RoleSession};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::app::{BUCKET, TestApp, problem_code};
use crate::support::pattern;
use crate::support::s3_server::{Fault, FaultRule, S3Server};
use crate::support::seaweed::{ROLE, Seaweed};
use crate::support::stand::eventually;
use crate::support::sts::{FAILING, FORBIDDEN, GOOD, Sts};

/// More than a part, so that an upload is one of several.
const LARGE: usize = 9 << 20;

fn layout(folder: &str) -> Layout {
    Layout::new(folder, None, None).unwrap()
}

/// The store of whoever has these credentials, for the keys of a folder.
fn store(bucket: &std::sync::Arc<Bucket>, folder: &str) -> S3Store {
    let budget = Budget::new(256 << 20, 256 << 20, Duration::from_secs(30));
    S3Store::new(bucket.clone(), layout(folder), budget.share())
}

async fn put(store: &S3Store, folder: &str, name: &str, bytes: usize) -> Result<(), StoreError> {
    let key = layout(folder).file(&FileKey::parse(name).unwrap()).unwrap();
    let request = PutRequest::new(key, PutMode::CreateOnly);
    let stored = store
        .put(request, Payload::from_bytes(pattern(1, bytes)))
        .await;
    stored.map(|_| ())
}

fn assert_refused<T>(outcome: Result<T, StoreError>, what: &str) {
    let outcome = outcome.map(|_| ());
    assert!(
        matches!(outcome, Err(StoreError::Forbidden(_))),
        "{what}: {outcome:?}"
    );
}

/// What one tenant's session may do is tried on the keys of another, as a Kura
/// would that has mixed them up.
#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_itself_refuses_one_tenants_credentials_in_the_folder_of_another() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("roles").await;
    let options = seaweed.connect_options();
    let connection = Connection::open(&options, Metrics::default())
        .await
        .unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let bucket = Bucket::new(&connection, "roles", S3Options::default(), tasks, stop);
    let role = Role {
        arn: ROLE.parse().unwrap(),
        external_id: None,
        session: RoleSession::Policy,
    };
    let id = "site-a".parse().unwrap();
    let of_a = bucket
        .assuming(&connection, &role, &id, &layout("a"))
        .unwrap();

    let own = store(&of_a, "a");
    for (name, bytes) in [("small", 10), ("large", LARGE)] {
        put(&own, "a", name, bytes).await.unwrap();
        put(&store(&bucket, "b"), "b", name, bytes).await.unwrap();
    }
    let trials = own.try_out(true).await;
    assert!(
        trials.iter().all(|(_, outcome)| outcome.is_ok()),
        "{trials:?}"
    );
    assert!(own.is_held_in().await.unwrap());

    let mixed_up = store(&of_a, "b");
    let key = |name| layout("b").file(&FileKey::parse(name).unwrap()).unwrap();
    assert_refused(
        mixed_up.get(&key("small"), GetOptions::default()).await,
        "get",
    );
    assert_refused(mixed_up.head(&key("small")).await, "head");
    assert_refused(mixed_up.list("b/", None, 10).await, "list");
    assert_refused(mixed_up.delete(&key("small")).await, "delete");
    assert_refused(mixed_up.delete_prefix("b/").await, "delete all");
    assert_refused(put(&mixed_up, "b", "new", 10).await, "put");
    assert_refused(put(&mixed_up, "b", "new", LARGE).await, "put in parts");
    let stolen = layout("a")
        .file(&FileKey::parse("stolen").unwrap())
        .unwrap();
    assert_refused(own.copy(&key("small"), &stolen).await, "copy from");
    assert_refused(
        own.copy(&stolen, &key("new")).await.map_err(of_missing),
        "copy to",
    );
    let left = store(&bucket, "b").list("b/", None, 10).await.unwrap();
    let left: Vec<_> = left
        .entries
        .iter()
        .map(|entry| entry.key.as_str())
        .collect();
    assert_eq!(left, ["b/large", "b/small"]);
}

/// A copy of what is not there fails for that reason first.
fn of_missing(error: StoreError) -> StoreError {
    match error {
        StoreError::NotFound => StoreError::Forbidden("there was nothing to copy".into()),
        error => error,
    }
}

/// A Kura on the test server, whose tenants have roles.
struct Stage {
    app: TestApp,
    server: S3Server,
    sts: Sts,
    files: TempDir,
}

impl Stage {
    async fn with(roles: &[(&str, &str)]) -> Self {
        let server = S3Server::start().await.with_bucket(BUCKET);
        let sts = Sts::start().await;
        let files = tempfile::tempdir().unwrap();
        for (id, role) in roles {
            let yaml = format!("s3: {{folder: {id}}}\nkura: {{role_arn: '{role}'}}\n");
            std::fs::write(files.path().join(format!("{id}.yml")), yaml).unwrap();
            server.put_object(BUCKET, &format!("{id}/file"), "content", &[]);
        }
        let tenants = format!("dir:{}", files.path().display());
        let settings = [
            ("KURA_TENANTS", tenants.as_str()),
            ("AWS_ENDPOINT_URL_STS", sts.endpoint.as_str()),
            ("KURA_S3_MAX_ATTEMPTS", "2"),
        ];
        let app = TestApp::s3_with(&server, &settings, |_| {}).await;
        Self {
            app,
            server,
            sts,
            files,
        }
    }

    async fn read(&self, id: &str) -> reqwest::Response {
        let request = self.app.request_as(id, Method::GET, "/v1/files/file");
        request.send().await.unwrap()
    }

    fn always(&self, operation: &'static str, status: u16, code: &str) {
        let rule = FaultRule::once(operation, Fault::status(status, code));
        let times = usize::MAX;
        self.server.fail(FaultRule { times, ..rule });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_ask_for_the_role_once() {
    // The sign of life is asked for of `b`, or of `a`: of one of them.
    let stage = Stage::with(&[("a", GOOD), ("b", GOOD)]).await;
    let asked = stage.sts.asked();
    assert!(asked <= 1, "tenants that nobody has asked for cost nothing");
    let reading = (0..100).flat_map(|_| [stage.read("a"), stage.read("b")]);
    for answer in futures_util::future::join_all(reading).await {
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(stage.sts.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_a_role_is_its_tenants_only() {
    let stage = Stage::with(&[
        ("a-forbidden", FORBIDDEN),
        ("b-failing", FAILING),
        ("good", GOOD),
    ])
    .await;
    for (id, status, code) in [
        ("a-forbidden", 502, "storage_forbidden"),
        ("b-failing", 503, "storage_unavailable"),
    ] {
        let answer = stage.read(id).await;
        assert_eq!(answer.status(), status, "{id}");
        assert_eq!(problem_code(answer).await, code);
    }
    assert_eq!(stage.read("good").await.status(), 200);
    // The start has found it ready, and with it the first of the three.
    assert_eq!(stage.app.raw("GET", "/readyz", &[], b"").await.status, 200);
    let asked = stage.sts.asked();
    for _ in 0..20 {
        assert_eq!(stage.read("a-forbidden").await.status(), 502);
    }
    assert!(stage.sts.asked() <= asked + 2, "refusals are remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_s3_calls_expired_are_replaced_unnoticed_but_not_without_end() {
    let stage = Stage::with(&[("a", GOOD)]).await;
    assert_eq!(stage.read("a").await.status(), 200);
    let asked = stage.sts.asked();
    let expired = Fault::status(400, "ExpiredToken");
    stage.server.fail(FaultRule::once("GetObject", expired));
    assert_eq!(stage.read("a").await.status(), 200);
    assert_eq!(stage.sts.asked(), asked + 1);
    stage.always("GetObject", 400, "ExpiredToken");
    for _ in 0..5 {
        let answer = stage.read("a").await;
        assert_eq!(problem_code(answer).await, "storage_forbidden");
    }
    assert_eq!(stage.sts.asked(), asked + 1);
}

/// S3 says 403 of a missing object to who may list only under a condition.
#[tokio::test(flavor = "multi_thread")]
async fn missing_file_is_told_from_a_forbidden_one_where_s3_does_not() {
    let stage = Stage::with(&[("a", GOOD)]).await;
    stage.always("GetObject", 403, "AccessDenied");
    stage.always("HeadObject", 403, "AccessDenied");
    for method in [Method::GET, Method::HEAD] {
        let missing = stage.app.request_as("a", method.clone(), "/v1/files/other");
        assert_eq!(missing.send().await.unwrap().status(), 404, "{method}");
        let there = stage.app.request_as("a", method, "/v1/files/file");
        assert_eq!(there.send().await.unwrap().status(), 502);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claim_that_goes_away_while_files_are_listed_is_left_out() {
    let stage = Stage::with(&[("a", GOOD)]).await;
    // Of a claim's size, so that it is looked at.
    let claim = "Claimed by an upload to Kura: 0123456789abcdef\n";
    stage.server.put_object(BUCKET, "a/claimed", claim, &[]);
    stage.always("HeadObject", 403, "AccessDenied");
    stage.server.latency(Duration::from_millis(200));
    let list = stage
        .app
        .request_as("a", Method::GET, "/v1/files?digests=false");
    let list = tokio::spawn(list.send());
    eventually("looked at", || stage.server.count("HeadObject") > 0).await;
    stage.server.latency(Duration::ZERO);
    let removed = stage
        .app
        .request_as("a", Method::DELETE, "/v1/files/claimed");
    assert_eq!(removed.send().await.unwrap().status(), 204);
    let list = list.await.unwrap().unwrap();
    assert_eq!(list.status(), 200);
    let list: Value = list.json().await.unwrap();
    assert_eq!(list["files"][0]["key"], "file");
    assert_eq!(list["files"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_role_is_taken_up_while_running() {
    let stage = Stage::with(&[("a", FORBIDDEN), ("b", GOOD)]).await;
    assert_eq!(stage.read("a").await.status(), 502);
    let yaml = format!("s3: {{folder: a}}\nkura: {{role_arn: '{GOOD}'}}\n");
    std::fs::write(stage.files.path().join("a.yml"), yaml).unwrap();
    stage.app.served.tenants.refresh().await.unwrap();
    assert_eq!(stage.read("a").await.status(), 200);
}
