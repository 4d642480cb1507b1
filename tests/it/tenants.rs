//! Many tenants: each sees its own files and no others', and their settings
//! change while Kura runs.

use std::path::Path;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::{BUCKET, FOLDER, SECRET, TestApp, problem_code};
use crate::support::s3_server::S3Server;

/// Where the settings lie.
enum Files {
    Directory(TempDir),
    S3,
}

/// A Kura of many tenants.
struct Many {
    app: TestApp,
    server: Option<S3Server>,
    files: Files,
}

impl Many {
    /// Tenants `a` and `b`, from a directory and from S3.
    async fn both() -> [Self; 2] {
        let directory = tempfile::tempdir().unwrap();
        let tenants = format!("dir:{}", directory.path().display());
        let app = TestApp::with(&[("KURA_TENANTS", &tenants)], |_| {}).await;
        let server = S3Server::start()
            .await
            .with_bucket(BUCKET)
            .with_bucket("conf");
        let settings = [("KURA_TENANTS", "s3://conf/tenants/")];
        let on_s3 = TestApp::s3_with(&server, &settings, |_| {}).await;
        let all = [
            Self {
                app,
                server: None,
                files: Files::Directory(directory),
            },
            Self {
                app: on_s3,
                server: Some(server),
                files: Files::S3,
            },
        ];
        for many in &all {
            many.settle("a", &settings_of("user001")).await;
            many.settle("b", &settings_of("user002")).await;
        }
        all
    }

    fn write(&self, id: &str, yaml: &str) {
        match (&self.files, &self.server) {
            (Files::Directory(directory), _) => {
                // As `kura tenant` does: a file is replaced, not written into.
                let new = directory.path().join(".new");
                std::fs::write(&new, yaml).unwrap();
                std::fs::rename(new, directory.path().join(format!("{id}.yml"))).unwrap();
            }
            (Files::S3, Some(server)) => {
                let key = format!("tenants/{id}.yml");
                server.put_object("conf", &key, yaml.to_owned(), &[]);
            }
            (Files::S3, None) => unreachable!(),
        }
    }

    async fn refresh(&self) {
        self.app.served.tenants.refresh().await.unwrap();
    }

    async fn settle(&self, id: &str, yaml: &str) {
        self.write(id, yaml);
        self.refresh().await;
    }

    async fn send(&self, id: &str, method: Method, path: &str, body: &str) -> Response {
        let request = self.app.request_as(id, method, path).body(body.to_owned());
        request.send().await.unwrap()
    }

    async fn post(&self, id: &str, path: &str, body: Value) -> Response {
        let request = self.app.request_as(id, Method::POST, path).json(&body);
        request.send().await.unwrap()
    }

    async fn text(&self, id: &str, path: &str) -> String {
        let response = self.send(id, Method::GET, path, "").await;
        assert_eq!(response.status(), 200, "{id} {path}");
        response.text().await.unwrap()
    }

    async fn with_token(&self, token: &str) -> Response {
        let request = self.app.client.get(format!("{}/v1/files", self.app.url));
        request.bearer_auth(token).send().await.unwrap()
    }
}

/// As in the operator's files, with sections that are not Kura's.
fn settings_of(folder: &str) -> String {
    format!(
        "db: {{name: redmine, user: u, password: secret}}\n\
         s3: {{bucket: {BUCKET}, folder: {folder}}}\n\
         property: {{sub_domain: sitea, limit_ips: ['192.168.0.0/24']}}\n"
    )
}

const FILE: &str = "/v1/files/2026/11/a.txt";
const IMPORT: &str = "/v1/imports/0123456789abcdef";

