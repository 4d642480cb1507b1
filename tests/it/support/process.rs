//! The real `kura` as a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::app::{FOLDER, SECRET};
use super::seaweed::static_key;

/// A running `kura serve`. Killed when dropped.
pub struct Process {
    /// Where it listens.
    pub url: String,
    /// A client with its own connections.
    pub client: Client,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// `kura` with an environment of nothing but `settings`.
pub fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kura"));
    command
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied());
    command
}

/// Runs `kura` to its end.
pub fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    command(arguments, settings).output().unwrap()
}

impl Process {
    /// Starts `kura serve` on a directory store.
    pub fn directory(root: &str, settings: &[(&str, &str)]) -> Self {
        let store = format!("dir:{root}");
        let mut all = vec![("KURA_STORE", store.as_str())];
        all.extend_from_slice(settings);
        Self::start(&all)
    }

    /// Starts `kura serve` on an S3 server.
    pub fn s3(endpoint: &str, bucket: &str, settings: &[(&str, &str)]) -> Self {
        let key = static_key();
        let mut all = vec![
            ("KURA_STORE", "s3"),
            ("AWS_ENDPOINT_URL_S3", endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", &key.id),
            ("AWS_SECRET_ACCESS_KEY", &key.secret),
            ("S3_BUCKET_NAME", bucket),
            ("S3_FOLDER_NAME", FOLDER),
        ];
        all.extend_from_slice(settings);
        Self::start(&all)
    }

    fn start(settings: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("KURA_LISTEN", "127.0.0.1:0"),
            ("KURA_SECRET", SECRET),
            ("KURA_LOG_FORMAT", "json"),
        ];
        all.extend_from_slice(settings);
        let mut child = command(&["serve"], &all)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines
                .next()
                .expect("kura ended before it listened")
                .unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        // A log that nobody reads would stop the process in the end.
        let log = Arc::<Mutex<Vec<String>>>::default();
        let read = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.for_each(|line| read.lock().unwrap().extend(line));
        });
        Self {
            url,
            client: Client::new(),
            child,
            log,
        }
    }

    /// A request of the single tenant.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let secrets = kura::tenant::Secrets::parse(SECRET).unwrap();
        let token = secrets.token(&"default".parse().unwrap());
        let url = format!("{}{path}", self.url);
        self.client.request(method, url).bearer_auth(token)
    }

    /// POST of a file whose name Kura may change.
    pub fn upload(&self, name: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let path = format!("/v1/files?directory=2026/11&name={name}");
        self.request(Method::POST, &path).body(body)
    }

    /// GET of a file.
    pub fn download(&self, key: &str) -> RequestBuilder {
        self.request(Method::GET, &format!("/v1/files/{key}"))
    }

    /// What it has logged since it listens.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A line of `/proc/PID/status` in bytes, such as `VmHWM`, the most memory
    /// it ever had.
    pub fn memory_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        let kib = line
            .trim_start_matches(':')
            .trim()
            .strip_suffix(" kB")
            .unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Ends it as a crash of the machine would, without a chance to clean up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as an orchestrator does.
    pub fn terminate(&self) {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Its exit code, once it has ended.
    pub async fn exit_code(mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("kura does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
