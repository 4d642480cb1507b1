//! What runs in a worker process: jobs from descriptor 0, thumbnails back to
//! it, and nothing else. One thread, no files, no logs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, fstat};

use super::decode::pdf::FallbackFont;
use super::format::HEAD_BYTES;
use super::protocol::{HEADER_BYTES, Header, JOB_BYTES, Job, Report, Tag, Violation, Walls};
use super::sandbox::drill::Drill;
use super::sandbox::{self, cpu_time};
use super::{Studio, render};

/// How many bytes of the source are read at once.
const READ_BYTES: usize = 64 << 10;

/// The buffer of a source larger than that is not kept for the next one.
const KEPT_BYTES: usize = 8 << 20;

/// Where the last panic happened.
static PANICKED_AT: Mutex<String> = Mutex::new(String::new());

/// What a worker is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its address space, in bytes.
    pub memory_bytes: u64,
    /// The font for text in documents that embed none.
    pub fallback_font: Option<PathBuf>,
    /// True when it is to do what a [`Drill`] orders.
    pub drills: bool,
}

/// Works until there is nothing more to do.
#[must_use]
pub fn run(setup: &Setup) -> ExitCode {
    if !is_socket() {
        eprintln!("kura render-worker: started by kura itself to make thumbnails, not by hand");
        return ExitCode::from(2);
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        *panicked_at() = place.unwrap_or_default();
    }));
    match work(setup) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn is_socket() -> bool {
    fstat(io::stdin()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

fn panicked_at() -> MutexGuard<'static, String> {
    PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(setup: &Setup) -> io::Result<()> {
    let mut studio = Studio {
        fallback_font: setup.fallback_font.as_deref().and_then(font),
        ..Studio::default()
    };
    let landlock_abi = match sandbox::enter(setup.memory_bytes) {
        Ok(abi) => abi,
        Err(breach) => {
            Socket.write_all(&Report::Unable(breach.to_string()).to_frame())?;
            return Err(io::Error::other(breach));
        }
    };
    let ready = Report::Ready(Walls {
        landlock_abi,
        fallback_font: studio.fallback_font.is_some(),
    });
    Socket.write_all(&ready.to_frame())?;
    while let Some(job) = next_job()? {
        Socket.write_all(&Report::Begun.to_frame())?;
        let mut source = Source::default();
        let report = answer(job, &mut source, &mut studio, setup.drills);
        Socket.write_all(&report.to_frame())?;
        if matches!(report, Report::Panicked(..)) {
            // What it left behind is not to be relied on.
            return Ok(());
        }
        io::copy(&mut source, &mut io::sink())?;
        studio.source.clear();
        studio.source.shrink_to(KEPT_BYTES);
    }
    Ok(())
}

fn font(file: &Path) -> Option<FallbackFont> {
    let (file, face) = FallbackFont::find(Some(file))?;
    let bytes = sandbox::map(&file).ok()?;
    Some(FallbackFont::new(Arc::new(bytes), face))
}

fn answer(job: Job, source: &mut Source, studio: &mut Studio, drills: bool) -> Report {
    let before = cpu_time();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut source = BufReader::with_capacity(READ_BYTES, source);
        if drills && let Some(drill) = drill(&mut source) {
            return drill.obey(Socket);
        }
        render(&mut source, job.order, &job.limits, studio)
    }));
    let cpu = cpu_time().saturating_sub(before);
    match result {
        Ok(Ok(thumbnail)) => Report::Rendered(cpu, thumbnail),
        Ok(Err(refusal)) => Report::Refused(cpu, refusal),
        Err(_) => Report::Panicked(cpu, panicked_at().clone()),
    }
}

fn drill(source: &mut dyn BufRead) -> Option<Drill> {
    Drill::of(source.fill_buf().ok()?)
}

/// The job that comes next; `None` when the server has gone.
fn next_job() -> io::Result<Option<Job>> {
    let mut header = [0; HEADER_BYTES];
    match Socket.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    if Header::parse(header).map_err(wrong)?.tag != Tag::Job {
        return Err(wrong(Violation));
    }
    let mut job = [0; JOB_BYTES];
    Socket.read_exact(&mut job)?;
    Job::parse(&job).map(Some).map_err(wrong)
}

fn wrong(violation: Violation) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, violation)
}

/// Descriptor 0, by the two calls that the sandbox allows on it. (The standard
/// library's own input keeps a buffer.)
struct Socket;

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(io::stdin(), buffer)?)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdin(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The source of one job, out of its frames.
#[derive(Default)]
struct Source {
    /// What is still to come of the chunk begun.
    chunk: usize,
    ended: bool,
}

impl Read for Source {
    /// Gives at least [`HEAD_BYTES`] unless there is less, or less room.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len().min(HEAD_BYTES) && !self.ended {
            if self.chunk == 0 {
                let mut header = [0; HEADER_BYTES];
                Socket.read_exact(&mut header)?;
                let Header { tag, length } = Header::parse(header).map_err(wrong)?;
                match tag {
                    Tag::Chunk => self.chunk = length,
                    Tag::End => self.ended = true,
                    _ => return Err(wrong(Violation)),
                }
                continue;
            }
            let room = &mut buffer[filled..];
            let most = room.len().min(self.chunk);
            let read = Socket.read(&mut room[..most])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.chunk -= read;
            filled += read;
        }
        Ok(filled)
    }
}
