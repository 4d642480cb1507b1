//! The log: one JSON object a line for a collector, text on a terminal.

mod lines;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use self::lines::{Lines, Pairs};
use crate::config::LogConfig;

/// Crates whose debug lines have keys and headers in them: they are not logged
/// unless the operator names the crate.
const TALKATIVE: [&str; 10] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_s3",
    "aws_sigv4",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
    "hyper",
    "hyper_util",
    "rustls",
];

/// Starts logging to standard output.
pub fn init(config: &LogConfig) {
    start(config, std::io::stdout().is_terminal(), std::io::stdout);
}

/// Starts logging to standard error, where standard output has a command's
/// results.
pub fn init_for_command(config: &LogConfig) {
    start(config, std::io::stderr().is_terminal(), std::io::stderr);
}

fn start<W>(config: &LogConfig, is_terminal: bool, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let named = |name: &&str| config.filter.contains(*name);
    let quiet = TALKATIVE.iter().filter(|name| !named(name));
    let filter = quiet.fold(config.filter.clone(), |all, name| {
        format!("{all},{name}=warn")
    });
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = config.json.unwrap_or(!is_terminal);
    let builder = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_env_filter(filter)
        .with_target(false);
    // A second start in one process, as tests make, keeps the first log.
    let _ = if json {
        builder.fmt_fields(Pairs).event_format(Lines).try_init()
    } else {
        builder.compact().try_init()
    };
}
