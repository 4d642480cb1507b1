//! The command line of `kura vhosts`, understood.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::{Server, host, words};
use crate::config::{ConfigErrors, Listen, Values};

/// What is the same for all tenants.
pub(super) struct Options {
    pub(super) server: Server,
    pub(super) domain: String,
    pub(super) listen: String,
    /// Redmine's root directory.
    pub(super) root: String,
    pub(super) rails_env: String,
    pub(super) kura_url: KuraUrl,
    pub(super) delivery: String,
    pub(super) cache_dir: Option<String>,
    /// Further variables: names, and templates of their values.
    pub(super) env: Vec<(String, String)>,
}

/// Where Redmine and the web server find Kura: on their own machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KuraUrl {
    /// Host and port.
    Http(String),
    /// The path of a socket.
    Unix(String),
}

impl KuraUrl {
    /// As the plugin takes it.
    pub(super) fn for_plugin(&self) -> String {
        match self {
            Self::Http(address) => format!("http://{address}"),
            Self::Unix(path) => format!("unix:{path}"),
        }
    }

    /// As the web server takes it in front of a path.
    pub(super) fn for_proxy(&self, server: Server) -> String {
        match (self, server) {
            (Self::Http(address), _) => format!("http://{address}"),
            (Self::Unix(path), Server::Apache) => format!("unix:{path}|http://kura"),
            (Self::Unix(path), Server::Nginx) => format!("http://unix:{path}"),
        }
    }

    /// The address at which a server listens, from its own machine.
    fn of(listen: Listen) -> Self {
        match listen {
            Listen::Unix(path) => Self::Unix(path.to_string_lossy().into_owned()),
            Listen::Tcp(address) => match address.rsplit_once(':') {
                Some(("0.0.0.0" | "[::]", port)) => Self::Http(format!("127.0.0.1:{port}")),
                _ => Self::Http(address),
            },
        }
    }
}

/// The arguments.
pub(super) fn arguments() -> Vec<Arg> {
    let needed = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .required_unless_present("print-template")
    };
    let option = |name: &'static str| Arg::new(name).long(name);
    let flag = |name: &'static str| option(name).action(ArgAction::SetTrue);
    vec![
        needed("output").value_name("DIR").value_parser(value_parser!(PathBuf))
            .help("Directory of the files, one for each tenant: ID.conf"),
        needed("domain").value_name("NAME").value_parser(domain)
            .help("What follows property.sub_domain in the host names"),
        needed("root").value_name("DIR").value_parser(absolute)
            .help("Redmine's root directory"),
        option("server").value_name("NAME").default_value("apache")
            .value_parser(["apache", "nginx"]).help("The web server, with Passenger"),
        option("listen").value_name("ADDRESS").value_parser(listen)
            .help("Address that the web server listens on [default: *:80, for nginx 80]"),
        option("rails-env").value_name("NAME").default_value("production").help("Rails' environment"),
        option("kura-url").value_name("URL").value_parser(kura_url)
            .help("Where Kura is: http://HOST:PORT or unix:PATH [default: where KURA_LISTEN says]"),
        option("delivery").value_name("HOW").default_value("ticket")
            .help("How downloads reach the browser, unless the tenant's kura.delivery says so: stream, ticket, x_sendfile (Apache) or x_accel (nginx)"),
        option("cache-dir").value_name("DIR").value_parser(absolute)
            .help("Kura's KURA_CACHE_DIR, where Redmine and the web server see it, too; x_sendfile needs it"),
        option("env").value_name("NAME=VALUE").value_parser(variable).action(ArgAction::Append)
            .help("Another variable for Redmine; VALUE may have {{ id }}, {{ property.plan }} and the like. Can be given again"),
        option("template").value_name("FILE").help("A template of your own"),
        flag("print-template").help("Prints the template that is used without --template, and ends"),
        flag("check").help("Writes nothing, says what would change, and exits with 1 if anything would"),
        option("on-change").value_name("COMMAND").conflicts_with("check")
            .help("What is run by sh when files have changed, such as 'apachectl -t && apachectl graceful'. Until it succeeds it is run each time"),
        option("mode").value_name("MODE").default_value("0600").value_parser(["0600", "0640"])
            .help("Mode of the files: they hold passwords and tokens"),
        flag("json").help("Prints what has changed as JSON"),
    ]
}

impl Options {
    /// Understands what was given.
    ///
    /// # Errors
    /// When parts of it do not fit together.
    pub(super) fn new(matches: &ArgMatches, values: &Values) -> Result<Self, ConfigErrors> {
        let text = |name| matches.get_one::<String>(name).cloned();
        let given = |name| text(name).unwrap_or_default();
        let server = server(matches);
        let kura_url = match matches.get_one::<KuraUrl>("kura-url") {
            Some(url) => url.clone(),
            None => KuraUrl::of(values.listen()?),
        };
        let (delivery, cache_dir) = (given("delivery"), text("cache-dir"));
        let mut errors = Vec::new();
        if !host::is_delivery(&delivery, server) {
            errors.push(format!("--delivery: must be {}", host::deliveries(server)));
        }
        if delivery == "x_sendfile" && cache_dir.is_none() {
            errors.push("--delivery x_sendfile: needs --cache-dir".to_owned());
        }
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        let env = matches.get_many::<(String, String)>("env");
        let listen = text("listen").unwrap_or_else(|| server.default_listen().to_owned());
        Ok(Self {
            server,
            domain: given("domain"),
            listen,
            root: given("root"),
            rails_env: given("rails-env"),
            kura_url,
            delivery,
            cache_dir,
            env: env.into_iter().flatten().cloned().collect(),
        })
    }
}

/// The web server that was asked for.
pub(super) fn server(matches: &ArgMatches) -> Server {
    match matches.get_one::<String>("server").map(String::as_str) {
        Some("nginx") => Server::Nginx,
        _ => Server::Apache,
    }
}

fn domain(text: &str) -> Result<String, String> {
    let fits = host::is_host_name(text);
    fits.then(|| text.to_ascii_lowercase())
        .ok_or_else(|| "not a domain such as example.com".to_owned())
}

fn absolute(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("not an absolute path".to_owned());
    }
    // Both servers' rules: which it will be is another argument.
    for server in [Server::Apache, Server::Nginx] {
        words::check(text, server).map_err(|why| why.to_string())?;
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn listen(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".:*[]-_".contains(c);
    (!text.is_empty() && text.chars().all(allowed))
        .then(|| text.to_owned())
        .ok_or_else(|| "not an address such as *:80".to_owned())
}

fn kura_url(text: &str) -> Result<KuraUrl, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return absolute(path).map(KuraUrl::Unix);
    }
    let address = text
        .strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/'));
    let address = address.filter(|address| listen(address).is_ok());
    let address = address
        .ok_or("must be http://HOST:PORT or unix:PATH: Kura is on the web server's own machine")?;
    Ok(KuraUrl::Http(address.to_owned()))
}

fn variable(text: &str) -> Result<(String, String), String> {
    let named = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    };
    let pair = text.split_once('=').filter(|(name, _)| named(name));
    let (name, value) = pair.ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
