//! Redmine with its own disk, where it is set up: `tests/redmine/measure`
//! measures it once for all questions.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::load::{self, Call};
use crate::progress;
use crate::report::{Table, number};
use crate::server::{Server, has};

/// What Redmine took for one row of its table.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds that the client waited.
    pub(crate) wall: f64,
    /// CPU seconds of Ruby.
    pub(crate) cpu: f64,
}

pub(crate) type Figures = Result<HashMap<String, Cost>, &'static str>;

/// Its rows by their names, or why there are none.
pub(crate) fn figures() -> Figures {
    static FIGURES: OnceLock<Figures> = OnceLock::new();
    FIGURES.get_or_init(measure).clone()
}

fn measure() -> Figures {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    if crate::quick() {
        return Err("not run: a trial");
    }
    if !has("ruby") || !here.join("target/redmine/5.0.4/root").exists() {
        return Err("not run: needs `tests/redmine/setup-5.0`");
    }
    progress("Redmine with its own disk");
    let measure = here.join("tests/redmine/measure");
    let run = Command::new(measure).args(["5.0.4", "stock"]).output();
    match run {
        Ok(output) if output.status.success() => {
            Ok(parse(&String::from_utf8_lossy(&output.stdout)))
        }
        _ => Err("not run: `tests/redmine/measure` failed"),
    }
}

/// The rows of a table in Markdown: a name, seconds, CPU seconds and more.
fn parse(table: &str) -> HashMap<String, Cost> {
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [wall, cpu] = [cells.get(2)?, cells.get(3)?].map(|cell| cell.parse().ok());
        let (wall, cpu) = (wall?, cpu?);
        Some((cells[1].to_owned(), Cost { wall, cpu }))
    });
    rows.collect()
}

/// What has rows of Redmine's and Kura's.
pub(crate) fn table() -> Table {
    Table::new(&[
        "one client",
        "Redmine ms",
        "its CPU ms",
        "Kura ms",
        "its CPU ms",
        "Redmine's CPU / Kura's",
    ])
}

/// Kura does what Redmine did in the row of this name.
pub(crate) async fn row(
    table: &mut Table,
    figures: &Figures,
    name: &str,
    kura: &Server,
    make: &dyn Fn(usize) -> Call,
) {
    let calls = if name.contains("300 MB") { 3 } else { 100 };
    let calls = crate::scaled(calls, 1);
    let cpu = kura.cpu();
    let outcome = load::run(1, calls, make).await;
    let ours = Cost {
        wall: outcome.seconds / calls as f64,
        cpu: (kura.cpu() - cpu) / calls as f64,
    };
    let theirs = figures.as_ref().map(|rows| rows.get(name).copied());
    let of_theirs = |figure: fn(Cost) -> f64| match theirs {
        Ok(Some(cost)) => number(figure(cost) * 1000.0),
        Ok(None) => "not run".to_owned(),
        Err(why) => (*why).to_owned(),
    };
    let ratio = theirs.ok().flatten().map(|cost| cost.cpu / ours.cpu);
    table.row(&[
        name.to_owned(),
        of_theirs(|cost| cost.wall),
        of_theirs(|cost| cost.cpu),
        number(ours.wall * 1000.0),
        number(ours.cpu * 1000.0),
        crate::report::or_not_run(ratio),
    ]);
}
