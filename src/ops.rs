//! The operator's commands, beside `kura serve`: a file for each, and a row in
//! [`COMMANDS`].
//!
//! They work on the store and the tenant files themselves, not through a
//! running server, so that a one-off task with the server's own role can run
//! them. Results go to standard output; logs, progress and the [`audit`]
//! lines of changes to standard error.

pub mod audit;
pub mod healthcheck;
pub mod secret;
pub mod site;
pub mod table;
pub mod tenant;

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::config::Values;
use crate::telemetry;

/// A command that works on the deployment which the settings describe.
#[derive(Clone, Copy, Debug)]
pub struct OperatorCommand {
    /// Its arguments and its help, but for the settings.
    pub describe: fn() -> Command,
    /// Does it.
    pub run: fn(&ArgMatches, &Values) -> Result<()>,
}

/// All of them, in the order of `kura help`.
pub const COMMANDS: &[OperatorCommand] = &[tenant::COMMAND];

/// The settings by which the commands find the store and the tenants.
#[must_use]
pub fn is_setting(name: &str) -> bool {
    let of_tenants = matches!(
        name,
        "KURA_TENANTS" | "KURA_TENANT" | "KURA_THUMB_FOLDER" | "KURA_IMPORT_FOLDER"
    );
    let of_store = ["KURA_STORE", "KURA_REDMICA_S3", "KURA_S3_", "S3_", "AWS_"];
    of_tenants || name == "KURA_LOG" || of_store.iter().any(|start| name.starts_with(start))
}

/// Runs a command's work to its end, with the log on standard error.
///
/// # Errors
/// What the work answers.
pub fn run(values: &Values, work: impl Future<Output = Result<()>>) -> Result<()> {
    telemetry::init_for_command(&values.log_for_command());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}
