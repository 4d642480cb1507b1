//! The `kura` command: subcommands and exit codes.
//!
//! 0 is success, 1 a failure, 2 a configuration or command line that cannot
//! be used.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kura::app::App;
use kura::config::{ConfigErrors, SETTINGS, Values};
use kura::key::FileKey;
use kura::ops::{self, OperatorCommand, healthcheck, secret};
use kura::render::worker::{self, Setup};
use kura::telemetry;
use kura::tenant::{TenantId, Ticket};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// musl's own, which the image would have, takes most of the time of a small
/// request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let (name, matches) = matches.subcommand().unwrap_or(("", &matches));
    if name == "render-worker" {
        return render_worker(matches);
    }
    let result = match name {
        "serve" => serve(matches),
        "token" => token(matches),
        "ticket" => ticket(matches),
        "healthcheck" => health(matches),
        "openapi" => openapi(),
        _ => operate(name, matches),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kura: {error:#}");
            ExitCode::from(if error.is::<ConfigErrors>() { 2 } else { 1 })
        }
    }
}

fn command() -> Command {
    let settings = |wanted: fn(&str) -> bool| {
        let wanted = SETTINGS.iter().filter(move |setting| wanted(setting.name));
        wanted.map(|setting| {
            let flag = setting.name.to_lowercase().replace('_', "-");
            let flag = flag.strip_prefix("kura-").unwrap_or(&flag).to_owned();
            let default = match setting.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            Arg::new(setting.name)
                .long(flag)
                .value_name("VALUE")
                .help(format!("{} [env: {}]{default}", setting.help, setting.name))
        })
    };
    let tenant = Arg::new("tenant")
        .required(true)
        .value_name("TENANT")
        .help("The tenant's id");
    let check = Arg::new("check")
        .long("check")
        .action(ArgAction::SetTrue)
        .help("Only say whether the configuration can be used");
    let of_secrets = |name: &str| matches!(name, "KURA_SECRET" | "KURA_STORE");
    Command::new("kura")
        .version(env!("CARGO_PKG_VERSION"))
        .about("S3 attachment storage sidecar for Redmine")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("serve")
                .about("Serves the API")
                .arg(check)
                .args(settings(|_| true)),
        )
        .subcommand(
            Command::new("token")
                .about("Prints a tenant's token")
                .arg(tenant.clone())
                .args(settings(of_secrets)),
        )
        .subcommand(
            Command::new("ticket")
                .about("Prints a path by which one file can be downloaded for a while")
                .arg(tenant)
                .args(ticket_arguments())
                .args(settings(of_secrets)),
        )
        .subcommand(
            Command::new("healthcheck")
                .about("Succeeds when the server on this machine is alive")
                .args(settings(|name| name == "KURA_LISTEN")),
        )
        .subcommands(ops::COMMANDS.iter().map(|command| {
            let settings = settings(ops::is_setting).map(|setting| {
                let setting = setting.global(true).hide_short_help(true);
                setting.help_heading("Settings")
            });
            (command.describe)().args(settings)
        }))
        .subcommand(Command::new("openapi").about("Prints the API's OpenAPI description"))
        .subcommand(worker_command())
}

fn ticket_arguments() -> [Arg; 4] {
    let key = Arg::new("key").required(true).value_name("KEY");
    let name = Arg::new("filename").long("filename").value_name("NAME");
    let seconds = Arg::new("seconds").long("seconds").default_value("300");
    let attachment = Arg::new("attachment").long("attachment");
    [
        key.help("The file's key"),
        name.help("The file name for the browser [default: that of the key]"),
        seconds
            .value_parser(value_parser!(u64).range(1..=86400))
            .help("How long it is good, in seconds"),
        attachment
            .action(ArgAction::SetTrue)
            .help("To be saved, not shown"),
    ]
}

/// What `kura serve` starts to make thumbnails; not for anybody's hands.
fn worker_command() -> Command {
    Command::new("render-worker")
        .hide(true)
        .arg(
            Arg::new("memory-bytes")
                .long("memory-bytes")
                .default_value("629145600")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            Arg::new("fallback-font")
                .long("fallback-font")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(Arg::new("drills").long("drills").action(ArgAction::SetTrue))
}

fn render_worker(matches: &ArgMatches) -> ExitCode {
    worker::run(&Setup {
        memory_bytes: matches.get_one("memory-bytes").copied().unwrap_or_default(),
        fallback_font: matches.get_one("fallback-font").cloned(),
        drills: matches.get_flag("drills"),
    })
}

fn values(matches: &ArgMatches) -> Values {
    Values::from_environment(|name| matches.try_get_one::<String>(name).ok().flatten().cloned())
}

fn serve(matches: &ArgMatches) -> anyhow::Result<()> {
    let values = values(matches);
    let config = values.config()?;
    if matches.get_flag("check") {
        for taken in values.taken() {
            println!("from KURA_REDMICA_S3: {taken}");
        }
        for warning in values.warnings() {
            println!("from KURA_REDMICA_S3: {warning}");
        }
        println!("the configuration can be used");
        return Ok(());
    }
    telemetry::init(&values.log());
    for warning in values.warnings() {
        tracing::warn!(warning, "a part of KURA_REDMICA_S3 is not used");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let stop = stop_on_signals()?;
        let app = App::start(config).await?;
        tracing::info!(
            address = app.address(),
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        app.warm_up();
        app.run(stop).await;
        Ok(())
    });
    // A disk that does not answer must not keep the process from its end.
    runtime.shutdown_background();
    served
}

/// A token that is cancelled when the process is asked to end.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

fn token(matches: &ArgMatches) -> anyhow::Result<()> {
    println!("{}", token_of(&tenant(matches)?, matches)?);
    Ok(())
}

fn ticket(matches: &ArgMatches) -> anyhow::Result<()> {
    let key = FileKey::parse(argument(matches, "key").unwrap_or_default())?;
    let file_name = argument(matches, "filename").unwrap_or(key.name());
    let seconds: u64 = matches.get_one("seconds").copied().unwrap_or_default();
    let attachment = matches.get_flag("attachment");
    let ticket = Ticket {
        tenant: tenant(matches)?,
        key: key.to_string(),
        disposition: if attachment { "attachment" } else { "inline" }.into(),
        content_type: None,
        expires_at: UNIX_EPOCH.elapsed()?.as_secs() + seconds,
    };
    let ticket = ticket.sign(&token_of(&ticket.tenant, matches)?, file_name);
    let file_name = utf8_percent_encode(file_name, NON_ALPHANUMERIC);
    println!("/kura/t/{ticket}/{file_name}");
    Ok(())
}

fn argument<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

fn tenant(matches: &ArgMatches) -> anyhow::Result<TenantId> {
    Ok(argument(matches, "tenant").unwrap_or_default().parse()?)
}

fn token_of(tenant: &TenantId, matches: &ArgMatches) -> anyhow::Result<String> {
    Ok(secret::of(&values(matches))?.token(tenant))
}

fn operate(name: &str, matches: &ArgMatches) -> anyhow::Result<()> {
    let named = |command: &&OperatorCommand| (command.describe)().get_name() == name;
    let command = ops::COMMANDS.iter().find(named);
    let command = command.context("there is no such command")?;
    let mut innermost = matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    (command.run)(matches, &values(innermost))
}

fn health(matches: &ArgMatches) -> anyhow::Result<()> {
    healthcheck::run(&values(matches).listen()?)
}

fn openapi() -> anyhow::Result<()> {
    println!("{}", kura::http::openapi::description().to_pretty_json()?);
    Ok(())
}
