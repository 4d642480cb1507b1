//! The process as its orchestrator and its operator meet it: signals, crashes,
//! exit codes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::support::pattern;
use crate::support::process::{Process, run};
use crate::support::s3_server::S3Server;
use crate::support::stand::eventually;

/// The uploads that were acknowledged: key → seed and size.
type Acknowledged = Arc<Mutex<HashMap<String, (u64, usize)>>>;

/// Of the uploads: with parts of 5 MiB, the last takes two.
const SIZES: [usize; 4] = [10, 3000, 300_000, 6 << 20];

/// And this one five.
const LARGE: usize = 22 << 20;

/// Uploads without a pause until the process answers no more.
async fn upload_until_it_ends(
    process: &Process,
    worker: u64,
    sizes: &[usize],
    acknowledged: &Acknowledged,
) {
    for (n, size) in (0..).zip(sizes.iter().copied().cycle()) {
        let seed = worker * 1_000_000 + n;
        let name = format!("261122194559_{}.bin", n % 5);
        let Ok(reply) = process.upload(&name, pattern(seed, size)).send().await else {
            return;
        };
        if reply.status() == 201 {
            // A reply that breaks off is no acknowledgement.
            let Ok(reply) = reply.json::<Value>().await else {
                return;
            };
            let key = reply["key"].as_str().unwrap().to_owned();
            acknowledged.lock().await.insert(key, (seed, size));
        }
    }
}

async fn check_acknowledged(process: &Process, acknowledged: &Acknowledged) {
    for (key, (seed, size)) in acknowledged.lock().await.iter() {
        let reply = process.download(key).send().await.unwrap();
        assert_eq!(reply.status(), 200, "{key} was acknowledged and is lost");
        assert!(
            reply.bytes().await.unwrap() == pattern(*seed, *size),
            "{key} is damaged"
        );
    }
}

/// Every listed file reads back whole: its digest is checked as it is read.
async fn check_listed(process: &Process) {
    let mut path = "/v1/files?limit=1000".to_owned();
    loop {
        let page = process.request(Method::GET, &path).send().await.unwrap();
        let page: Value = page.json().await.unwrap();
        for file in page["files"].as_array().unwrap() {
            let bytes = process
                .download(file["key"].as_str().unwrap())
                .send()
                .await
                .unwrap();
            let bytes = bytes.bytes().await.unwrap();
            assert_eq!(bytes.len() as u64, file["size"]);
            assert_eq!(kura::digest::Digest::of(&bytes).to_string(), file["digest"]);
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/files?limit=1000&cursor={next}"),
            None => return,
        }
    }
}