#[tokio::test]
async fn bucket_that_would_lie_in_the_cache_is_refused() {
    let tenants = tempfile::tempdir().unwrap();
    let settings = "s3: {bucket: cache, folder: user001}\n";
    std::fs::write(tenants.path().join("a.yml"), settings).unwrap();
    let source = format!("dir:{}", tenants.path().display());
    let app = TestApp::with(&[("KURA_TENANTS", &source)], |_| {}).await;
    app.wait_until_ready().await;
    assert_eq!(app.served.tenants.broken_len(), 1);
}

#[tokio::test]
async fn same_key_is_another_file_for_each_tenant() {
    for many in Many::both().await {
        for path in [FILE, IMPORT] {
            for id in ["a", "b"] {
                let stored = many.send(id, Method::PUT, path, &format!("of {id}")).await;
                assert_eq!(stored.status(), 201);
            }
            assert_eq!(many.text("a", path).await, "of a");
            assert_eq!(many.text("b", path).await, "of b");
            let gone = many.send("a", Method::DELETE, path, "").await;
            assert_eq!(gone.status(), 204);
            assert_eq!(many.text("b", path).await, "of b");
        }
        if let Some(server) = &many.server {
            let expected = [
                "user002/2026/11/a.txt",
                "user002/tmp/imports/0123456789abcdef",
            ];
            assert_eq!(server.keys(BUCKET), expected);
        }
    }
}

#[tokio::test]
async fn no_route_leads_to_another_tenants_files() {
    for many in Many::both().await {
        for path in [FILE, IMPORT] {
            assert_eq!(
                many.send("a", Method::PUT, path, "of a").await.status(),
                201
            );
        }
        for path in [FILE, IMPORT, "/v1/files/user001/2026/11/a.txt"] {
            for method in [Method::GET, Method::HEAD] {
                let response = many.send("b", method, path, "").await;
                assert_eq!(response.status(), 404, "{path}");
            }
        }
        for prefix in ["", "2026", "user001/", "u"] {
            let listed = many.text("b", &format!("/v1/files?prefix={prefix}")).await;
            assert_eq!(listed, "{\"files\":[]}", "{prefix}");
        }
        let moved = json!({"from": "2026/11/a.txt", "to": "mine.txt"});
        assert_eq!(many.post("b", "/v1/move", moved).await.status(), 404);
        let entries = json!({"entries": [{"key": "2026/11/a.txt", "name": "a"}]});
        assert_eq!(many.post("b", "/v1/archives", entries).await.status(), 404);
        for (method, path) in [(Method::DELETE, FILE), (Method::DELETE, IMPORT)] {
            assert_eq!(many.send("b", method, path, "").await.status(), 204);
        }
        // A cursor of one tenant names a key, not a place of that tenant.
        let put = many.send("a", Method::PUT, "/v1/files/b.txt", "x").await;
        assert_eq!(put.status(), 201);
        let page: Value = serde_json::from_str(&many.text("a", "/v1/files?limit=1").await).unwrap();
        let cursor = page["next"].as_str().unwrap();
        let listed = many.text("b", &format!("/v1/files?cursor={cursor}")).await;
        assert_eq!(listed, "{\"files\":[]}");
        assert_eq!(many.text("a", FILE).await, "of a");
        assert_eq!(many.text("a", IMPORT).await, "of a");
    }
}

#[tokio::test]
async fn suspended_tenant_is_refused_and_resumed_while_running() {
    for many in Many::both().await {
        assert_eq!(
            many.send("a", Method::PUT, FILE, "of a").await.status(),
            201
        );
        let suspended = settings_of("user001") + "kura: {state: suspended}\n";
        many.settle("a", &suspended).await;
        for (method, path) in [
            (Method::GET, FILE),
            (Method::PUT, FILE),
            (Method::DELETE, FILE),
            (Method::GET, "/v1/files"),
            (Method::GET, IMPORT),
            (Method::POST, "/v1/move"),
            (Method::POST, "/v1/archives"),
        ] {
            let refused = many.send("a", method.clone(), path, "x").await;
            assert_eq!(refused.status(), 403, "{method} {path}");
            assert_eq!(problem_code(refused).await, "tenant_suspended");
        }
        let other = many.send("b", Method::PUT, FILE, "of b").await;
        assert_eq!(other.status(), 201);
        many.settle("a", &settings_of("user001")).await;
        assert_eq!(many.text("a", FILE).await, "of a");
    }
}

