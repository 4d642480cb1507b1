//! `kura doctor`: looks at everything that a deployment depends on, and says
//! how to mend what is not right.
//!
//! Nothing is changed: what is written in order to try is small, Kura's own
//! and removed.

mod machine;
mod report;
mod store;
mod tenants;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::report::{Finding, Report};
use super::site::Site;
use super::{OperatorCommand, run as run_work};
use crate::config::Values;
use crate::tenant::TenantId;

/// The command.
pub const COMMAND: OperatorCommand = OperatorCommand { describe, run };

/// What is to be looked at.
struct Scope {
    /// One tenant, or a few of all.
    tenant: Option<TenantId>,
    /// How many of all.
    sample: usize,
    /// False when nothing may be written.
    writes: bool,
}

fn describe() -> Command {
    let tenant = Arg::new("id").value_name("TENANT");
    let sample = Arg::new("sample").long("sample").value_name("COUNT");
    let flag = |name| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("doctor")
        .about("Checks everything that Kura depends on, and says how to mend it")
        .long_about(
            "Checks the configuration, this machine, the credentials, the buckets and the \
             tenants, and says how to mend what is not right.\n\nIn each tenant's folder that \
             is looked at, a small object is stored, read and removed: run it with the \
             environment and the role of the server. Exits with 1 when anything is a FAILURE.",
        )
        .arg(tenant.help("Only this tenant [default: some of all]"))
        .arg(
            sample
                .default_value("5")
                .value_parser(value_parser!(u32))
                .help("Tenants whose folders are tried when none is named"),
        )
        .arg(flag("read-only").help("Write nothing, not even to try"))
        .arg(flag("json").help("Print the findings as JSON"))
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    let tenant = matches.get_one::<String>("id");
    let sample = matches.get_one::<u32>("sample").copied().unwrap_or(5);
    let scope = Scope {
        tenant: tenant.map(|id| id.parse()).transpose()?,
        sample: usize::try_from(sample)?,
        writes: !matches.get_flag("read-only"),
    };
    // What cannot be understood at all is said as every command says it.
    values.deployment()?;
    run_work(values, async {
        let mut report = Report::new(matches.get_flag("json"));
        machine::configuration(values, &mut report);
        machine::look(values, &mut report).await;
        match Site::open(values).await {
            Ok(site) => {
                store::look(&site, &mut report).await;
                tenants::look(&site, &scope, &mut report).await;
            }
            Err(error) => report.add(
                Finding::failure("deployment", format!("{error:#}"))
                    .hint("mend this first: the store and the tenants could not be looked at"),
            ),
        }
        report.finish()
    })
}
