//! `kura tenant set`: keys of a tenant's file.

use anyhow::Result;
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::assignments::{PASSWORD, assignments, db_password, given};
use super::change::{self, Change};
use crate::config::Values;
use crate::ops::{OperatorCommand, arguments};
use crate::tenant::settings::edit::{Key, Wanted};

/// The subcommand.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

fn describe() -> Command {
    let set = assignments(Arg::new("set")).required_unless_present_any(["unset", PASSWORD]);
    let unset = Arg::new("unset").long("unset").value_name("KEY");
    Command::new("set")
        .about("Changes keys of a tenant's file")
        .after_help(
            "Lists are written KEY=[A,B]. Comments, order and all other keys stay as they are.",
        )
        .arg(arguments::tenant())
        .arg(set.help("A key, such as s3.folder, and its new value"))
        .arg(
            unset
                .action(ArgAction::Append)
                .value_parser(ValueParser::new(str::parse::<Key>))
                .help("Takes a key out"),
        )
        .arg(db_password())
        .args(change::arguments())
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    let mut edits = given(matches, "set")?;
    let unset = matches.get_many::<Key>("unset").into_iter().flatten();
    edits.extend(unset.map(|key| (key.clone(), Wanted::Nothing)));
    let change = Change {
        action: "set",
        is_new: false,
        edits,
    };
    change::run(matches, values, &change)
}
