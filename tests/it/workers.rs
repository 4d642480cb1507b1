//! The life of worker processes: what they are started with, how long they
//! are kept, and that none is left.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use kura::metrics::Metrics;
use kura::render::Refusal;
use kura::render::format::HEAD_BYTES;
use kura::render::pool::{Pool, RenderError, Urgency};
use kura::render::protocol::{HEADER_BYTES, Header, Job, Report, Tag};
use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{SeccompAction, SeccompFilter};

use crate::support::drills::{
    ORDER, Stand, drill, eventually, gone, line, options, refusal, workers_with,
};
use crate::support::process::{Process, run};

fn send(signal: Signal, pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn worker_has_nothing_but_its_socket() {
    let stand = Stand::new(|_| {});
    stand.check_serves().await;
    let [pid] = stand.workers()[..] else {
        panic!("there is one worker")
    };
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let status = read("status").unwrap();
    for line in ["Threads:\t1", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line} in\n{status}");
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let none = format!("{set}:\t0000000000000000");
        assert!(status.contains(&none), "{none} in\n{status}");
    }
    let limits = read("limits").unwrap();
    for (name, most) in [
        ("Max open files", "1"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
    ] {
        let limit = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let mut values = limit[name.len()..].split_whitespace();
        assert_eq!((values.next(), values.next()), (Some(most), Some(most)));
    }
    // Only root may look any closer: that is a wall, too.
    if let Ok(environment) = read("environ") {
        let mut settings = environment.split_terminator('\0');
        assert!(
            settings.all(|setting| setting.starts_with("MIMALLOC_")),
            "{environment}"
        );
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let open: Vec<_> = open.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(open, ["0"]);
    }
}

#[tokio::test]
async fn time_that_the_source_takes_does_not_count() {
    let stand = Stand::new(|options| options.deadline = Duration::from_millis(500));
    // Too little to begin with, and then nothing for longer than the deadline.
    let first = stream::iter([Ok(line("echo 100"))]);
    let pause = tokio::time::sleep(Duration::from_secs(1));
    let last = stream::once(pause.map(|()| Ok(Bytes::from_static(b"more"))));
    let answer = stand.render(first.chain(last).boxed()).await;
    assert_eq!(answer.unwrap().bytes.len(), 100);
}

#[tokio::test]
async fn worker_that_computes_while_its_source_stalls_runs_out_of_cpu_time() {
    let stand = Stand::new(|options| options.deadline = Duration::from_millis(100));
    let first = Bytes::from([&line("spin")[..], &[b' '; HEAD_BYTES]].concat());
    let source = stream::iter([Ok(first)]).chain(stream::pending());
    let answer = stand.render(source.boxed()).await;
    assert_eq!(refusal(&answer), Some(Refusal::TooCostly));
    assert_eq!(stand.lost("cpu_time"), 1);
    stand.check_serves().await;
}

#[tokio::test]
async fn answer_may_come_before_the_source_has_been_read() {
    let stand = Stand::new(|_| {});
    for (first, large) in [
        // Both directions are full: neither side waits for the other.
        (line("echo 4194304"), 4 << 20),
        (line("echo 100"), 100),
        (
            Bytes::from_static(b"<svg xmlns=\"http://www.w3.org/2000/svg\">"),
            0,
        ),
    ] {
        let taken = Arc::new(AtomicUsize::new(0));
        let taking = Arc::clone(&taken);
        let mebibyte = Bytes::from(vec![b' '; 1 << 20]);
        let rest = stream::repeat_with(move || {
            taking.fetch_add(1, Ordering::Relaxed);
            Ok(mebibyte.clone())
        });
        let source = stream::iter([Ok(first)]).chain(rest.take(1000));
        match stand.render(source.boxed()).await {
            Ok(thumbnail) => assert_eq!(thumbnail.bytes.len(), large),
            other => assert_eq!(refusal(&other), Some(Refusal::NotAnImage)),
        }
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken < 100, "{taken} MiB were read of what nobody needs");
        stand.check_serves().await;
    }
    assert_eq!(stand.metrics.render_workers.get(), 1, "all by one worker");
}

#[tokio::test]
async fn source_that_breaks_off_is_an_error_of_its_own() {
    let stand = Stand::new(|_| {});
    let source = stream::iter([Ok(line("echo 100")), Err("gone")]);
    match stand.render(source.boxed()).await {
        Err(RenderError::Source("gone")) => {}
        // It was as well to answer what was there.
        other => panic!("{other:?}"),
    }
    stand.check_serves().await;
}

