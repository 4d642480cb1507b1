//! One worker process, as the server sees it.
//!
//! Dropped, it is killed: whoever loses interest in a thumbnail just drops it.

use std::io;
use std::time::Duration;

use bytes::buf::Chain;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::PoolOptions;
use super::loss::Loss;
use super::queue::Shown;
use super::spawner::Spawned;
use crate::render::protocol::{Header, Job, MAX_CHUNK_BYTES, Report, Tag, Violation, Walls};
use crate::render::{Refusal, Rendered};

/// How long a process may take to end that has closed its socket.
const TIME_TO_END: Duration = Duration::from_secs(1);
/// CPU time beyond the deadline, after which a worker is ended that nobody
/// looks after. `RLIMIT_CPU` counts whole seconds.
const CPU_GRACE: Duration = Duration::from_secs(1);
/// The unit of CPU time in `/proc/PID/stat` (`USER_HZ`, which is 100 wherever
/// Kura runs).
const TICK: Duration = Duration::from_millis(10);
/// How much is read at once of what a worker says, in bytes.
const INBOX_BYTES: usize = 16 << 10;

/// A worker process that has greeted.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    socket: UnixStream,
    inbox: BytesMut,
    /// The CPU time that it has taken for its jobs.
    spent: Duration,
    /// The jobs it was given.
    pub(super) jobs: u32,
    /// When it did nothing any more.
    pub(super) idle_since: Instant,
    _shown: Shown,
}

/// What came of a job.
#[derive(Debug)]
pub(super) enum Outcome<E> {
    /// The worker answered, after so much CPU time, and can be used again.
    Answered(Duration, Result<Rendered, Refusal>),
    /// It cannot.
    Lost(Loss),
    /// The source broke off; the worker still waits for the rest of it.
    Source(E),
    /// The worker has waited for the source for too long.
    Stalled,
}

impl Worker {
    /// Waits for the greeting of a process just started.
    ///
    /// # Errors
    /// Why it cannot be used, for the log.
    pub(super) async fn greeted(
        (child, socket): Spawned,
        patience: Duration,
        shown: Shown,
    ) -> Result<(Self, Walls), String> {
        let mut worker = Self {
            child,
            socket: UnixStream::from_std(socket).map_err(|error| error.to_string())?,
            inbox: BytesMut::new(),
            spent: Duration::ZERO,
            jobs: 0,
            idle_since: Instant::now(),
            _shown: shown,
        };
        match timeout(patience, worker.report()).await {
            Ok(Ok(Report::Ready(walls))) => Ok((worker, walls)),
            Ok(Ok(Report::Unable(why))) => Err(why),
            Ok(Ok(_)) => Err("it does not greet".to_owned()),
            Ok(Err(loss)) => Err(format!("it ended before it greeted ({})", loss.name())),
            Err(_) => Err("it does not greet in time".to_owned()),
        }
    }

    /// Gives it a job, and waits until it has begun, but no longer than
    /// `patience`. Nothing of the source is
    /// needed yet, so that another can take its place.
    ///
    /// # Errors
    /// When it has ended meanwhile, or is not what it was.
    pub(super) async fn begin(
        &mut self,
        job: Job,
        deadline: Duration,
        patience: Duration,
    ) -> Result<(), Loss> {
        self.jobs += 1;
        let limited = self.limit_cpu_time(self.spent + deadline + CPU_GRACE);
        if limited.is_err() || self.socket.write_all(&job.to_frame()).await.is_err() {
            return Err(self.death().await);
        }
        match timeout(patience, self.report()).await {
            Ok(Ok(Report::Begun)) => Ok(()),
            Ok(Ok(_)) => Err(Loss::Protocol),
            Ok(Err(loss)) => Err(loss),
            Err(_) => Err(Loss::Stalled),
        }
    }

    /// The CPU time that it has taken since its last answer.
    fn computed(&self) -> Duration {
        let stat = self.child.id().map(|pid| format!("/proc/{pid}/stat"));
        let stat = stat.and_then(|path| std::fs::read_to_string(path).ok());
        let all = stat.as_deref().and_then(cpu_time);
        all.unwrap_or_default().saturating_sub(self.spent)
    }

