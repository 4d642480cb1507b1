//! Leases: real files with the bytes of a tenant's objects, fetched once, kept
//! while they are leased, and within bounds.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use kura::digest::Digest;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::app::{BUCKET, TestApp, problem_code};
use crate::support::pattern;
use crate::support::s3_server::{Fault, FaultRule, S3Server};
use crate::support::stand::eventually;
use crate::support::task::{Task, TenantFiles};

const KEY: &str = "2026/11/261122194501_report.pdf";

impl Task {
    fn operations(&self) -> Vec<&'static str> {
        let requests = self.server.take_requests();
        requests.iter().map(|request| request.operation).collect()
    }

    /// What is not complete, or being removed.
    fn unfinished(&self) -> usize {
        let unfinished = self.disk.path().join("leases/tmp");
        std::fs::read_dir(unfinished).unwrap().count()
    }
}

struct Lease {
    path: PathBuf,
    expires_at: SystemTime,
    size: u64,
}

impl Lease {
    fn read(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }
}

async fn ask(app: &TestApp, request: &Value) -> Response {
    ask_as(app, "default", request).await
}

async fn ask_as(app: &TestApp, tenant: &str, request: &Value) -> Response {
    let post = app.request_as(tenant, Method::POST, "/v1/leases");
    post.json(request).send().await.unwrap()
}

async fn leased(response: Response) -> Lease {
    let status = response.status();
    let reply: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{reply}");
    let expires_at = reply["expires_at"].as_str().unwrap();
    Lease {
        path: reply["path"].as_str().unwrap().into(),
        expires_at: humantime::parse_rfc3339(expires_at).unwrap(),
        size: reply["size"].as_u64().unwrap(),
    }
}

async fn lease(app: &TestApp, key: &str) -> Lease {
    leased(ask(app, &json!({"key": key})).await).await
}