#[tokio::test]
async fn worker_ends_when_nobody_waits_for_it_any_more() {
    let stand = Stand::new(|_| {});
    let mut source = drill("spin");
    let seat = stand.seat().await;
    let mut render = Box::pin(seat.render(ORDER, &mut source));
    let busy = async {
        tokio::select! {
            _ = &mut render => panic!("it never ends"),
            () = eventually("it is busy", || !stand.workers().is_empty()) => {}
        }
        stand.workers()[0]
    };
    let pid = busy.await;
    drop(render);
    gone(pid).await;
    assert_eq!(stand.metrics.render_workers.get(), 0);
    stand.check_serves().await;
}

#[tokio::test]
async fn idle_worker_ends_after_a_while_and_any_with_its_pool() {
    let stand = Stand::new(|options| options.worker_idle = Duration::from_millis(300));
    stand.check_serves().await;
    let pid = stand.workers()[0];
    gone(pid).await;
    assert_eq!(stand.metrics.render_workers.get(), 0);
    stand.check_serves().await;
    let pid = stand.workers()[0];
    drop(stand);
    gone(pid).await;
}

#[tokio::test]
async fn worker_is_replaced_after_so_many_jobs() {
    let stand = Stand::new(|options| options.worker_jobs = 2);
    let mut seen = Vec::new();
    for _ in 0..5 {
        stand.check_serves().await;
        seen.push(stand.workers().first().copied());
    }
    assert!(seen[0].is_some() && seen[2].is_some() && seen[0] != seen[2]);
    assert!(seen[1].is_none() || seen[1] != seen[2], "it has ended");
}

#[tokio::test]
async fn idle_worker_killed_by_somebody_is_replaced_unnoticed() {
    let stand = Stand::new(|_| {});
    stand.check_serves().await;
    send(Signal::KILL, stand.workers()[0]);
    stand.check_serves().await;
    assert_eq!(stand.lost("killed"), 1);
}

#[tokio::test]
async fn idle_worker_killed_by_somebody_is_cleared_away_also_when_nothing_is_to_be_done() {
    let stand = Stand::new(|_| {});
    stand.check_serves().await;
    let pid = stand.workers()[0];
    send(Signal::KILL, pid);
    gone(pid).await;
    assert_eq!(stand.metrics.render_workers.get(), 0);
    assert_eq!(stand.lost("killed"), 1);
}

#[tokio::test]
async fn idle_worker_that_does_not_answer_is_replaced_soon() {
    let stand = Stand::new(|_| {});
    stand.check_serves().await;
    let pid = stand.workers()[0];
    send(Signal::STOP, pid);
    let begun = Instant::now();
    stand.check_serves().await;
    assert!(begun.elapsed() < options().deadline / 2);
    assert_eq!(stand.lost("stalled"), 1);
    gone(pid).await;
}

#[tokio::test]
async fn worker_that_is_asked_to_end_leaves_that_to_the_server() {
    let stand = Stand::new(|_| {});
    stand.check_serves().await;
    let workers = stand.workers();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        send(signal, workers[0]);
    }
    stand.check_serves().await;
    assert_eq!(stand.workers(), workers);
}

#[tokio::test]
async fn picture_is_not_to_blame_for_a_busy_worker_that_somebody_killed() {
    let stand = Stand::new(|_| {});
    let (taken, wait) = tokio::sync::oneshot::channel();
    let source = stream::once(async move {
        taken.send(()).unwrap();
        Ok(line("hang"))
    });
    let killing = async {
        wait.await.unwrap();
        let pid = stand.workers()[0];
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let limit = limits.lines().find(|line| line.starts_with("Max cpu time"));
        // The deadline, a second more, and rounded up.
        assert_eq!(limit.unwrap().split_whitespace().nth(3), Some("22"));
        send(Signal::KILL, pid);
    };
    let (answer, ()) = tokio::join!(stand.render(source.boxed()), killing);
    assert!(
        matches!(answer, Err(RenderError::Unavailable(_))),
        "{answer:?}"
    );
    assert_eq!(stand.lost("killed"), 1);
    stand.check_serves().await;
}

#[tokio::test]
async fn program_that_is_no_worker_is_an_error_for_the_log() {
    for program in ["/nonexistent", "/bin/true"] {
        let stand = Stand::new(|options| options.program = program.into());
        let answer = stand.drill("echo 100").await;
        assert!(
            matches!(answer, Err(RenderError::Unavailable(_))),
            "{answer:?}"
        );
    }
}