#[tokio::test]
async fn tenants_come_change_and_go_while_running() {
    for many in Many::both().await {
        let token = many.app.token("new");
        let refused = many.with_token(&token).await;
        assert_eq!(refused.status(), 401);
        many.settle("new", &settings_of("user003")).await;
        assert_eq!(many.send("new", Method::PUT, FILE, "3").await.status(), 201);
        many.settle("new", &settings_of("user004")).await;
        assert_eq!(many.send("new", Method::GET, FILE, "").await.status(), 404);
        many.settle("new", &settings_of("user003")).await;
        assert_eq!(many.text("new", FILE).await, "3");
        if let Files::Directory(directory) = &many.files {
            std::fs::remove_file(directory.path().join("new.yml")).unwrap();
            many.refresh().await;
            assert_eq!(many.with_token(&token).await.status(), 401);
        }
    }
}

#[tokio::test]
async fn broken_file_leaves_its_last_good_version_and_the_others_alone() {
    for many in Many::both().await {
        assert_eq!(
            many.send("a", Method::PUT, FILE, "of a").await.status(),
            201
        );
        for broken in [
            "s3: [",
            "",
            "\u{0}",
            "s3: {bucket: files}\n",
            "s3: {bucket: files, folder: ''}\n",
            "s3: {bucket: files, folder: ../user002}\n",
            "s3: {bucket: files, folder: user001}\nkura: {state: gone}\n",
        ] {
            many.settle("a", broken).await;
            assert_eq!(many.text("a", FILE).await, "of a", "{broken:?}");
            assert_eq!(many.send("b", Method::GET, FILE, "").await.status(), 404);
            assert_eq!(many.app.served.tenants.broken_len(), 1, "{broken:?}");
        }
        many.settle("a", &settings_of("user001")).await;
        assert_eq!(many.app.served.tenants.broken_len(), 0);
        // One that was never good is not served at all.
        many.settle("c", "s3: [").await;
        assert_eq!(many.with_token(&many.app.token("c")).await.status(), 401);
    }
}

#[tokio::test]
async fn overlapping_folders_are_refused() {
    for many in Many::both().await {
        assert_eq!(
            many.send("a", Method::PUT, FILE, "of a").await.status(),
            201
        );
        for folder in ["user001", "user001/", "user001/2026"] {
            many.settle("c", &settings_of(folder)).await;
            let refused = many.with_token(&many.app.token("c")).await;
            assert_eq!(refused.status(), 401, "{folder}");
            assert_eq!(many.app.served.tenants.broken_len(), 1, "{folder}");
        }
        // Beside it is not inside it.
        many.settle("c", &settings_of("user0010")).await;
        assert_eq!(many.send("c", Method::GET, FILE, "").await.status(), 404);
        // Nor does one in force get another's by a change.
        many.settle("b", &settings_of("user001")).await;
        assert_eq!(many.send("b", Method::GET, FILE, "").await.status(), 404);
        assert_eq!(many.text("a", FILE).await, "of a");
    }
}

#[tokio::test]
async fn upload_over_the_quota_is_refused_and_its_neighbour_takes_it() {
    for many in Many::both().await {
        let quota = "kura: {quota_bytes: 10}\n";
        many.settle("a", &(settings_of("user001") + quota)).await;
        let put = async |id, name: &str, body| {
            let path = format!("/v1/files/{name}");
            many.send(id, Method::PUT, &path, body).await
        };
        // All are let in while it is being found out what there is.
        let mut answer = put("a", "file", "1234567").await;
        for _ in 0..1000 {
            if answer.status() != 201 {
                break;
            }
            answer = put("a", "file", "1234567").await;
        }
        assert_eq!(answer.status(), 413);
        assert_eq!(problem_code(answer).await, "quota_exceeded");
        let metrics = many.app.served.metrics.encode();
        assert!(metrics.contains("http_rejections_total{code=\"quota_exceeded\"} 1"));
        assert_eq!(put("b", "file", "1234567890!").await.status(), 201);
        assert_eq!(many.text("a", "/v1/files/file").await, "1234567");
    }
}

