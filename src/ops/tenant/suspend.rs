//! `kura tenant suspend` and `resume`: whether a tenant is served.

use anyhow::Result;
use clap::{ArgMatches, Command};

use super::change::{self, Change};
use crate::config::Values;
use crate::ops::{OperatorCommand, arguments};
use crate::tenant::settings::edit::Wanted;

/// The subcommands.
pub(super) const SUSPEND: OperatorCommand = OperatorCommand {
    describe: || {
        describe("suspend", "Has all requests of a tenant refused").after_help(
            "Its files stay. Requests are answered 403 tenant_suspended; uploads under way may \
             finish.",
        )
    },
    run: |matches, values| run(matches, values, "suspend", "suspended"),
};
pub(super) const RESUME: OperatorCommand = OperatorCommand {
    describe: || describe("resume", "Has a suspended tenant served again"),
    run: |matches, values| run(matches, values, "resume", "active"),
};

fn describe(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(arguments::tenant())
        .args(change::arguments())
}

fn run(matches: &ArgMatches, values: &Values, action: &'static str, state: &str) -> Result<()> {
    let change = Change {
        action,
        is_new: false,
        edits: vec![("kura.state".parse()?, Wanted::Text(state.to_owned()))],
    };
    change::run(matches, values, &change)
}