async fn refusal(app: &TestApp, request: &Value) -> (u16, String) {
    let response = ask(app, request).await;
    (response.status().as_u16(), problem_code(response).await)
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn put(app: &TestApp, key: &str, body: &Bytes) {
    let put = app.request(Method::PUT, &format!("/v1/files/{key}"));
    let put = put.body(body.clone()).send().await.unwrap();
    assert_eq!(put.status(), 201);
}

/// Makes a lease look as if it had expired so long ago, to a Kura that starts.
fn expire(lease: &Lease, ago: Duration) {
    let folder = std::fs::File::open(lease.path.parent().unwrap()).unwrap();
    folder.set_modified(SystemTime::now() - ago).unwrap();
}

#[tokio::test]
async fn lease_is_the_file_under_its_own_name() {
    let task = Task::new().await;
    let directory = TestApp::directory().await;
    for app in [task.start().await, directory] {
        let body = pattern(1, 3_000_000);
        let key = "2026/11/261122194501_見積 (1).pdf";
        put(&app, &key.replace(' ', "%20"), &body).await;
        let before = SystemTime::now();
        let lease = lease(&app, key).await;
        assert!(lease.path.is_absolute());
        assert_eq!(lease.path.file_name().unwrap(), "261122194501_見積 (1).pdf");
        assert!(lease.read() == body);
        assert_eq!(lease.size, 3_000_000);
        let time = lease.expires_at.duration_since(before).unwrap();
        assert!((298..=301).contains(&time.as_secs()), "{time:?}");
        for (request, seconds) in [
            (json!({"key": key, "seconds": 1}), 298..=301),
            (json!({"key": key, "seconds": 3600}), 3598..=3601),
        ] {
            let again = leased(ask(&app, &request).await).await;
            assert_eq!(again.path, lease.path);
            let time = again.expires_at.duration_since(before).unwrap();
            assert!(seconds.contains(&time.as_secs()), "{time:?}");
        }
    }
}

#[tokio::test]
async fn first_lease_is_one_get_and_the_next_by_digest_nothing() {
    let task = Task::new().await;
    let app = task.start().await;
    let body = pattern(1, 100_000);
    task.hold(KEY, &body);
    let by_digest = json!({"key": KEY, "digest": Digest::of(&body).to_string()});
    for (request, expected) in [
        (json!({"key": KEY}), &["GetObject"][..]),
        (by_digest.clone(), &[]),
        (by_digest, &[]),
        (json!({"key": KEY}), &["HeadObject"]),
    ] {
        assert!(leased(ask(&app, &request).await).await.read() == body);
        assert_eq!(task.operations(), expected);
    }
    let metrics = app.served.metrics.encode();
    assert!(metrics.contains("kura_leases_total{from=\"kept\"} 3"));
    assert!(metrics.contains("kura_cache_entries{cache=\"leases\"} 1"));
}

#[tokio::test]
async fn thousand_who_ask_at_once_cost_one_get() {
    let task = Task::new().await;
    let app = task.start_with(&[("KURA_MAX_REQUESTS", "1000")]).await;
    let body = pattern(1, 100_000);
    task.hold(KEY, &body);
    task.server.latency(Duration::from_millis(500));
    let request = json!({"key": KEY, "digest": Digest::of(&body).to_string()});
    let all = (0..1000).map(async |_| leased(ask(&app, &request).await).await);
    let all = join_all(all).await;
    assert!(all.iter().all(|one| one.path == all[0].path));
    assert!(all[0].read() == body);
    assert_eq!(task.operations(), ["GetObject"]);
}

#[tokio::test]
async fn file_of_many_parts_is_fetched_whole_and_goes_on_without_the_caller() {
    let task = Task::new().await;
    let app = task.start().await;
    let body = pattern(1, 20 << 20);
    task.hold(KEY, &body);
    task.server.latency(Duration::from_millis(50));
    let request = app.request(Method::POST, "/v1/leases");
    let request = request.json(&json!({"key": KEY}));
    let impatient = request.timeout(Duration::from_millis(20)).send().await;
    assert!(impatient.is_err());
    let fetched = || {
        let metrics = app.served.metrics.encode();
        metrics.contains("kura_leases_total{from=\"fetched\"} 1")
    };
    eventually("fetched", fetched).await;
    task.operations();
    assert!(lease(&app, KEY).await.read() == body);
    assert_eq!(task.operations(), ["HeadObject"]);
}

#[tokio::test]
async fn other_bytes_than_expected_are_not_leased() {
    let task = Task::new().await;
    let app = task.start().await;
    let (right, wrong) = (Bytes::from("right"), Bytes::from("wrong"));
    task.hold("plain", &wrong);
    put(&app, "known", &wrong).await;
    for (key, read) in [("plain", 1), ("known", 1)] {
        task.operations();
        let request = json!({"key": key, "digest": Digest::of(&right).to_string()});
        let answer = refusal(&app, &request).await;
        assert_eq!(answer, refused(409, "source_mismatch"));
        assert_eq!(task.operations().len(), read);
    }
    eventually("nothing is left", || task.unfinished() == 0).await;
}

#[tokio::test]
async fn what_another_has_replaced_is_fetched_anew_and_the_old_lease_stays() {
    let task = Task::new().await;
    let app = task.start().await;
    let (old, new) = (pattern(1, 1000), pattern(2, 1000));
    task.hold(KEY, &old);
    let first = lease(&app, KEY).await;
    task.hold(KEY, &new);
    task.operations();
    let second = lease(&app, KEY).await;
    assert_eq!(task.operations(), ["HeadObject", "GetObject"]);
    assert!(first.read() == old && second.read() == new);
}

#[tokio::test]
async fn removed_replaced_and_moved_files_are_not_leased_anew() {
    let task = Task::new().await;
    let app = task.start().await;
    let (old, new) = (pattern(1, 1000), pattern(2, 1000));
    let by_digest = |key: &str| json!({"key": key, "digest": Digest::of(&old).to_string()});
    for change in ["DELETE", "PUT", "move"] {
        put(&app, KEY, &old).await;
        let given = leased(ask(&app, &by_digest(KEY)).await).await;
        let expected = match change {
            "DELETE" => {
                let delete = app.request(Method::DELETE, &format!("/v1/files/{KEY}"));
                assert_eq!(delete.send().await.unwrap().status(), 204);
                refused(404, "not_found")
            }
            "PUT" => {
                put(&app, KEY, &new).await;
                refused(409, "source_mismatch")
            }
            _ => {
                let body = json!({"from": KEY, "to": "elsewhere"});
                let moved = app.request(Method::POST, "/v1/move").json(&body);
                assert_eq!(moved.send().await.unwrap().status(), 204);
                refused(404, "not_found")
            }
        };
        let answer = refusal(&app, &by_digest(KEY)).await;
        assert_eq!(answer, expected, "{change}");
        assert!(given.read() == old, "{change}");
    }
    let moved = leased(ask(&app, &by_digest("elsewhere")).await).await;
    assert!(moved.read() == old);
}

#[tokio::test]
async fn what_was_being_fetched_when_it_was_removed_is_not_leased_anew() {
    let task = Task::new().await;
    let app = task.start().await;
    let body = pattern(1, 1000);
    let by_digest = json!({"key": KEY, "digest": Digest::of(&body).to_string()});
    put(&app, KEY, &body).await;
    task.operations();
    task.server.latency(Duration::from_millis(300));
    let asking = ask(&app, &by_digest);
    let deleting = async {
        let server = &task.server;
        eventually("asked", || server.count("GetObject") == 1).await;
        server.latency(Duration::ZERO);
        let delete = app.request(Method::DELETE, &format!("/v1/files/{KEY}"));
        delete.send().await.unwrap()
    };
    let (asked, deleted) = tokio::join!(asking, deleting);
    assert_eq!(deleted.status(), 204);
    // Who asked before may have either.
    assert!([200, 404].contains(&asked.status().as_u16()));
    assert_eq!(refusal(&app, &by_digest).await, refused(404, "not_found"));
}

#[tokio::test]
async fn deleted_file_is_removed_when_its_lease_has_expired() {
    let task = Task::new().await;
    let app = task.start().await;
    put(&app, KEY, &pattern(1, 1000)).await;
    let request = json!({"key": KEY, "seconds": 1});
    let lease = leased(ask(&app, &request).await).await;
    let delete = app.request(Method::DELETE, &format!("/v1/files/{KEY}"));
    assert_eq!(delete.send().await.unwrap().status(), 204);
    assert!(lease.path.exists() || SystemTime::now() > lease.expires_at);
    eventually("removed", || !lease.path.exists()).await;
    assert!(SystemTime::now() > lease.expires_at);
}

#[tokio::test]
async fn file_replaced_while_it_was_fetched_is_removed_after_the_last_lease_of_it() {
    let task = Task::new().await;
    let app = task.start().await;
    let body = pattern(1, 1000);
    task.hold(KEY, &body);
    task.server.latency(Duration::from_millis(500));
    let replacing = async {
        let (server, metrics) = (&task.server, &app.served.metrics);
        let joined = || metrics.encode().contains("{from=\"joined\"} 1");
        eventually("two wait", joined).await;
        server.latency(Duration::ZERO);
        // By the same, so that who asked before gets a lease.
        put(&app, KEY, &body).await;
    };
    let requests = [1, 2].map(|seconds| json!({"key": KEY, "seconds": seconds}));
    let [short, long] = requests.each_ref().map(|request| ask(&app, request));
    let (short, long, ()) = tokio::join!(short, long, replacing);
    let (short, long) = (leased(short).await, leased(long).await);
    assert_eq!(short.path, long.path);
    eventually("removed", || !long.path.exists()).await;
    assert!(SystemTime::now() > short.expires_at.max(long.expires_at));
}

#[tokio::test]
async fn deleted_file_is_removed_also_when_its_lease_expires_after_a_restart() {
    let task = Task::new().await;
    let app = task.start().await;
    put(&app, KEY, &pattern(1, 1000)).await;
    let request = json!({"key": KEY, "seconds": 2});
    let lease = leased(ask(&app, &request).await).await;
    let delete = app.request(Method::DELETE, &format!("/v1/files/{KEY}"));
    assert_eq!(delete.send().await.unwrap().status(), 204);
    app.shut_down().await;
    let _app = task.start().await;
    assert!(lease.path.exists() || SystemTime::now() > lease.expires_at);
    eventually("removed", || !lease.path.exists()).await;
    assert!(SystemTime::now() > lease.expires_at);
}

#[tokio::test]
async fn room_is_made_of_what_is_not_leased_and_of_nothing_else() {
    let task = Task::new().await;
    // Room for three files of 60 KiB, each with a block for its folder.
    let app = task.start_with(&[("KURA_LEASE_BYTES", "196608")]).await;
    for name in ["1", "2", "3", "4", "5"] {
        task.hold(name, &pattern(1, 60 << 10));
    }
    let brief = |key: &str| json!({"key": key, "seconds": 1});
    let short = leased(ask(&app, &brief("1")).await).await;
    let long = [lease(&app, "2").await, lease(&app, "3").await];
    let answer = ask(&app, &brief("4")).await;
    if SystemTime::now() < short.expires_at {
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "2");
        assert_eq!(problem_code(answer).await, "lease_space");
        assert!(short.path.exists());
    }
    eventually("there is room again", || {
        SystemTime::now() > short.expires_at + Duration::from_secs(1)
    })
    .await;
    let fourth = lease(&app, "4").await;
    assert!(!short.path.exists() && fourth.path.exists());
    assert_eq!(
        refusal(&app, &brief("5")).await,
        refused(503, "lease_space")
    );
    assert!(long.iter().all(|lease| lease.path.exists()));
    let metrics = app.served.metrics.encode();
    assert!(metrics.contains("kura_cache_bytes{cache=\"leases\"} 196608"));
    assert!(metrics.contains("kura_cache_evictions_total{cache=\"leases\"} 1"));
    task.hold("large", &pattern(1, 200_000));
    assert_eq!(
        refusal(&app, &brief("large")).await,
        refused(413, "too_large")
    );
}

