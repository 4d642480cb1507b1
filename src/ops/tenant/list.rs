//! `kura tenant list`: all tenants, and the files that cannot be used.

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::config::Values;
use crate::ops::site::Site;
use crate::ops::{self, OperatorCommand};

/// The subcommand.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

fn describe() -> Command {
    Command::new("list").about("Lists all tenants")
}

fn run(_: &ArgMatches, values: &Values) -> Result<()> {
    ops::run(values, async {
        let site = Site::open(values).await?;
        for tenant in site.tenants() {
            println!("{}", tenant.id);
        }
        Ok(())
    })
}
