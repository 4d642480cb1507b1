//! What it means that a worker has died.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::render::Refusal;

/// Why there is a worker less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It was killed because it took too long.
    Deadline,
    /// It took too much CPU time (`SIGXCPU`).
    CpuTime,
    /// It gave up because there was no more memory or stack (`SIGABRT`).
    Memory,
    /// Somebody else killed it: where memory is short, the kernel does.
    Killed,
    /// It called what the sandbox forbids (`SIGSYS`).
    Sandbox,
    /// It said what is not of the protocol.
    Protocol,
    /// A decoder panicked.
    Panic,
    /// It crashed by this signal, or (0) ended without having been asked to.
    Crash(i32),
}

impl Loss {
    /// By how it ended.
    pub(super) fn of(status: ExitStatus) -> Self {
        match status.signal() {
            Some(libc::SIGXCPU) => Self::CpuTime,
            Some(libc::SIGABRT) => Self::Memory,
            Some(libc::SIGKILL) => Self::Killed,
            Some(libc::SIGSYS) => Self::Sandbox,
            signal => Self::Crash(signal.unwrap_or_default()),
        }
    }

    /// What that says of the picture.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Deadline | Self::CpuTime | Self::Memory | Self::Killed => Refusal::TooCostly,
            Self::Sandbox | Self::Protocol | Self::Panic | Self::Crash(_) => Refusal::Broken,
        }
    }

    /// Its name in the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::CpuTime => "cpu_time",
            Self::Memory => "memory",
            Self::Killed => "killed",
            Self::Sandbox => "sandbox",
            Self::Protocol => "protocol",
            Self::Panic => "panic",
            Self::Crash(_) => "crash",
        }
    }

    /// Tells the log: as an error what no picture should be able to bring
    /// about, and quietly what a costly one does.
    pub(super) fn log(self) {
        let cause = self.name();
        match self {
            Self::Sandbox => tracing::error!("a worker broke a rule of its sandbox and was killed"),
            Self::Protocol => tracing::error!("a worker said what no worker says and was killed"),
            Self::Crash(signal) => tracing::error!(signal, "a worker crashed"),
            // It was told where, when that was known.
            Self::Panic => {}
            Self::Killed => tracing::warn!("a worker was killed, as if memory were short"),
            Self::Deadline | Self::CpuTime | Self::Memory => {
                tracing::warn!(cause, "a picture took too much and its worker was ended");
            }
        }
    }
}
