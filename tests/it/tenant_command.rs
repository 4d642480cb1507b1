//! `kura tenant` on files that a running server serves from.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kura::tenant::Ticket;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::app::{BUCKET, TestApp, problem_code};
use crate::support::bench::{body_by_hand, until};
use crate::support::pattern;
use crate::support::pictures::{name_of, picture};
use crate::support::process::{command, run};
use crate::support::seaweed::static_key;
use crate::support::task::{Task, TenantFiles};

/// As an operator writes it.
const SITE_A: &str = "\
# Site A, since 2019
db:       {name: redmine_a, user: a, password: hunter2}   # not Kura's
s3:       {bucket: files, folder: a}
property: {sub_domain: sitea, limit_ips: ['192.168.0.0/24']}
";

fn tenant(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    run(&[&["tenant"], arguments].concat(), settings)
}

fn succeeds(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The audit line of a change.
fn audited(output: &Output) -> Value {
    succeeds(output);
    let lines = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    line.clone()
}

#[test]
fn tenants_are_added_changed_and_suspended_in_their_files() {
    let files = TenantFiles::new([("sitea", SITE_A.to_owned())]);
    let source = files.source();
    let place = Path::new(source.strip_prefix("dir:").unwrap());
    let settings = [("KURA_TENANTS", source.as_str()), ("USER", "keiko")];
    let text = |id: &str| std::fs::read_to_string(place.join(format!("{id}.yml"))).unwrap();

    let suspend = tenant(&["suspend", "sitea", "--reason", "unpaid"], &settings);
    let line = audited(&suspend);
    for (field, value) in [
        ("message", "audit"),
        ("action", "suspend"),
        ("tenant", "sitea"),
        ("actor", "keiko"),
        ("reason", "unpaid"),
    ] {
        assert_eq!(line[field], value);
    }
    let change = json!({"kura.state": {"before": null, "after": "suspended"}});
    assert_eq!(line["changes"], change);
    assert_ne!(line["version_before"], line["version_after"]);
    assert_eq!(
        text("sitea"),
        format!("{SITE_A}kura:\n  state: suspended\n")
    );

    let resume = audited(&tenant(&["resume", "sitea", "--actor", "ken"], &settings));
    assert_eq!(resume["actor"], "ken");
    assert_eq!(resume["version_before"], line["version_after"]);
    let again = tenant(&["resume", "sitea"], &settings);
    assert!(succeeds(&again).contains("nothing to change"));

    let add = [
        "add",
        "siteb",
        "--bucket",
        "files",
        "--folder",
        "b",
        "--sub-domain",
        "siteb",
        "--limit-ip",
        "10.0.0.0/8",
        "--limit-ip",
        "::1",
        "--db-name",
        "redmine_b",
    ];
    succeeds(&tenant(&[&add[..], &["--dry-run"]].concat(), &settings));
    assert!(!place.join("siteb.yml").exists());
    let added = audited(&tenant(&add, &settings));
    assert_eq!(
        added["changes"]["property.limit_ips"]["after"],
        json!(["10.0.0.0/8", "::1"])
    );
    assert_eq!(added.get("version_before"), None);
    assert!(fails(&tenant(&add, &settings)).contains("there is a tenant siteb already"));

    let list = succeeds(&tenant(&["list"], &settings));
    let row = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let rows: Vec<_> = list.lines().map(row).collect();
    let head = ["TENANT", "STATE", "BUCKET", "FOLDER", "SUB_DOMAIN"];
    let expected = [
        head,
        ["sitea", "active", "files", "a/", "sitea"],
        ["siteb", "active", "files", "b/", "siteb"],
    ];
    assert_eq!(rows, expected);
}

#[test]
fn changes_that_would_break_a_tenant_are_refused() {
    let other = "s3: {bucket: files, folder: b}\n".to_owned();
    let files = TenantFiles::new([("sitea", SITE_A.to_owned()), ("siteb", other.clone())]);
    let source = files.source();
    let place = Path::new(source.strip_prefix("dir:").unwrap());
    let settings = [("KURA_TENANTS", source.as_str())];
    for (arguments, why) in [
        (&["set", "siteb", "s3.folder=a/b"][..], "of tenant sitea"),
        (&["set", "siteb", "s3.folder="], "must name a folder"),
        (&["set", "siteb", "kura.thumb_folder=a"], "of tenant sitea"),
        (&["set", "siteb", "kura.state=gone"], "must be `active`"),
        (
            &["set", "siteb", "--unset", "s3.folder"],
            "s3.folder: required",
        ),
        (
            &["set", "siteb", "--unset", "s3.region"],
            "there is no such key",
        ),
        (&["set", "siteb", "s3=x"], "in place of a section"),
        (
            &["add", "sitec", "--bucket", "files", "--folder", "a/c"],
            "of tenant sitea",
        ),
        (&["suspend", "sitec"], "there is no tenant sitec"),
    ] {
        let error = fails(&tenant(arguments, &settings));
        assert!(error.contains(why), "{arguments:?}: {error}");
        assert!(!error.contains("audit"));
    }
    assert_eq!(
        std::fs::read_to_string(place.join("siteb.yml")).unwrap(),
        other
    );
    assert!(!place.join("sitec.yml").exists());
    for wrong in [
        &["set", "siteb"][..],
        &["set", "siteb", "x"],
        &["show", "../x"],
    ] {
        assert_eq!(tenant(wrong, &settings).status.code(), Some(2), "{wrong:?}");
    }

    // Whereas a file that is broken already can be mended.
    files.write("siteb", "s3: {bucket: files, folder: a/b}\n");
    let list = tenant(&["list", "--json"], &settings);
    assert_eq!(list.status.code(), Some(1));
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["broken"][0]["id"], "siteb");
    succeeds(&tenant(&["set", "siteb", "s3.folder=b"], &settings));
    succeeds(&tenant(&["list"], &settings));
}

