//! How far a command has come, on standard error: a line that moves on a
//! terminal, and a plain one every ten seconds elsewhere.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio_util::task::AbortOnDropHandle;

const EVERY: Duration = Duration::from_millis(200);
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Objects and bytes that are done. It is gone from the terminal when dropped.
pub(super) struct Progress {
    done: Arc<Done>,
    bar: Option<ProgressBar>,
    _ticking: AbortOnDropHandle<()>,
}

struct Done {
    what: &'static str,
    since: Instant,
    objects: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Begins; `what` is done, such as `"sending"`.
    pub(super) fn new(what: &'static str) -> Self {
        let done = Arc::new(Done {
            what,
            since: Instant::now(),
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::default_spinner());
            bar
        });
        let (ticks, shown) = (Arc::clone(&done), bar.clone());
        let ticking = tokio::spawn(async move {
            let every = if shown.is_some() { EVERY } else { PLAIN_EVERY };
            loop {
                tokio::time::sleep(every).await;
                match &shown {
                    Some(bar) => {
                        bar.set_message(ticks.line());
                        bar.tick();
                    }
                    None => eprintln!("{}", ticks.line()),
                }
            }
        });
        Self {
            done,
            bar,
            _ticking: AbortOnDropHandle::new(ticking),
        }
    }

    /// So much more is done.
    pub(super) fn add(&self, objects: u64, bytes: u64) {
        self.done.objects.fetch_add(objects, Ordering::Relaxed);
        self.done.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A number of things, such as `1 file` or `1,200 files`.
pub(super) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", HumanCount(number))
}

impl Done {
    fn line(&self) -> String {
        let seconds = self.since.elapsed().as_secs();
        let bytes = self.bytes.load(Ordering::Relaxed);
        format!(
            "{}: {}, {}, {}/s, {}",
            self.what,
            count(self.objects.load(Ordering::Relaxed), "object"),
            HumanBytes(bytes),
            HumanBytes(bytes / seconds.max(1)),
            HumanDuration(Duration::from_secs(seconds)),
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
