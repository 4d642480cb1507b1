//! Starts worker processes, all from one thread.
//!
//! A worker is killed by the kernel when the *thread* that started it ends,
//! not only the process (`PR_SET_PDEATHSIG`), and an async runtime may end its
//! threads at any time. This one lives as long as its pool. Starting takes
//! milliseconds, too, in which the runtime's threads have something better to
//! do.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::PoolOptions;
use crate::render::decode::pdf::FallbackFont;

/// A worker just started, and the server's end of the socket to it.
pub(super) type Spawned = (Child, UnixStream);

/// The thread that starts workers; it ends when this is dropped, and the
/// workers with it.
#[derive(Debug)]
pub(super) struct Spawner(mpsc::Sender<Request>);

#[derive(Debug)]
struct Request {
    /// The runtime that is to look after the process.
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Spawned>>,
}

impl Spawner {
    /// Starts the thread.
    pub(super) fn start(options: &PoolOptions, drills: bool) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        let mut options = options.clone();
        std::thread::Builder::new()
            .name("render-spawner".to_owned())
            .spawn(move || {
                // All of a system's fonts are looked through only once.
                let font = FallbackFont::find(options.fallback_font.as_deref());
                options.fallback_font = font.map(|(file, _)| file);
                for request in inbox {
                    let _runtime = request.runtime.enter();
                    // Whoever asked may have gone; then the process is killed.
                    let _ = request.reply.send(spawn(&options, drills));
                }
            })?;
        Ok(Self(requests))
    }

    /// Starts a worker.
    pub(super) async fn spawn(&self) -> io::Result<Spawned> {
        let (reply, replied) = oneshot::channel();
        let runtime = Handle::current();
        let gone = |()| io::Error::other("the thread that starts workers has ended");
        let request = Request { runtime, reply };
        self.0.send(request).map_err(|_| gone(()))?;
        replied.await.map_err(|_| gone(()))?
    }
}

fn spawn(options: &PoolOptions, drills: bool) -> io::Result<Spawned> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(&options.program);
    command
        .arg0("kura")
        .arg("render-worker")
        .arg("--memory-bytes")
        .arg(options.worker_memory_bytes.to_string())
        .args(drills.then_some("--drills"))
        .env_clear()
        // All that the allocator takes is to count against the limit, and to be
        // given back; and it is not to ask the kernel where it runs.
        .env("MIMALLOC_ARENA_RESERVE", "0")
        .env("MIMALLOC_USE_NUMA_NODES", "1")
        .current_dir("/")
        // What is typed at the server's terminal is not for its workers.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if let Some(font) = &options.fallback_font {
        command.arg("--fallback-font").arg(font);
    }
    let child = command.spawn();
    let child = child.map_err(|error| name_what_is_missing(&options.program, error))?;
    Ok((child, ours))
}

/// In a root that has next to nothing, "no such file" has to say which.
fn name_what_is_missing(program: &Path, error: io::Error) -> io::Error {
    let needed = [program, Path::new("/dev/null")];
    // The program may have been replaced: then its link leads nowhere and works.
    match needed.iter().find(|path| path.symlink_metadata().is_err()) {
        Some(path) => io::Error::new(
            error.kind(),
            format!("{} is missing ({error})", path.display()),
        ),
        None => error,
    }
}
