//! `kura tenant`: the tenants and their files. A subcommand is a file below,
//! and a row in `COMMANDS`.

mod add;
mod assignments;
mod change;
mod delete;
mod export;
mod list;
pub(super) mod masked;
mod set;
mod show;
mod suspend;
mod usage;

use anyhow::{Context, Result};
use clap::{ArgMatches, Command};

use super::OperatorCommand;
use crate::config::Values;

/// The command.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

/// Its subcommands, in the order of `kura tenant help`.
const COMMANDS: &[OperatorCommand] = &[
    list::COMMAND,
    show::COMMAND,
    add::COMMAND,
    set::COMMAND,
    suspend::SUSPEND,
    suspend::RESUME,
    usage::COMMAND,
    export::COMMAND,
    delete::COMMAND,
];

fn describe() -> Command {
    Command::new("tenant")
        .about("Lists, adds, changes, suspends, exports and erases tenants")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(COMMANDS.iter().map(|command| (command.describe)()))
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    let (name, matches) = matches.subcommand().context("no subcommand")?;
    let named = |command: &&OperatorCommand| (command.describe)().get_name() == name;
    let command = COMMANDS.iter().find(named);
    (command.context("there is no such command")?.run)(matches, values)
}