#[test]
fn folder_of_a_tenant_whose_file_is_broken_for_a_moment_goes_to_nobody() {
    let files = TenantFiles::new([
        ("sitea", SITE_A.to_owned()),
        ("siteb", "s3: {bucket: files, folder: users/b\n".to_owned()),
    ]);
    let source = files.source();
    let settings = [("KURA_TENANTS", source.as_str())];
    for change in [
        &["add", "sitec", "--bucket", "files", "--folder", "users"][..],
        &["set", "sitea", "s3.folder=users"],
    ] {
        let error = fails(&tenant(change, &settings));
        assert!(error.contains("the file of tenant siteb"), "{error}");
    }
    let place = Path::new(source.strip_prefix("dir:").unwrap());
    assert!(!place.join("sitec.yml").exists());
    succeeds(&tenant(&["suspend", "sitea"], &settings));
}

#[test]
fn of_many_who_take_a_folder_at_once_one_may() {
    let files = TenantFiles::new([]);
    let source = files.source();
    let add = |id: &str| {
        let add = ["tenant", "add", id, "--bucket", "files", "--folder", "same"];
        command(&add, &[("KURA_TENANTS", &source)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let added = ["a", "b", "c", "d"].map(add);
    let added = added.map(|mut child| child.wait().unwrap().success());
    assert!(
        added.iter().filter(|added| **added).count() <= 1,
        "{added:?}"
    );
    succeeds(&tenant(&["list"], &[("KURA_TENANTS", &source)]));
}

#[test]
fn no_secret_is_printed() {
    let files = TenantFiles::new([("sitea", SITE_A.to_owned())]);
    let source = files.source();
    let settings = [("KURA_TENANTS", source.as_str())];
    for arguments in [
        &["show", "sitea"][..],
        &["show", "sitea", "--json"],
        &["list", "--json"],
        &["set", "sitea", "db.password=hunter2-new", "--dry-run"],
        &["set", "sitea", "db.password=hunter2-new"],
        &["set", "sitea", "db.password=hunter2-new\n"],
        &["set", "sitea", "db.password.x=hunter2-new"],
    ] {
        let output = tenant(arguments, &settings);
        let all = [output.stdout, output.stderr].concat();
        assert!(
            !String::from_utf8(all).unwrap().contains("hunter2"),
            "{arguments:?}"
        );
    }
}

#[test]
fn only_tenant_of_the_environment_is_shown_and_not_changed() {
    let settings = [("S3_FOLDER_NAME", "user001")];
    assert!(succeeds(&tenant(&["show", "default"], &settings)).contains("user001/tmp/"));
    assert!(succeeds(&tenant(&["list"], &settings)).contains("default"));
    let refused = fails(&tenant(&["suspend", "default"], &settings));
    assert!(refused.contains("KURA_TENANTS"), "{refused}");
}

/// A server of the tenants `a` and `b` from files in S3, and the commands'
/// settings.
async fn serving(task: &Task) -> (TestApp, Vec<(&'static str, String)>) {
    for id in ["a", "b"] {
        let yaml = format!("s3: {{bucket: {BUCKET}, folder: {id}}}\n");
        let key = format!("tenants/{id}.yml");
        task.server.put_object(BUCKET, &key, yaml, &[]);
    }
    let source = format!("s3://{BUCKET}/tenants/");
    let serve = [
        ("KURA_TENANTS", source.as_str()),
        ("KURA_TENANTS_REFRESH_SECONDS", "1"),
    ];
    let app = task.start_with(&serve).await;
    let key = static_key();
    let settings = vec![
        ("KURA_STORE", "s3".to_owned()),
        ("KURA_TENANTS", source),
        ("AWS_ENDPOINT_URL_S3", task.server.endpoint()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", key.id),
        ("AWS_SECRET_ACCESS_KEY", key.secret),
    ];
    (app, settings)
}

async fn change(arguments: &[&'static str], settings: &[(&'static str, String)]) {
    let (arguments, settings) = (arguments.to_owned(), settings.to_owned());
    let output = tokio::task::spawn_blocking(move || {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, it)| (*name, it.as_str()))
            .collect();
        tenant(&arguments, &settings)
    });
    succeeds(&output.await.unwrap());
}

async fn until_status(status: u16, ask: impl AsyncFn() -> Response) -> Response {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let response = ask().await;
        if response.status() == status {
            return response;
        }
        assert!(
            Instant::now() < deadline,
            "never {status}: {}",
            response.status()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_tenant_is_refused_and_forgotten_and_no_other() {
    let task = Task::new().await;
    let (app, settings) = serving(&task).await;
    let (shown, broken) = (picture(1), pattern(1, 1000));
    for id in ["a", "b"] {
        for (name, body) in [("shown", &shown), ("broken", &broken)] {
            task.server
                .put_object(BUCKET, &format!("{id}/{name}"), body.clone(), &[]);
        }
    }
    let get = async |id: &str, path: &str| {
        let get = app.request_as(id, Method::GET, path);
        get.send().await.unwrap()
    };
    let digest = name_of(&broken, 100);
    let use_all = async |id: &str| {
        let thumbnail = format!("/v1/thumbnails/{}?source=shown", name_of(&shown, 100));
        assert_eq!(get(id, &thumbnail).await.status(), 200);
        let refused = format!("/v1/thumbnails/{digest}?source=broken");
        assert_eq!(get(id, &refused).await.status(), 415);
        let wanted = json!({"key": "broken", "digest": digest.split('_').next()});
        let lease = app.request_as(id, Method::POST, "/v1/leases").json(&wanted);
        assert_eq!(lease.send().await.unwrap().status(), 200);
    };
    for id in ["a", "b"] {
        use_all(id).await;
        let stored = format!("{id}/tmp/thumbnails/{}", name_of(&shown, 100));
        let is_stored = || task.server.object(BUCKET, &stored).is_some();
        until(is_stored, "stored").await;
    }
    // An upload begins before the suspension and ends after it.
    let (sender, body) = body_by_hand();
    sender.send(Bytes::from_static(b"first")).unwrap();
    let upload = app
        .request_as("a", Method::PUT, "/v1/files/late")
        .body(body);
    let upload = tokio::spawn(upload.send());
    until(|| app.served.metrics.in_flight.get() > 0, "begun").await;

    change(&["suspend", "a"], &settings).await;
    let refused = until_status(403, || get("a", "/v1/files")).await;
    assert_eq!(problem_code(refused).await, "tenant_suspended");
    let ticket = Ticket {
        tenant: "a".parse().unwrap(),
        key: "shown".to_owned(),
        disposition: "inline".into(),
        content_type: None,
        expires_at: std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 60,
    };
    let path = format!("/kura/t/{}/a.png", ticket.sign(&app.token("a"), "a.png"));
    let refused = app.client.get(format!("{}{path}", app.url)).send().await;
    let refused = refused.unwrap();
    assert_eq!(refused.status(), 403);
    sender.send(Bytes::from_static(b" and last")).unwrap();
    drop(sender);
    assert_eq!(upload.await.unwrap().unwrap().status(), 201);

    let requests = |of: &str| {
        let requests = task.server.take_requests();
        let of = format!("{of}/");
        let own = requests
            .iter()
            .filter(|request| request.key.starts_with(&of));
        own.count()
    };
    requests("");
    use_all("b").await;
    assert_eq!(requests("b"), 0, "b's are still at hand");
    change(&["resume", "a"], &settings).await;
    let late = until_status(200, || get("a", "/v1/files/late")).await;
    assert_eq!(late.text().await.unwrap(), "first and last");
    requests("");
    use_all("a").await;
    // The thumbnail; the picture that is none, twice looked for; the lease.
    assert!(requests("a") >= 3, "a's are not");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_and_moved_tenants_are_served_within_seconds() {
    let task = Task::new().await;
    let (app, settings) = serving(&task).await;
    let list = async |id: &str| {
        let get = app.request_as(id, Method::GET, "/v1/files");
        get.send().await.unwrap()
    };
    assert_eq!(list("c").await.status(), 401);
    change(
        &["add", "c", "--bucket", BUCKET, "--folder", "c"],
        &settings,
    )
    .await;
    until_status(200, || list("c")).await;
    task.server.put_object(BUCKET, "d/file", "of d", &[]);
    change(&["set", "c", "s3.folder=d"], &settings).await;
    let read = async || {
        let get = app.request_as("c", Method::GET, "/v1/files/file");
        get.send().await.unwrap()
    };
    let file = until_status(200, read).await;
    assert_eq!(file.text().await.unwrap(), "of d");
}