#[tokio::test]
async fn leases_survive_a_restart() {
    let task = Task::new().await;
    let (kept, gone) = (pattern(1, 60 << 10), pattern(2, 60 << 10));
    task.hold("kept", &kept);
    task.hold("gone", &gone);
    let room = [("KURA_LEASE_BYTES", "131072")];
    let app = task.start_with(&room).await;
    let leases = [lease(&app, "kept").await, lease(&app, "gone").await];
    app.shut_down().await;
    expire(&leases[1], Duration::from_mins(1));
    // What a crash leaves.
    let leftover = task.disk.path().join("leases/tmp/17");
    std::fs::write(&leftover, "half").unwrap();
    let empty = leases[0]
        .path
        .parent()
        .unwrap()
        .with_file_name("f".repeat(64));
    std::fs::create_dir(&empty).unwrap();

    let app = task.start_with(&room).await;
    assert!(!leftover.exists() && !empty.exists());
    assert!(leases[1].read() == gone);
    task.operations();
    // The lease that was given before is respected, the other one makes room.
    task.hold("new", &pattern(3, 60 << 10));
    lease(&app, "new").await;
    assert!(leases[0].read() == kept && !leases[1].path.exists());
    assert_eq!(task.operations(), ["GetObject"]);
    let by_digest = json!({"key": "kept", "digest": Digest::of(&kept).to_string()});
    let again = leased(ask(&app, &by_digest).await).await;
    assert_eq!(again.path, leases[0].path);
    assert_eq!(task.operations(), [""; 0]);
}

