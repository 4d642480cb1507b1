//! What the system knows of this process, under the names that Prometheus'
//! own client libraries give it. Read anew each time; what cannot be read is
//! left out.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

#[rustfmt::skip]
pub(super) fn registry(started: SystemTime) -> Registry {
    let mut all = Registry::with_prefix("process");
    all.register_with_unit("cpu", "CPU time that this process took", Unit::Seconds, ConstCounter::new(cpu_seconds()));
    if let Some(bytes) = resident_bytes() {
        all.register_with_unit("resident_memory", "Memory that this process has", Unit::Bytes, ConstGauge::new(bytes));
    }
    if let Ok(started) = started.duration_since(UNIX_EPOCH) {
        all.register_with_unit("start_time", "When this process started, since 1970", Unit::Seconds, ConstGauge::new(started.as_secs_f64()));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The directory itself is open meanwhile.
        let open = open.count().saturating_sub(1) as u64;
        all.register("open_fds", "Files and sockets that are open", ConstGauge::new(open));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        all.register("max_fds", "Files and sockets that may be open", ConstGauge::new(most));
    }
    all
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::try_from(time)
        .unwrap_or_default()
        .as_secs_f64()
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
