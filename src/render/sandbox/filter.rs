//! The system calls that rendering needs. Any other kills the worker.

use std::collections::BTreeMap;

use libc::{MADV_DONTNEED, MAP_ANONYMOUS, PROT_EXEC, SIGABRT, SIGBUS, SIGSEGV};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::Breach;

/// What may be called with whatever arguments: memory that is already there,
/// time, randomness, and what returning from a signal or ending takes. None
/// of them reaches anything outside of the process.
const FREE: [i64; 13] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
];

/// `PR_SET_VMA`, which `libc` does not know for musl.
const PR_SET_VMA: u32 = 0x5356_4d41;

/// Puts the filter into force.
pub(super) fn apply() -> Result<(), Breach> {
    let program = program().map_err(|error| Breach::Failed("seccomp", error.to_string()))?;
    // This sets `PR_SET_NO_NEW_PRIVS`, too.
    seccompiler::apply_filter(&program)
        .map_err(|error| Breach::Failed("seccomp", error.to_string()))
}

fn program() -> Result<BpfProgram, BackendError> {
    let own = std::process::id();
    let [abort, segv, bus] = [SIGABRT, SIGSEGV, SIGBUS].map(i32::unsigned_abs);
    let exec = MaskedEq(PROT_EXEC.unsigned_abs().into());
    let anonymous = MAP_ANONYMOUS.unsigned_abs();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FREE.iter().map(|call| (*call, Vec::new())).collect();
    let mut allow = |call, conditions: &[(u8, SeccompCmpOp, u32)]| {
        let conditions = conditions.iter().map(|(argument, operator, value)| {
            // All of these arguments are an `int`, or flags of its size.
            let length = SeccompCmpArgLen::Dword;
            SeccompCondition::new(*argument, length, operator.clone(), (*value).into())
        });
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
        rules.entry(call).or_default().push(rule);
        Ok::<_, BackendError>(())
    };
    allow(libc::SYS_read, &[(0, Eq, 0)])?;
    allow(libc::SYS_write, &[(0, Eq, 0)])?;
    // 2 is closed. What the standard library says there before it aborts is
    // said to nobody, but must not look like a try to break out.
    allow(libc::SYS_write, &[(0, Eq, 2)])?;
    // Memory, but none that is executed, and none that is a file.
    let mask = MaskedEq(anonymous.into());
    allow(libc::SYS_mmap, &[(2, exec, 0), (3, mask, anonymous)])?;
    // Allocators give memory back by this advice; other advice can do harm.
    let unused = MADV_DONTNEED.unsigned_abs();
    allow(libc::SYS_madvise, &[(2, Eq, unused)])?;
    // They also give their mappings a name, which this call does and nothing else.
    allow(libc::SYS_prctl, &[(0, Eq, PR_SET_VMA)])?;
    // To abort is to send this signal to oneself (glibc; musl).
    let arguments = [(0, Eq, own), (1, Eq, own), (2, Eq, abort)];
    allow(libc::SYS_tgkill, &arguments)?;
    allow(libc::SYS_tkill, &[(0, Eq, own), (1, Eq, abort)])?;
    // The standard library's handler for these, which tells a stack that is
    // used up from other faults, takes itself away.
    allow(libc::SYS_rt_sigaction, &[(0, Eq, segv)])?;
    allow(libc::SYS_rt_sigaction, &[(0, Eq, bus)])?;
    SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        ARCHITECTURE,
    )?
    .try_into()
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;