#[tokio::test]
async fn tenant_with_another_folder_has_nothing_of_what_was_leased_before() {
    let task = Task::new().await;
    let body = pattern(1, 1000);
    task.hold(KEY, &body);
    let by_digest = json!({"key": KEY, "digest": Digest::of(&body).to_string()});
    let app = task.start().await;
    leased(ask(&app, &by_digest).await).await;
    app.shut_down().await;
    let app = task.start_with(&[("S3_FOLDER_NAME", "moved")]).await;
    assert_eq!(refusal(&app, &by_digest).await, refused(404, "not_found"));
}

#[tokio::test]
async fn deleted_file_is_not_leased_anew_after_a_restart_either() {
    let task = Task::new().await;
    let body = pattern(1, 1000);
    let by_digest = json!({"key": KEY, "digest": Digest::of(&body).to_string()});
    let app = task.start().await;
    put(&app, KEY, &body).await;
    let given = leased(ask(&app, &by_digest).await).await;
    let delete = app.request(Method::DELETE, &format!("/v1/files/{KEY}"));
    assert_eq!(delete.send().await.unwrap().status(), 204);
    app.shut_down().await;
    let app = task.start().await;
    assert!(given.read() == body);
    assert_eq!(refusal(&app, &by_digest).await, refused(404, "not_found"));
}

