//! A server as a process of its own, and what it costs: CPU time of it and of
//! all processes that it has started, and its memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::app::{FOLDER, SECRET};
use crate::support::process::command;
use crate::support::seaweed::static_key;

/// In which the kernel counts CPU time.
const TICKS_A_SECOND: f64 = 100.0;
/// The bucket of all questions.
pub(crate) const BUCKET: &str = "bench";

/// A running server, asked to end when dropped.
pub(crate) struct Server {
    /// Host and port.
    pub(crate) address: String,
    /// What it writes and is not asked to keep.
    _root: TempDir,
    child: Child,
}

impl Server {
    /// Kura on a directory store of its own.
    pub(crate) fn kura(settings: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = format!("dir:{}", root.path().join("store").display());
        let mut all = vec![("KURA_STORE", store.as_str())];
        all.extend_from_slice(settings);
        Self::start_kura(root, &all)
    }

    /// Kura on an S3 server.
    pub(crate) fn kura_on(endpoint: &str, settings: &[(&str, &str)]) -> Self {
        let key = static_key();
        let mut all = vec![
            ("KURA_STORE", "s3"),
            ("AWS_ENDPOINT_URL_S3", endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", &key.id),
            ("AWS_SECRET_ACCESS_KEY", &key.secret),
            ("S3_BUCKET_NAME", BUCKET),
            ("S3_FOLDER_NAME", FOLDER),
            // Requests are counted: none may come by itself.
            ("KURA_PING_SECONDS", "86400"),
        ];
        all.extend_from_slice(settings);
        Self::start_kura(tempfile::tempdir().unwrap(), &all)
    }

    /// Its log goes to a file, as nginx' does.
    fn start_kura(root: TempDir, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("KURA_LISTEN", "127.0.0.1:0"),
            ("KURA_SECRET", SECRET),
            ("KURA_LOG_FORMAT", "json"),
        ];
        all.extend_from_slice(settings);
        let log = root.path().join("log");
        let child = command(&["serve"], &all)
            .stdout(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let address =
            wait_for(|| listening(&log)).unwrap_or_else(|| panic!("kura does not listen"));
        let address = address.trim_start_matches("http://").to_owned();
        wait_for(|| is_ready(&address)).unwrap_or_else(|| panic!("kura does not become ready"));
        Self {
            address,
            _root: root,
            child,
        }
    }

    /// nginx with what is said of its one `server`; none where there is none.
    pub(crate) fn nginx(outside: &str, inside: &str) -> Option<Self> {
        if !has("nginx") {
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let address = free_address();
        let path = root.path().display();
        let configuration = format!(
            "daemon off; worker_processes auto; pid {path}/pid; user root;
             events {{ worker_connections 4096; }}
             http {{
                 access_log {path}/access.log; sendfile on; tcp_nopush on;
                 client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
                 keepalive_requests 100000000; open_file_cache max=100000;
                 {outside}
                 server {{ listen {address} backlog=4096; {inside} }}
             }}"
        );
        let file = root.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(root.path().join("error.log"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(|| TcpStream::connect(&address).ok())
            .unwrap_or_else(|| panic!("nginx does not listen"));
        Some(Self {
            address,
            _root: root,
            child,
        })
    }

    /// nginx before an S3 server, as plain as can be: it passes bytes on.
    pub(crate) fn proxy(endpoint: &str) -> Option<Self> {
        let upstream = endpoint.trim_start_matches("http://");
        Self::nginx(
            &format!("upstream s3 {{ server {upstream}; keepalive 128; }}"),
            &format!(
                "client_max_body_size 0;
                 location / {{
                     proxy_pass http://s3; proxy_http_version 1.1;
                     proxy_set_header Connection ''; proxy_set_header Host {upstream};
                     proxy_request_buffering off; proxy_max_temp_file_size 0;
                 }}"
            ),
        )
    }

    /// nginx with files.
    pub(crate) fn files(root: &Path) -> Option<Self> {
        Self::nginx("", &format!("root {};", root.display()))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The CPU seconds of it and all that it has started.
    pub(crate) fn cpu(&self) -> f64 {
        cpu_of(self.child.id())
    }

    /// A line of `/proc/PID/status` in bytes, such as `VmHWM`, the most memory
    /// it ever had.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Kura's own word, over all labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = reqwest::get(self.url("/metrics")).await.unwrap();
        let text = text.text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub(crate) async fn s3_requests(&self) -> f64 {
        self.metric("kura_s3_requests_total").await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx' master takes its workers along when it is asked.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let ended = wait_for(|| self.child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The address in Kura's log.
fn listening(log: &Path) -> Option<String> {
    let mut lines = BufReader::new(File::open(log).ok()?).lines();
    lines.find_map(|line| {
        let line: Value = serde_json::from_str(&line.ok()?).ok()?;
        (line["message"] == "listening").then(|| line["address"].as_str().unwrap().to_owned())
    })
}

fn is_ready(address: &str) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains(" 200 ").then_some(())
}

fn wait_for<T>(what: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut what = what;
    while Instant::now() < deadline {
        if let Some(found) = what() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// True when this program is on the machine.
pub(crate) fn has(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is; also where only root's path leads.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let directories = path.split(':').chain(["/usr/sbin"]);
    directories
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
}

/// The CPU seconds of a process, its descendants, and those of them that have
/// ended and been waited for.
fn cpu_of(root: u32) -> f64 {
    let mut parents = HashMap::new();
    let mut ticks = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(fields) = stat(&pid.to_string()) {
            parents.insert(pid, fields[1] as u32);
            ticks.insert(pid, fields[11] + fields[12] + fields[13] + fields[14]);
        }
    }
    let belongs = |pid: u32| {
        let mut ancestor = pid;
        while ancestor != root {
            match parents.get(&ancestor) {
                Some(parent) => ancestor = *parent,
                None => return false,
            }
        }
        true
    };
    let own = ticks.iter().filter(|(pid, _)| belongs(**pid));
    own.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_A_SECOND
}

/// The CPU seconds of the programs that this one has run to their ends.
pub(crate) fn cpu_of_ended() -> f64 {
    let fields = stat("self").unwrap();
    (fields[13] + fields[14]) / TICKS_A_SECOND
}

/// The numbers of `/proc/PID/stat` after the program's name.
fn stat(pid: &str) -> Option<Vec<f64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(
        rest.split(' ')
            .map(|field| field.parse().unwrap_or(0.0))
            .collect(),
    )
}
