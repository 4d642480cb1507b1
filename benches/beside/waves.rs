//! An open loop of small requests: they come at their times, whether or not
//! those before them have been answered, as those of many people do. Each
//! latency counts from the time at which the request was due, so that a server
//! that stops does not stop the clock ("coordinated omission").
//!
//! One thread, blocking in `ppoll` alone: a runtime's timers tick in
//! milliseconds, which is what is to be measured here.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::load::Call;

/// Answers that are still on their way so long after the last request was due
/// count as if they had come then.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked for, and how often.
pub(crate) struct Waves<'a> {
    /// By turns.
    pub(crate) calls: &'a [Call],
    pub(crate) connections: usize,
    pub(crate) per_second: f64,
    pub(crate) seconds: f64,
}

/// What came of it.
pub(crate) struct Seen {
    /// Answers a second, of those that came in time.
    pub(crate) per_second: f64,
    pub(crate) answers: u64,
    /// In microseconds.
    latencies: Histogram<u64>,
}

impl Seen {
    /// In milliseconds.
    pub(crate) fn percentile(&self, percentile: f64) -> f64 {
        self.latencies.value_at_quantile(percentile / 100.0) as f64 / 1000.0
    }
}

struct Connection {
    stream: TcpStream,
    due: Instant,
    head: Vec<u8>,
    /// Bytes of the body to come, once the head is there.
    left: Option<usize>,
}

impl Waves<'_> {
    /// Blocks: to be run where a thread may.
    pub(crate) fn roll(&self) -> Seen {
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let requests: Vec<_> = self.calls.iter().map(request).collect();
        let connect = |_| Connection::open(&self.calls[0].address);
        // All by turns: each is used.
        let mut idle: VecDeque<_> = (0..self.connections).map(connect).collect();
        let mut busy: Vec<Connection> = Vec::new();
        let times = arrivals(self.per_second, self.seconds);
        let mut latencies = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
        let mut note = |latency: Duration| latencies.saturating_record(latency.as_micros() as u64);
        let mut sent = 0;
        let mut answers = 0;
        let begun = Instant::now() + Duration::from_millis(5);
        let end = begun + Duration::from_secs_f64(self.seconds) + PATIENCE;
        let mut last = begun;
        while (sent < times.len() || !busy.is_empty()) && Instant::now() < end {
            while sent < times.len() && begun + times[sent] <= Instant::now() {
                let Some(mut connection) = idle.pop_front() else {
                    break;
                };
                connection.send(&requests[sent % requests.len()], begun + times[sent]);
                busy.push(connection);
                sent += 1;
            }
            let wake = match times.get(sent) {
                Some(time) if !idle.is_empty() => begun + *time,
                _ => end,
            };
            for index in readable(&busy, wake).into_iter().rev() {
                if busy[index].is_answered() {
                    let connection = busy.swap_remove(index);
                    last = Instant::now();
                    note(last - connection.due);
                    answers += 1;
                    idle.push_back(connection);
                }
            }
        }
        // What has not come, or not even been sent, is not forgotten.
        for connection in &busy {
            note(end - connection.due);
        }
        for time in &times[sent..] {
            note(end - (begun + *time));
        }
        let seconds = (last - begun).as_secs_f64().max(self.seconds);
        Seen {
            per_second: answers as f64 / seconds,
            answers,
            latencies,
        }
    }
}

/// Times that do not know of each other (a Poisson process); the same ones in
/// every run.
fn arrivals(per_second: f64, seconds: f64) -> Vec<Duration> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut time = 0.0;
    let mut times = Vec::new();
    while time < seconds {
        times.push(Duration::from_secs_f64(time));
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
        time += -(1.0 - uniform).ln() / per_second;
    }
    times
}

/// Which of them have something to read, waiting for it until `wake`.
fn readable(busy: &[Connection], wake: Instant) -> Vec<usize> {
    let mut polled: Vec<_> = busy
        .iter()
        .map(|connection| PollFd::new(&connection.stream, PollFlags::IN))
        .collect();
    let wait = wake.saturating_duration_since(Instant::now());
    let wait = Timespec {
        tv_sec: wait.as_secs().cast_signed(),
        tv_nsec: i64::from(wait.subsec_nanos()),
    };
    match poll(&mut polled, Some(&wait)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Vec::new(),
        Ok(_) => {
            let ready = polled.iter().enumerate();
            let ready = ready.filter(|(_, polled)| !polled.revents().is_empty());
            ready.map(|(index, _)| index).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

impl Connection {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            due: Instant::now(),
            head: Vec::new(),
            left: None,
        }
    }

    fn send(&mut self, request: &[u8], due: Instant) {
        // It is far smaller than what the socket takes at once.
        self.stream.write_all(request).unwrap();
        self.due = due;
        self.head.clear();
        self.left = None;
    }

    /// Reads what is there; true at the end of the answer.
    fn is_answered(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server has closed the connection"),
                Ok(read) => &buffer[..read],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            };
            let left = if let Some(left) = &mut self.left {
                *left -= read.len();
                *left
            } else {
                self.head.extend_from_slice(read);
                let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") else {
                    continue;
                };
                let body = self.head.len() - end - 4;
                *self.left.insert(body_length(&self.head[..end]) - body)
            };
            if left == 0 {
                return true;
            }
        }
    }
}

fn request(call: &Call) -> Vec<u8> {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\n",
        call.method, call.path, call.address
    );
    for (name, value) in &call.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    (text + "\r\n").into_bytes()
}

fn body_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let status = &head[9..12];
    if status == "304" {
        return 0;
    }
    assert_eq!(status, "200", "{head}");
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.unwrap().1.parse().unwrap()
}
