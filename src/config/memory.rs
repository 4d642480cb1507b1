//! How much memory and how many CPUs there are when the operator does not say.

use std::fs;
use std::path::{Path, PathBuf};

/// A quarter of the memory that this process may have, within sane bounds.
pub(super) fn default_memory_bytes() -> usize {
    const MIN: u64 = 64 << 20;
    const MAX: u64 = 1 << 30;
    let quarter = memory_limit_bytes().map_or(MIN, |limit| limit / 4);
    usize::try_from(quarter.clamp(MIN, MAX)).unwrap_or(usize::MAX)
}

/// The smallest of the limits of this process's cgroups and the machine's
/// memory, as far as they can be read.
#[must_use]
pub fn memory_limit_bytes() -> Option<u64> {
    let cgroups = cgroup_directories().into_iter().flat_map(|directory| {
        ["memory.max", "memory.limit_in_bytes"].map(|name| directory.join(name))
    });
    cgroups
        .filter_map(|limit| fs::read_to_string(limit).ok()?.trim().parse().ok())
        .chain(machine_memory_bytes())
        .min()
}

/// Where the limits of this process may stand: its own cgroup and all around
/// it, in version 2 and in version 1. In a container only the last is there.
fn cgroup_directories() -> Vec<PathBuf> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"].map(Path::new);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let paths = own.lines().filter_map(|line| line.rsplit(':').next());
    paths
        .flat_map(|path| Path::new(path.trim_start_matches('/')).ancestors())
        .flat_map(|path| roots.map(|root| root.join(path)))
        .collect()
}

/// How many CPUs this process may use; the standard library knows the quotas
/// of cgroups.
pub(super) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn machine_memory_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