#[tokio::test]
async fn what_was_written_before_the_machine_started_is_not_trusted() {
    let task = Task::new().await;
    task.hold(KEY, &pattern(1, 1000));
    let app = task.start().await;
    let given = lease(&app, KEY).await;
    app.shut_down().await;
    std::fs::write(task.disk.path().join("leases/boot"), "another").unwrap();
    let app = task.start().await;
    assert!(!given.path.exists());
    assert_eq!(lease(&app, KEY).await.path, given.path);
}

#[tokio::test]
async fn file_that_somebody_has_removed_is_fetched_again() {
    let task = Task::new().await;
    let body = pattern(1, 1000);
    task.hold(KEY, &body);
    let app = task.start().await;
    let given = lease(&app, KEY).await;
    std::fs::remove_dir_all(given.path.parent().unwrap()).unwrap();
    for request in [
        json!({"key": KEY, "digest": Digest::of(&body).to_string()}),
        json!({"key": KEY}),
    ] {
        assert!(leased(ask(&app, &request).await).await.read() == body);
    }
}

#[tokio::test]
async fn directory_that_somebody_removes_is_made_again() {
    let task = Task::new().await;
    let body = pattern(1, 1000);
    task.hold("1", &body);
    let app = task.start().await;
    lease(&app, "1").await;
    std::fs::remove_dir_all(task.disk.path().join("leases")).unwrap();
    let again = lease(&app, "1").await;
    assert!(again.read() == body);
    // It is this process's as before, and what is in it survives a restart.
    let second = task.start().await;
    let refusal = refusal(&second, &json!({"key": "1"})).await;
    assert_eq!(refusal, refused(409, "leases_off"));
    app.shut_down().await;
    let after = task.start().await;
    assert!(again.read() == body);
    task.operations();
    let by_digest = json!({"key": "1", "digest": Digest::of(&body).to_string()});
    leased(ask(&after, &by_digest).await).await;
    assert_eq!(task.operations(), [""; 0]);
}

#[tokio::test]
async fn others_can_read_what_they_know_of_and_find_nothing_else() {
    let task = Task::new().await;
    task.hold(KEY, &pattern(1, 1000));
    let app = task.start().await;
    let lease = lease(&app, KEY).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&lease.path), 0o444);
    let folders = lease.path.ancestors().skip(1).take(3);
    let root = task.disk.path().join("leases");
    for folder in folders {
        assert!(folder.starts_with(&root));
        assert_eq!(mode(folder), 0o711, "{}", folder.display());
    }
    assert_eq!(mode(&root.join("tmp")), 0o700);
    // The tenant's folder is not derived from anything that others know.
    let tenant = lease.path.ancestors().nth(2).unwrap();
    assert!(!tenant.ends_with(&Digest::of(b"default").to_string()[..32]));
}

#[tokio::test]
async fn tenants_have_their_own_files_and_folders() {
    let task = Task::new().await;
    let states = [("a", "active"), ("b", "active"), ("c", "suspended")];
    let tenants = TenantFiles::new(states.map(|(id, state)| {
        let yaml = format!("s3: {{folder: {id}}}\nkura: {{state: {state}}}\n");
        (id, yaml)
    }));
    let source = tenants.source();
    let app = task.start_with(&[("KURA_TENANTS", &source)]).await;
    let body = pattern(1, 1000);
    task.server
        .put_object(BUCKET, &format!("a/{KEY}"), body.clone(), &[]);
    let request = json!({"key": KEY, "digest": Digest::of(&body).to_string()});
    let ask = async |tenant: &str| ask_as(&app, tenant, &request).await;
    let of_a = leased(ask("a").await).await;
    // Its digest is of no use to another tenant that has no such file.
    let of_b = ask("b").await;
    assert_eq!(problem_code(of_b).await, "not_found");
    assert_eq!(problem_code(ask("c").await).await, "tenant_suspended");
    task.server
        .put_object(BUCKET, &format!("b/{KEY}"), body.clone(), &[]);
    let of_b = leased(ask("b").await).await;
    let tenant = |lease: &Lease| lease.path.ancestors().nth(2).unwrap().to_owned();
    assert_ne!(tenant(&of_a), tenant(&of_b));
}

