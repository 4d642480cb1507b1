//! HTTP byte for byte, for requests that clients would tidy up or not send.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::app::TestApp;

/// No answer takes longer, or the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body, as long as `Content-Length` says.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The problem that the answer is; panics when it is none.
    pub fn problem(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{} {text}",
            self.status
        );
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status, "{text}");
        let id = problem["request_id"].as_str().unwrap_or_default();
        assert!(!id.is_empty(), "{text}");
        assert_eq!(self.header("x-request-id"), Some(id), "{text}");
        problem
    }

    /// The code of the problem.
    pub fn code(&self) -> String {
        self.problem()["code"].as_str().unwrap().to_owned()
    }
}

impl TestApp {
    /// A new connection.
    pub async fn connect(&self) -> TcpStream {
        let address = self.url.strip_prefix("http://").unwrap();
        TcpStream::connect(address).await.unwrap()
    }

    /// The head of a request of the single tenant, ready to be sent.
    pub fn head(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let token = format!("Bearer {}", self.token("default"));
        let given = headers.iter().any(|(name, _)| *name == "Authorization");
        let own = (!given).then_some(("Authorization", token.as_str()));
        let headers = own.iter().chain(headers);
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: kura\r\n");
        for (name, value) in headers {
            head = head + name + ": " + value + "\r\n";
        }
        head + "\r\n"
    }

    /// Sends such a request on a connection of its own.
    pub async fn raw(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> RawAnswer {
        let length = body.len().to_string();
        let mut all = vec![("Content-Length", length.as_str())];
        all.extend_from_slice(headers);
        let mut request = self.head(method, target, &all).into_bytes();
        request.extend_from_slice(body);
        let mut stream = self.connect().await;
        stream.write_all(&request).await.unwrap();
        read_answer(&mut stream).await.unwrap()
    }
}

/// Sends what the server may stop reading at any point.
pub async fn send_until_refused(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
}

/// Reads one answer.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<RawAnswer> {
    let reading = async {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let mut body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| line.split_once(':').unwrap());
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let mut answer = RawAnswer {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: Vec::new(),
        };
        let length = answer.header("content-length").unwrap_or("0");
        let length: usize = length.parse().unwrap();
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        answer.body = body;
        Ok(answer)
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("an answer comes")
}