/// The unfinished files below `path`: all but the locks of live processes.
fn unfinished_below(path: &Path) -> usize {
    let entries = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let count = |path: std::path::PathBuf| {
        if path.is_dir() {
            unfinished_below(&path)
        } else {
            usize::from(!path.ends_with("lock"))
        }
    };
    entries.map(count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9_and_leftovers_are_swept() {
    let root = tempfile::tempdir().unwrap();
    let acknowledged = Acknowledged::default();
    let start = || Process::directory(root.path().to_str().unwrap(), &[]);
    for round in 0..6 {
        let process = start();
        let workers =
            (0..6).map(|w| upload_until_it_ends(&process, round * 10 + w, &SIZES, &acknowledged));
        // Each round is cut off at another moment.
        let moment = Duration::from_millis(90 + 61 * round);
        let _ = tokio::time::timeout(moment, join_all(workers)).await;
        process.kill();
    }
    assert!(
        acknowledged.lock().await.len() > 50,
        "there was something to lose"
    );
    let process = start();
    check_acknowledged(&process, &acknowledged).await;
    check_listed(&process).await;
    assert_eq!(unfinished_below(&root.path().join("files/tmp")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_sigterm_under_load() {
    let server = S3Server::start().await.with_bucket("files");
    server.latency(Duration::from_millis(20));
    let grace = Duration::from_secs(20);
    let settings = [("KURA_PART_BYTES", "5242880"), ("KURA_GRACE_SECONDS", "20")];
    let process = Process::s3(&server.endpoint(), "files", &settings);
    let acknowledged = Acknowledged::default();
    let small = (0..4).map(|w| upload_until_it_ends(&process, w, &SIZES, &acknowledged));
    let large = (4..6).map(|w| upload_until_it_ends(&process, w, &[LARGE], &acknowledged));
    let load = async { tokio::join!(join_all(small), join_all(large)) };
    let terminate = async {
        eventually("uploads of one part and of several are under way", || {
            server.keys("files").len() > 20 && !server.open_uploads().is_empty()
        })
        .await;
        process.terminate();
        Instant::now()
    };
    let (_, asked) = tokio::join!(load, terminate);
    assert_eq!(process.exit_code().await, Some(0));
    assert!(asked.elapsed() < grace, "{:?} to end", asked.elapsed());
    assert_eq!(server.open_uploads(), []);
    let acknowledged = acknowledged.lock().await;
    let large = acknowledged.values().filter(|(_, size)| *size == LARGE);
    assert!(large.count() > 0, "a large upload under way was finished");
    for (key, (seed, size)) in acknowledged.iter() {
        let object = server.object("files", &format!("user001/{key}")).unwrap();
        assert!(object.bytes() == pattern(*seed, *size), "{key}");
    }
    // What was not acknowledged, because the reply could not be sent any
    // more, is whole at least; and no claim is left.
    for key in server.keys("files") {
        let object = server.object("files", &key).unwrap();
        assert_eq!(object.metadata("kura-claim"), None, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_within_the_budget_whatever_is_uploaded() {
    let server = S3Server::start().await.with_bucket("files");
    let budget = 64 << 20;
    let settings = [
        ("KURA_MEMORY_BYTES", "67108864"),
        ("KURA_WAIT_SECONDS", "60"),
    ];
    let process = Process::s3(&server.endpoint(), "files", &settings);
    // The code of a debug build is many times that of a release: what it has
    // allocated is what counts. `make bench` measures all of a release.
    let allocated = process.memory_bytes("RssAnon");
    assert!(
        allocated < 10 << 20,
        "{allocated} bytes allocated when idle"
    );
    let idle = process.memory_bytes("VmRSS");
    let body = pattern(1, 24 << 20);
    let uploads = (0..16).map(|n| {
        process
            .upload(&format!("26112219455{}_{n}.bin", n % 10), body.clone())
            .send()
    });
    for reply in join_all(uploads).await {
        assert_eq!(reply.unwrap().status(), 201);
    }
    let peak = process.memory_bytes("VmHWM");
    // Besides part buffers there are the sockets' and the tasks' own.
    assert!(
        peak - idle < budget + (24 << 20),
        "{peak} bytes at most, {idle} when idle"
    );
    let metrics = process
        .client
        .get(format!("{}/metrics", process.url))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let peak_buffers = metrics
        .lines()
        .find_map(|line| line.strip_prefix("kura_buffer_peak_bytes "));
    assert!(peak_buffers.unwrap().parse::<u64>().unwrap() <= budget);
    assert!(
        metrics.contains("\nkura_buffer_bytes 0\n"),
        "all has been given back"
    );
}

#[test]
fn every_configuration_error_is_told_at_once_with_exit_code_2() {
    let settings = [
        ("KURA_STORE", "tape"),
        ("KURA_MAX_REQUESTS", "many"),
        ("KURA_SECRET", "x"),
    ];
    let output = run(&["serve", "--check"], &settings);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    for name in ["KURA_STORE", "KURA_MAX_REQUESTS", "KURA_SECRET"] {
        assert!(text.contains(name), "{text}");
    }
    assert_eq!(run(&["serve", "--check"], &[]).status.code(), Some(0));
}

#[test]
fn check_tells_what_the_file_of_redmica_s3_says_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s3.yml");
    let file = "staging:\n  access_key_id: id\n  secret_access_key: <%= ENV['KEY'] %>\n  bucket: stage\n  \
                ssl_verify_peer: false\n";
    std::fs::write(&path, file).unwrap();
    let settings = [
        ("KURA_REDMICA_S3", path.to_str().unwrap()),
        ("RAILS_ENV", "staging"),
        ("KEY", "hidden"),
        ("KURA_SECRET", "0123456789abcdef"),
    ];
    let output = run(&["serve", "--check"], &settings);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8(output.stdout).unwrap();
    for word in [
        "S3_BUCKET_NAME=stage",
        "KURA_STORE=s3",
        "static key",
        "always verified",
    ] {
        assert!(told.contains(word), "{word} is missing in {told}");
    }
    assert!(!told.contains("hidden"));
}

#[tokio::test]
async fn token_command_prints_the_token_that_the_server_accepts() {
    let root = tempfile::tempdir().unwrap();
    let store = format!("dir:{}", root.path().display());
    let settings = [("KURA_STORE", store.as_str()), ("KURA_SECRET", "")];
    let process = Process::directory(root.path().to_str().unwrap(), &settings);
    let token = run(&["token", "default"], &settings);
    let token = String::from_utf8(token.stdout).unwrap();
    let url = format!("{}/v1/files", process.url);
    let reply = process
        .client
        .get(&url)
        .bearer_auth(token.trim())
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 200);
    let refused = run(&["token", "no/tenant"], &settings);
    assert_eq!(refused.status.code(), Some(1));
}

#[tokio::test]
async fn healthcheck_succeeds_only_while_the_server_is_alive() {
    let root = tempfile::tempdir().unwrap();
    let process = Process::directory(root.path().to_str().unwrap(), &[]);
    let address = process.url.trim_start_matches("http://").to_owned();
    let check = |address: &str| {
        run(&["healthcheck"], &[("KURA_LISTEN", address)])
            .status
            .code()
    };
    assert_eq!(check(&address), Some(0));
    process.kill();
    assert_eq!(check(&address), Some(1));
}

#[tokio::test]
async fn address_in_use_is_a_clear_error() {
    let root = tempfile::tempdir().unwrap();
    let process = Process::directory(root.path().to_str().unwrap(), &[]);
    let address = process.url.trim_start_matches("http://").to_owned();
    let store = format!("dir:{}", root.path().display());
    let output = run(
        &["serve"],
        &[("KURA_LISTEN", &address), ("KURA_STORE", &store)],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("KURA_LISTEN")
    );
}