    /// Sets how much CPU time it may have taken in all. It is set from here,
    /// so that the worker needs no right to change it.
    fn limit_cpu_time(&self, most: Duration) -> io::Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::BrokenPipe)?;
        // It has inherited the hard limit, which not everybody may raise.
        let maximum = getrlimit(Resource::Cpu).maximum;
        let seconds = most.as_secs() + 1;
        let limit = Rlimit {
            current: Some(maximum.map_or(seconds, |all| all.min(seconds))),
            maximum,
        };
        prlimit(Some(pid), Resource::Cpu, limit)?;
        Ok(())
    }

    /// Sends the source and waits for the answer, both at once: the worker may
    /// answer before it has read everything. What counts against the deadline is
    /// the time in which it is the worker that is waited for; all else is the
    /// source's.
    pub(super) async fn converse<E>(
        &mut self,
        source: &mut (impl Stream<Item = Result<Bytes, E>> + Send + Unpin),
        options: &PoolOptions,
    ) -> Outcome<E> {
        let started = Instant::now();
        let (mut left, mut source_left) = (options.deadline, options.source_patience);
        let mut feed = Feed::default();
        let (mut reader, mut writer) = self.socket.split();
        let report = loop {
            let waits_for_worker = feed.load();
            let since = Instant::now();
            self.inbox.reserve(INBOX_BYTES);
            tokio::select! {
                biased;
                read = reader.read_buf(&mut self.inbox) => match read {
                    Ok(1..) => match only_report(&self.inbox) {
                        Ok(None) => {}
                        Ok(Some(report)) => break report,
                        Err(Violation) => return Outcome::Lost(Loss::Protocol),
                    },
                    Ok(0) | Err(_) => return Outcome::Lost(self.death().await),
                },
                written = writer.write_buf(&mut feed.frame), if feed.frame.has_remaining() => {
                    if written.is_err() {
                        // It has ended. There may be a report left to read.
                        feed = Feed { ended: true, ..Feed::default() };
                    }
                }
                next = source.next(), if !waits_for_worker => match next {
                    Some(Ok(bytes)) => feed.rest = bytes,
                    Some(Err(error)) => return Outcome::Source(error),
                    None => feed.end(),
                },
                () = sleep(left), if waits_for_worker => {
                    return Outcome::Lost(Loss::late(self.computed(), options.deadline));
                }
                () = sleep(source_left), if !waits_for_worker => return Outcome::Stalled,
            }
            let spent = if waits_for_worker {
                &mut left
            } else {
                &mut source_left
            };
            *spent = spent.saturating_sub(since.elapsed());
        };
        self.inbox = BytesMut::new();
        let (cpu, result) = match report {
            Report::Rendered(cpu, thumbnail) => (cpu, Ok(thumbnail)),
            Report::Refused(cpu, refusal) => (cpu, Err(refusal)),
            Report::Panicked(_, place) => {
                tracing::error!(place, "a decoder panicked");
                return Outcome::Lost(Loss::Panic);
            }
            Report::Ready(_) | Report::Unable(_) | Report::Begun => {
                return Outcome::Lost(Loss::Protocol);
            }
        };
        // It has one thread: it cannot have taken more than has passed.
        let cpu = cpu.min(started.elapsed());
        self.spent += cpu;
        // It reads the rest of the source away; then the next job may come.
        match timeout(left, feed.finish(&mut writer)).await {
            Ok(Ok(())) => Outcome::Answered(cpu, result),
            Ok(Err(_)) => Outcome::Lost(self.death().await),
            Err(_) => Outcome::Lost(Loss::Stalled),
        }
    }

    /// How it ended, if it has while it had nothing to do.
    pub(super) fn has_ended(&mut self) -> Option<Loss> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(Loss::of(status)),
            Err(_) => Some(Loss::Protocol),
        }
    }

    /// Waits for a report that comes by itself.
    async fn report(&mut self) -> Result<Report, Loss> {
        loop {
            match self.socket.read_buf(&mut self.inbox).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(self.death().await),
            }
            if let Some(report) = only_report(&self.inbox).map_err(|Violation| Loss::Protocol)? {
                self.inbox = BytesMut::new();
                return Ok(report);
            }
        }
    }

    /// How it ended, once it has closed its socket.
    async fn death(&mut self) -> Loss {
        match timeout(TIME_TO_END, self.child.wait()).await {
            Ok(Ok(status)) => Loss::of(status),
            // It lives, and still has closed its socket: none does that.
            _ => Loss::Protocol,
        }
    }
}

/// The CPU time in `/proc/PID/stat`: the fields `utime` and `stime`, which are
/// the 14th and 15th (`proc_pid_stat(5)`). The second, in parentheses, may have
/// anything in it.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    let ticks: u32 = u32::checked_add(user, system)?;
    Some(TICK * ticks)
}

/// The report that `said` is, if it is there: nothing may come after it.
fn only_report(said: &[u8]) -> Result<Option<Report>, Violation> {
    match Report::parse(said)? {
        Some((report, used)) if used == said.len() => Ok(Some(report)),
        Some(_) => Err(Violation),
        None => Ok(None),
    }
}

/// The source on its way to the worker, in frames.
#[derive(Debug)]
struct Feed {
    /// What is still to be sent of the frame begun.
    frame: Chain<Bytes, Bytes>,
    /// What is not in a frame yet.
    rest: Bytes,
    /// True when the frame is the last.
    ended: bool,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            frame: Bytes::new().chain(Bytes::new()),
            rest: Bytes::new(),
            ended: false,
        }
    }
}

impl Feed {
    /// Begins the next frame if there is one to begin. False when more of the
    /// source is needed for that.
    fn load(&mut self) -> bool {
        if !self.frame.has_remaining() && !self.rest.is_empty() {
            let length = self.rest.len().min(MAX_CHUNK_BYTES);
            self.begin(Tag::Chunk, self.rest.clone().split_to(length));
            self.rest.advance(length);
        }
        self.frame.has_remaining() || self.ended
    }

    fn end(&mut self) {
        self.begin(Tag::End, Bytes::new());
        self.ended = true;
    }

    fn begin(&mut self, tag: Tag, payload: Bytes) {
        let length = payload.len();
        let header = Header { tag, length }.to_bytes();
        self.frame = Bytes::copy_from_slice(&header).chain(payload);
    }

    /// Sends the rest of the frame begun, and the end.
    async fn finish(mut self, socket: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        socket.write_all_buf(&mut self.frame).await?;
        if !self.ended {
            self.end();
            socket.write_all_buf(&mut self.frame).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_whatever_a_process_is_called() {
        let stat = "7 (a) (b 1) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 1 0 9";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(1750)));
        assert_eq!(cpu_time("7 (a) S 1 7"), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(cpu_time(&own).is_some());
    }
}
