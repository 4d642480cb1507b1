//! Thumbnails from memory, beside nginx that serves the same bytes from a file.
//!
//! Both write a line to their log for each request.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::support::app::SECRET;
use crate::support::process::command;

const ROUNDS: usize = 3;
/// Requests at once.
const CONNECTIONS: &str = "32";

/// A server, killed when dropped.
struct Server {
    child: Child,
    url: String,
}

/// What `wrk` saw.
struct Seen {
    requests_per_second: f64,
    p99_milliseconds: f64,
}

/// Prints the table.
pub(crate) async fn measure(corpus: &Path) {
    let root = tempfile::tempdir().unwrap();
    let kura = Server::kura(root.path());
    let token = kura::tenant::Secrets::parse(SECRET).unwrap();
    let token = format!("Bearer {}", token.token(&"default".parse().unwrap()));
    let client = Client::new();
    until_ready(&client, &format!("{}/readyz", kura.url)).await;

    let source = fs::read(corpus.join("photo-12mp.jpg")).unwrap();
    let size = source.len();
    let upload = format!("{}/v1/files?directory=2026/11&name=photo.jpg", kura.url);
    let upload = client
        .post(upload)
        .header("authorization", &token)
        .body(source);
    let reply: Value = upload.send().await.unwrap().json().await.unwrap();
    let [digest, key] = ["digest", "key"].map(|name| reply[name].as_str().unwrap());
    let url = format!(
        "{}/v1/thumbnails/{digest}_{size}_200.thumb?source={key}",
        kura.url
    );
    let made = client
        .get(&url)
        .header("authorization", &token)
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), StatusCode::OK);
    let tag = made.headers()["etag"].to_str().unwrap().to_owned();
    let bytes = made.bytes().await.unwrap();

    fs::write(root.path().join("photo.jpg"), &bytes).unwrap();
    let nginx = Server::nginx(root.path());
    let file = format!("{}/photo.jpg", nginx.url);
    until_ready(&client, &file).await;
    let file_tag = client.get(&file).send().await.unwrap().headers()["etag"]
        .to_str()
        .unwrap()
        .to_owned();

    let length = bytes.len();
    println!(
        "| a thumbnail of {length} bytes, {CONNECTIONS} at once | Kura requests/s | p99 ms | nginx requests/s | p99 ms | Kura/nginx |"
    );
    println!("|---|---|---|---|---|---|");
    for (what, tags) in [("200", None), ("304", Some((tag, file_tag)))] {
        let (tag, file_tag) = tags.unzip();
        for _ in 0..ROUNDS {
            let ours = wrk(&url, Some(&token), tag.as_deref());
            let theirs = wrk(&file, None, file_tag.as_deref());
            println!(
                "| {what} | {:.0} | {:.2} | {:.0} | {:.2} | {:.2} |",
                ours.requests_per_second,
                ours.p99_milliseconds,
                theirs.requests_per_second,
                theirs.p99_milliseconds,
                ours.requests_per_second / theirs.requests_per_second,
            );
        }
    }
}

impl Server {
    fn kura(root: &Path) -> Self {
        let address = free_address();
        let store = format!("dir:{}/store", root.display());
        let settings = [
            ("KURA_LISTEN", address.as_str()),
            ("KURA_SECRET", SECRET),
            ("KURA_STORE", &store),
            ("KURA_LOG_FORMAT", "json"),
        ];
        let log = File::create(root.join("kura.log")).unwrap();
        let child = command(&["serve"], &settings).stdout(log).spawn().unwrap();
        let url = format!("http://{address}");
        Self { child, url }
    }

    fn nginx(root: &Path) -> Self {
        let address = free_address();
        let root = root.display();
        let configuration = format!(
            "daemon off; user root; worker_processes auto; pid {root}/nginx.pid;
             events {{}}
             http {{
                 access_log {root}/access.log; sendfile on; tcp_nopush on;
                 keepalive_requests 100000000; open_file_cache max=100;
                 server {{ listen {address}; root {root}; }}
             }}"
        );
        let file = format!("{root}/nginx.conf");
        fs::write(&file, configuration).unwrap();
        let log = format!("{root}/error.log");
        let mut command = Command::new("nginx");
        command
            .args(["-c", &file, "-e", &log])
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let url = format!("http://{address}");
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx' master takes its workers along when it is asked.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn until_ready(client: &Client, url: &str) {
    for _ in 0..1000 {
        let answer = client.get(url).send().await;
        if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{url} does not answer");
}

fn wrk(url: &str, token: Option<&str>, tag: Option<&str>) -> Seen {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-d5s", "--latency", "-c", CONNECTIONS]);
    if let Some(token) = token {
        command.arg("-H").arg(format!("Authorization: {token}"));
    }
    if let Some(tag) = tag {
        command.arg("-H").arg(format!("If-None-Match: {tag}"));
    }
    let output = command.arg(url).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let after = |label: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        line.unwrap().trim().to_owned()
    };
    Seen {
        requests_per_second: after("Requests/sec:").parse().unwrap(),
        p99_milliseconds: milliseconds(&after("99%")),
    }
}

/// Such as 850.00us, 1.20ms or 1.02s.
fn milliseconds(text: &str) -> f64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "us" => 1e-3,
        "ms" => 1.0,
        _ => 1e3,
    };
    digits.parse::<f64>().unwrap() * factor
}
