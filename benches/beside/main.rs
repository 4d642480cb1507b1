//! How good is Kura? It stands beside what its users would take instead, and
//! every figure is one of a run in which the others did the same work.
//!
//! `make bench` asks all questions and writes the answers into
//! `docs/BENCHMARKS.md` and `docs/img`; `make bench ONLY=download` asks one;
//! `QUICK=1` asks with so little work that only the harness is tried. What
//! cannot be asked, for want of a tool, is said to have not been run.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a program that measures may stop, and shows three digits"
)]

mod archive;
mod download;
mod far;
mod growth;
mod load;
mod memory;
mod peers;
mod plot;
mod redmine;
mod report;
mod rounds;
mod server;
mod shaper;
mod storm;
#[allow(dead_code, unreachable_pub, clippy::expect_used)]
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod tenants;
mod thumbnails;
#[path = "../thumbnails/tools.rs"]
mod tools;
mod transfer;
mod upload;
mod waves;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use report::{Report, quick};

/// A question, by the name of its section.
struct Question {
    name: &'static str,
    ask: fn() -> LocalBoxFuture<'static, String>,
}

const QUESTIONS: [Question; 9] = [
    Question {
        name: "download",
        ask: || download::ask().boxed_local(),
    },
    Question {
        name: "upload",
        ask: || upload::ask().boxed_local(),
    },
    Question {
        name: "far",
        ask: || far::ask().boxed_local(),
    },
    Question {
        name: "thumbnails",
        ask: || thumbnails::ask().boxed_local(),
    },
    Question {
        name: "archive",
        ask: || archive::ask().boxed_local(),
    },
    Question {
        name: "storm",
        ask: || storm::ask().boxed_local(),
    },
    Question {
        name: "memory",
        ask: || memory::ask().boxed_local(),
    },
    Question {
        name: "tenants",
        ask: || tenants::ask().boxed_local(),
    },
    Question {
        name: "growth",
        ask: || growth::ask().boxed_local(),
    },
];

#[tokio::main]
async fn main() -> ExitCode {
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    let wanted = wanted.iter().find(|text| !text.starts_with('-'));
    let mut report = Report::open();
    let mut failed = false;
    let begun = Instant::now();
    for question in QUESTIONS {
        if wanted.is_some_and(|wanted| !question.name.contains(wanted.as_str())) {
            continue;
        }
        let seconds = begun.elapsed().as_secs();
        eprintln!("{seconds:4} s  {}", question.name);
        // The answers to the others are worth having.
        if let Ok(answer) = AssertUnwindSafe((question.ask)()).catch_unwind().await {
            report.write(question.name, &answer);
        } else {
            eprintln!("        {}: failed; its section stays", question.name);
            failed = true;
        }
    }
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let machine = format!("{}: {}", &now[..10], tools::machine());
    report.write("machine", &machine);
    eprintln!("{:4} s  done", begun.elapsed().as_secs());
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// What is measured is done so often, or for so many seconds; less when only
/// the harness is tried.
fn scaled(full: usize, quick_one: usize) -> usize {
    if quick() { quick_one } else { full }
}

fn progress(what: &str) {
    eprintln!("        {what}");
}
