//! What it means that a worker has died.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::metrics::{LossLabels, Metrics};
use crate::render::Refusal;

/// Why there is a worker less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It was killed because it took too long, and computed for a good part of it.
    Deadline,
    /// It was killed because it took too long, and hardly computed: something
    /// held it up.
    Stalled,
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

    /// Of one that computed for so long before the deadline. On a machine that
    /// is short of CPUs a costly picture does not get all of the time; a cheap
    /// one needs next to none.
    pub(super) fn late(computed: Duration, deadline: Duration) -> Self {
        if computed < deadline / 4 {
            return Self::Stalled;
        }
        Self::Deadline
    }

    /// What that says of the picture, if anything.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Deadline | Self::CpuTime | Self::Memory => Some(Refusal::TooCostly),
            Self::Sandbox | Self::Protocol | Self::Panic | Self::Crash(_) => Some(Refusal::Broken),
            Self::Stalled | Self::Killed => None,
        }
    }

    /// Its name in the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Stalled => "stalled",
            Self::CpuTime => "cpu_time",
            Self::Memory => "memory",
            Self::Killed => "killed",
            Self::Sandbox => "sandbox",
            Self::Protocol => "protocol",
            Self::Panic => "panic",
            Self::Crash(_) => "crash",
        }
    }

    /// Counts it, and tells the log: as an error what no picture should be able to bring
    /// about, and quietly what a costly one does.
    pub(super) fn note(self, metrics: &Metrics) {
        let cause = self.name();
        let lost = &metrics.render_workers_lost;
        lost.get_or_create(&LossLabels { cause }).inc();
        match self {
            Self::Sandbox => tracing::error!("a worker broke a rule of its sandbox and was killed"),
            Self::Protocol => tracing::error!("a worker said what no worker says and was killed"),
            Self::Crash(signal) => tracing::error!(signal, "a worker crashed"),
            // It was told where, when that was known.
            Self::Panic => {}
            Self::Killed => tracing::warn!("a worker was killed, as if memory were short"),
            Self::Stalled => tracing::warn!("a worker came to nothing in time and was killed"),
            Self::Deadline | Self::CpuTime | Self::Memory => {
                tracing::warn!(cause, "a picture took too much and its worker was ended");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_is_to_blame_only_for_what_it_has_done() {
        let late = |computed| Loss::late(Duration::from_secs(computed), Duration::from_secs(10));
        assert_eq!(late(3).refusal(), Some(Refusal::TooCostly));
        assert_eq!(late(2).refusal(), None);
        let killed = |signal| Loss::of(ExitStatus::from_raw(signal)).refusal();
        assert_eq!(killed(libc::SIGKILL), None);
        assert_eq!(killed(libc::SIGXCPU), Some(Refusal::TooCostly));
        assert_eq!(killed(libc::SIGSEGV), Some(Refusal::Broken));
    }
}