/// A thumbnail made in a world where `call` fails with `errno`: the thread's
/// own filter is inherited by whatever it starts.
fn render_without(calls: &[i64], errno: i32) -> Result<usize, String> {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let filter: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    let world = std::thread::spawn(move || {
        seccompiler::apply_filter(&filter).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let stand = Stand::new(|_| {});
            match stand.drill("echo 100").await {
                Ok(thumbnail) => Ok(thumbnail.bytes.len()),
                Err(RenderError::Unavailable(why)) => Err(why),
                Err(other) => panic!("{other:?}"),
            }
        })
    });
    world.join().unwrap()
}

#[test]
fn worker_that_cannot_be_shut_in_does_not_work() {
    for (wall, call) in [
        ("seccomp", libc::SYS_seccomp),
        ("close_range", libc::SYS_close_range),
    ] {
        let why = render_without(&[call], libc::EPERM).unwrap_err();
        assert!(why.contains(wall), "{why}");
    }
    let why = render_without(&[libc::SYS_landlock_restrict_self], libc::EPERM).unwrap_err();
    assert!(why.contains("landlock"), "{why}");
}

#[test]
fn kernel_without_landlock_is_no_reason_not_to_work() {
    let calls = [
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_restrict_self,
    ];
    assert_eq!(render_without(&calls, libc::ENOSYS), Ok(100));
}

/// `kura render-worker` on a socket whose other end is given back.
fn worker_on_a_socket(command: &mut Command) -> (std::process::Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
    // The command keeps its copy of the socket otherwise.
    command.stdin(Stdio::null());
    (child.unwrap(), ours)
}

fn greeting(socket: &mut UnixStream) {
    let mut greeting = [0; 8];
    socket.read_exact(&mut greeting).unwrap();
    assert!(matches!(
        Report::parse(&greeting),
        Ok(Some((Report::Ready(_), 8)))
    ));
}

#[test]
fn worker_ends_when_its_socket_does() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kura"));
    let (mut child, mut socket) = worker_on_a_socket(command.arg("render-worker"));
    greeting(&mut socket);
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[test]
fn busy_worker_dies_with_its_parent() {
    // The shell is the parent. The socket stays open here: it is not by its
    // end that the worker notices.
    let mut shell = Command::new("sh");
    let script = "exec 3<&0; \"$0\" render-worker --drills <&3 3<&- & exec 3<&- 0<&-; wait";
    let shell = shell.args(["-c", script, env!("CARGO_BIN_EXE_kura")]);
    let (mut shell, mut socket) = worker_on_a_socket(shell);
    greeting(&mut socket);
    let job = Job {
        order: ORDER,
        limits: options().limits,
    };
    socket.write_all(&job.to_frame()).unwrap();
    let spin = line("spin");
    for (tag, payload) in [(Tag::Chunk, &spin[..]), (Tag::End, b"")] {
        let length = payload.len();
        let header = Header { tag, length }.to_bytes();
        socket.write_all(&header).unwrap();
        socket.write_all(payload).unwrap();
    }
    let mut begun = [0; HEADER_BYTES];
    socket.read_exact(&mut begun).unwrap();
    assert_eq!(
        Report::parse(&begun),
        Ok(Some((Report::Begun, HEADER_BYTES)))
    );
    shell.kill().unwrap();
    shell.wait().unwrap();
    match socket.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_worker_outlives_the_server_however_that_ends() {
    for crash in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let memory = options().worker_memory_bytes;
        let settings = [("KURA_RENDER_MEMORY_BYTES", &*memory.to_string())];
        let process = Process::directory(root.path().to_str().unwrap(), &settings);
        let started = || !workers_with(memory).is_empty();
        eventually("a worker is started with the server", started).await;
        if crash {
            process.kill();
        } else {
            process.terminate();
            assert_eq!(process.exit_code().await, Some(0));
        }
        eventually("it is gone", || workers_with(memory).is_empty()).await;
    }
}

#[test]
fn typed_by_hand_a_worker_says_what_it_is() {
    let output = run(&["render-worker"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("kura"));
    let help = run(&["--help"], &[]);
    assert!(
        !String::from_utf8(help.stdout)
            .unwrap()
            .contains("render-worker")
    );
}

#[tokio::test]
async fn pool_that_is_not_asked_for_drills_gives_none() {
    let pool = Pool::new(options(), Metrics::default());
    pool.warm_up().await;
    let seat = pool
        .seat(&"a".parse().unwrap(), Urgency::Bulk)
        .await
        .unwrap();
    let answer = seat.render(ORDER, &mut drill("echo 100")).await;
    assert_eq!(refusal(&answer), Some(Refusal::NotAnImage));
}