#[tokio::test]
async fn wrong_tokens_are_refused() {
    for many in Many::both().await {
        let good = many.app.token("a");
        let (id, mac) = good.rsplit_once('.').unwrap();
        let other_mac = many.app.token("b").rsplit_once('.').unwrap().1.to_owned();
        assert_eq!(many.with_token(&good).await.status(), 200);
        for token in [
            String::new(),
            "nonsense".into(),
            good[..good.len() - 1].to_owned(),
            good.clone() + "A",
            format!("{id}."),
            format!(".{mac}"),
            format!("{id}.{other_mac}"),
            format!("b.{mac}"),
            format!("A.{mac}"),
            many.app.token("unknown"),
        ] {
            let refused = many.with_token(&token).await;
            assert_eq!(refused.status(), 401, "{token}");
            assert_eq!(refused.headers()["www-authenticate"], "Bearer");
            assert_eq!(problem_code(refused).await, "unauthorized");
        }
        for header in [format!("Basic {good}"), good.clone(), "Bearer".into()] {
            let request = many.app.client.get(format!("{}/v1/files", many.app.url));
            let refused = request
                .header("Authorization", &header)
                .send()
                .await
                .unwrap();
            assert_eq!(refused.status(), 401, "{header}");
        }
        let none = many.app.client.get(format!("{}/v1/files", many.app.url));
        assert_eq!(none.send().await.unwrap().status(), 401);
        let lower = many.app.client.get(format!("{}/v1/files", many.app.url));
        let lower = lower.header("Authorization", format!("bearer {good}"));
        assert_eq!(lower.send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn refused_upload_is_not_stored() {
    for many in Many::both().await {
        let url = format!("{}/v1/files?name=a.txt", many.app.url);
        let request = many.app.client.post(url).bearer_auth("a.wrong").body("x");
        assert_eq!(request.send().await.unwrap().status(), 401);
        assert_eq!(many.text("a", "/v1/files").await, "{\"files\":[]}");
    }
}

#[tokio::test]
async fn previous_secret_is_accepted_until_it_is_dropped() {
    let settings = |secrets| [("KURA_SECRET", secrets), ("S3_FOLDER_NAME", FOLDER)];
    let old = TestApp::with(&settings(SECRET), |_| {}).await;
    let both = format!("the next secret of tests,{SECRET}");
    let rotating = TestApp::with(&settings(&both), |_| {}).await;
    let new = TestApp::with(&settings("the next secret of tests"), |_| {}).await;
    let (old_token, new_token) = (old.token("default"), new.token("default"));
    assert_ne!(old_token, new_token);
    assert_eq!(rotating.token("default"), new_token);
    for (app, token, status) in [
        (&old, &old_token, 200),
        (&old, &new_token, 401),
        (&rotating, &old_token, 200),
        (&rotating, &new_token, 200),
        (&new, &new_token, 200),
        (&new, &old_token, 401),
    ] {
        let request = app.client.get(format!("{}/v1/files", app.url));
        let response = request.bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn tenants_in_a_directory_have_their_own_folders_there() {
    let [many, _] = Many::both().await;
    assert_eq!(
        many.send("a", Method::PUT, FILE, "of a").await.status(),
        201
    );
    let objects = many.app.root.path().join(BUCKET).join("objects");
    let path = objects.join(Path::new("user001/2026/11/a.txt"));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "of a");
}