#[tokio::test]
async fn one_tenant_of_many_takes_half_of_the_room() {
    let task = Task::new().await;
    let tenants = TenantFiles::with_folders(["a", "b"]);
    let source = tenants.source();
    // Room for four files of 60 KiB.
    let settings = [
        ("KURA_TENANTS", source.as_str()),
        ("KURA_LEASE_BYTES", "262144"),
    ];
    let app = task.start_with(&settings).await;
    for key in ["a/1", "a/2", "a/3", "b/1", "b/2"] {
        let body = pattern(1, 60 << 10);
        task.server.put_object(BUCKET, key, body, &[]);
    }
    for (tenant, key, status) in [
        ("a", "1", 200),
        ("a", "2", 200),
        ("a", "3", 503),
        ("b", "1", 200),
        ("b", "2", 200),
    ] {
        let answer = ask_as(&app, tenant, &json!({"key": key})).await;
        assert_eq!(answer.status(), status, "{tenant} {key}");
    }
}

#[tokio::test]
async fn one_tenant_has_half_of_all_searches() {
    let task = Task::new().await;
    let tenants = TenantFiles::with_folders(["a", "b"]);
    let source = tenants.source();
    let settings = [
        ("KURA_TENANTS", source.as_str()),
        ("KURA_MAX_REQUESTS", "1000"),
    ];
    let app = task.start_with(&settings).await;
    let ask = async |tenant: &str, key: usize| {
        ask_as(&app, tenant, &json!({"key": key.to_string()})).await
    };
    task.server.fail(FaultRule {
        times: 128,
        ..FaultRule::once("GetObject", Fault::StallRequest)
    });
    let stalled = join_all((0..128).map(|key| ask("a", key)));
    let others = async {
        let server = &task.server;
        eventually("all wait", || server.count("GetObject") == 128).await;
        let one_more = ask("a", 128).await;
        assert_eq!(one_more.status(), 503);
        assert_eq!(problem_code(one_more).await, "busy");
        assert_eq!(problem_code(ask("b", 1).await).await, "not_found");
    };
    tokio::select! {
        _ = stalled => panic!("the store has answered"),
        () = others => {}
    }
}

#[tokio::test]
async fn trouble_with_the_store_is_told_and_leaves_nothing() {
    let task = Task::new().await;
    let app = task.start().await;
    let request = json!({"key": KEY});
    assert_eq!(refusal(&app, &request).await, refused(404, "not_found"));
    task.hold(KEY, &pattern(1, 1000));
    let fault = Fault::Status {
        code: 503,
        s3_code: "SlowDown".into(),
    };
    task.server.fail(FaultRule::once("GetObject", fault));
    let answer = refusal(&app, &request).await;
    assert_eq!(answer, refused(503, "storage_throttled"));
    assert_eq!(task.unfinished(), 0);
    assert_eq!(lease(&app, KEY).await.size, 1000);
}

#[tokio::test]
async fn without_a_directory_or_room_there_are_no_leases() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let without = TestApp::s3(&server).await;
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().to_str().unwrap();
    let none = [("KURA_CACHE_DIR", path), ("KURA_LEASE_BYTES", "0")];
    let off = TestApp::s3_with(&server, &none, |_| {}).await;
    let first = TestApp::s3_with(&server, &none[..1], |_| {}).await;
    let second = TestApp::s3_with(&server, &none[..1], |_| {}).await;
    let request = json!({"key": KEY});
    for app in [&without, &off, &second] {
        assert_eq!(refusal(app, &request).await, refused(409, "leases_off"));
    }
    assert_eq!(refusal(&first, &request).await, refused(404, "not_found"));
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let app = TestApp::directory().await;
    for (request, code) in [
        (json!({}), "invalid_parameter"),
        (json!({"key": ""}), "invalid_key"),
        (json!({"key": "../../etc/passwd"}), "invalid_key"),
        (
            json!({"key": "tmp/imports/0123456789abcdef"}),
            "invalid_key",
        ),
        (json!({"key": KEY, "seconds": 0}), "invalid_parameter"),
        (json!({"key": KEY, "seconds": 3601}), "invalid_parameter"),
        (json!({"key": KEY, "digest": "abc"}), "invalid_parameter"),
    ] {
        assert_eq!(
            refusal(&app, &request).await,
            refused(400, code),
            "{request}"
        );
    }
}
