//! How much memory there is for buffers when the operator does not say.

/// A quarter of the memory that this process may have, within sane bounds.
pub(super) fn default_memory_bytes() -> usize {
    const MIN: u64 = 64 << 20;
    const MAX: u64 = 1 << 30;
    let quarter = memory_limit_bytes().map_or(MIN, |limit| limit / 4);
    usize::try_from(quarter.clamp(MIN, MAX)).unwrap_or(usize::MAX)
}

/// The smallest of the cgroup's limits (version 2, then 1) and the machine's
/// memory, as far as they can be read.
fn memory_limit_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let limit = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let machine = || {
        let meminfo = read("/proc/meminfo")?;
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    [
        limit("/sys/fs/cgroup/memory.max"),
        limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        machine(),
    ]
    .into_iter()
    .flatten()
    .min()
}
