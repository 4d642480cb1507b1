//! The walls around a worker, put up from inside before it sees a picture.
//!
//! Each is put up whole or the worker does not work. Only landlock may be
//! missing, where the kernel has none; seccomp forbids the same calls.
//!
//! What is `unsafe` here and below are system calls that no library wraps.

pub mod drill;
mod filter;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetStatus, Scope,
};
use memmap2::Mmap;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use thiserror::Error;

/// The stack of a worker, in bytes: what is usual.
const STACK_BYTES: u64 = 8 << 20;

/// A wall that could not be put up.
#[derive(Debug, Error)]
pub enum Breach {
    /// By the kernel's refusal.
    #[error("{0}: {1}")]
    Refused(&'static str, #[source] io::Error),
    /// By what a library says.
    #[error("{0}: {1}")]
    Failed(&'static str, String),
}

/// Shuts the process in for good. Afterwards it has no open file but
/// descriptor 0 and can open none, can reach no other process and no network,
/// and has no more than `memory_bytes` of address space. Gives the version of
/// landlock in force, 0 where the kernel has none.
///
/// # Errors
/// [`Breach`]; then some walls stand, and others do not.
pub fn enter(memory_bytes: u64) -> Result<u8, Breach> {
    let refused = |wall| move |errno: rustix::io::Errno| Breach::Refused(wall, errno.into());
    // If the parent is already dead, the socket is at its end.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(refused("PR_SET_PDEATHSIG"))?;
    // When memory runs out, let it be this process that is killed. That is no
    // wall: nothing is lost where it is not allowed.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    leave_ending_to_the_server();
    close_all_but_first().map_err(|error| Breach::Refused("close_range", error))?;
    drop_capabilities().map_err(|error| Breach::Refused("capset", error))?;
    // Neither debuggers nor cores get at what it has in memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused("PR_SET_DUMPABLE"))?;
    limit(Resource::As, memory_bytes)?;
    limit(Resource::Stack, STACK_BYTES)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    let landlock_abi = landlock()?;
    // Descriptor 0 is there already.
    limit(Resource::Nofile, 1)?;
    filter::apply()?;
    Ok(landlock_abi)
}

/// Gives up what the server may do as root, or was given rights to.
#[allow(unsafe_code)]
fn drop_capabilities() -> io::Result<()> {
    // `_LINUX_CAPABILITY_VERSION_3` and, for this thread, two sets of effective,
    // permitted and inheritable capabilities; see capset(2).
    let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: The call reads a header of two words and the six that this
    // version has behind it.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Limits a resource for good, to `most` or to what there is.
fn limit(resource: Resource, most: u64) -> Result<(), Breach> {
    let most = Some(
        getrlimit(resource)
            .maximum
            .map_or(most, |all| all.min(most)),
    );
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(resource, limit).map_err(|errno| Breach::Refused("setrlimit", errno.into()))
}

/// Who asks all processes of a service to end asks the server, too, and that
/// lets what is under way finish.
#[allow(unsafe_code)]
fn leave_ending_to_the_server() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: To ignore a signal runs no code, and nothing here has set a
        // handler that it would replace. It cannot fail for these.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Closes every descriptor but 0.
#[allow(unsafe_code)]
fn close_all_but_first() -> io::Result<()> {
    // SAFETY: The descriptors belong to the standard streams, which are not
    // used any more, or were inherited: nothing in this process owns them. It
    // has one thread and has opened nothing that it keeps.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes away files, TCP, and signals and abstract sockets of others: as much
/// of it as the kernel knows.
fn landlock() -> Result<u8, Breach> {
    let failed = |error: landlock::RulesetError| Breach::Failed("landlock", error.to_string());
    let all = ABI::V10;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(all))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(all)))
        .and_then(|rules| rules.scope(Scope::from_all(all)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(failed)?;
    let LandlockStatus::Available {
        effective_abi,
        kernel_abi,
    } = status.landlock
    else {
        return Ok(0);
    };
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(Breach::Failed("landlock", "not enforced".to_owned()));
    }
    let abi = kernel_abi.unwrap_or(effective_abi as i32);
    Ok(u8::try_from(abi).unwrap_or(u8::MAX))
}

/// Maps a file that is to be read behind the walls; for before they are up.
///
/// # Errors
/// When it cannot be opened or mapped.
#[allow(unsafe_code)]
pub fn map(file: &Path) -> io::Result<Mmap> {
    let file = File::open(file)?;
    // SAFETY: This is for fonts of the system, which are replaced, not
    // rewritten. Whoever may rewrite them is trusted not to.
    unsafe { Mmap::map(&file) }
}

/// The CPU time that this process has taken.
#[must_use]
#[allow(unsafe_code)]
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: The call writes a `timespec` to where there is one.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(result, 0);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn landlock_alone_keeps_files_and_ports_away() {
        // It holds for the thread that asks for it.
        let shut_in = std::thread::spawn(|| {
            let abi = landlock().unwrap();
            if abi >= 1 {
                assert!(File::open("/etc/passwd").is_err());
                assert!(fs::read_dir("/").is_err());
            }
            if abi >= 4 {
                assert!(TcpListener::bind("127.0.0.1:0").is_err());
            }
        });
        shut_in.join().unwrap();
        assert!(File::open("/etc/passwd").is_ok());
    }

    #[test]
    fn cpu_time_passes() {
        let before = cpu_time();
        while cpu_time() == before {}
    }
}
