//! `kura vhosts`: the web server's configuration of every tenant, from the
//! tenant files.
//!
//! A tenant whose file cannot be used keeps the configuration that it has, and
//! its host name with it; a suspended one keeps none that has its token. Only
//! what was made here is replaced or removed.

mod apply;
mod clash;
mod diff;
mod folder;
mod host;
mod options;
mod report;
mod template;
mod words;

use std::collections::HashMap;

use anyhow::{Result, ensure};
use clap::{ArgMatches, Command};

use self::apply::Task;
pub(super) use self::host::{LIMIT_IPS, network};
use self::options::Options;
use self::report::Fault;
use self::template::{Rendered, Renderer, Tenant};
use super::site::Site;
use super::{OperatorCommand, secret};
use crate::config::Values;
use crate::tenant::settings::document;
use crate::tenant::{State, TenantSettings};

/// The command.
pub(super) const COMMAND: OperatorCommand = OperatorCommand { describe, run };

const EXAMPLE: &str = "\
Example:
  kura vhosts --output /etc/apache2/kura --domain example.com --root /srv/redmine \\
    --on-change 'apachectl -t && apachectl graceful'

KURA_TENANTS names the tenant files. Tokens need KURA_SECRET, or the store's own secret.";

/// A web server with Passenger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Apache,
    Nginx,
}

impl Server {
    fn template(self) -> &'static str {
        match self {
            Self::Apache => include_str!("vhosts/apache.conf.jinja"),
            Self::Nginx => include_str!("vhosts/nginx.conf.jinja"),
        }
    }

    fn default_listen(self) -> &'static str {
        match self {
            Self::Apache => "*:80",
            Self::Nginx => "80",
        }
    }
}

fn describe() -> Command {
    Command::new("vhosts")
        .about("Writes a VirtualHost for each tenant, for Apache or nginx")
        .after_help(EXAMPLE)
        .args(options::arguments())
}

fn run(matches: &ArgMatches, values: &Values) -> Result<()> {
    let server = options::server(matches);
    if matches.get_flag("print-template") {
        print!("{}", server.template());
        return Ok(());
    }
    let text = |name| matches.get_one::<String>(name);
    let template = match text("template") {
        Some(path) => template::read(path)?,
        None => server.template().to_owned(),
    };
    let renderer = Renderer::new(Options::new(matches, values)?, template)?;
    let task = Task::new(matches);
    super::run(values, async {
        let site = Site::open(values).await?;
        task.run(&site, render_all(&renderer, &site, values)?)
    })
}

/// A tenant's configuration, or why there is none.
struct Outcome {
    id: String,
    file_name: String,
    suspended: bool,
    rendered: Result<Rendered, Fault>,
}

/// Renders all tenants, in the order of their ids.
fn render_all(renderer: &Renderer, site: &Site, values: &Values) -> Result<Vec<Outcome>> {
    let secrets = secret::of(values)?;
    let read = |settings: &TenantSettings, file_name: &str, text: &str| -> Result<Tenant, Fault> {
        let file = document(text).map_err(|error| Fault::of_file(&error.to_string()))?;
        Ok(Tenant {
            server_name: renderer.server_name(&file)?,
            token: secrets.token(&settings.id),
            settings: settings.clone(),
            file_name: file_name.to_owned(),
            file,
        })
    };
    ensure!(
        site.deployment.tenant_source()?.is_some(),
        "there are no tenant files: KURA_TENANTS must name their place, dir:PATH or s3://BUCKET/PREFIX/"
    );
    let tenants = site.tenants();
    // An empty place is rather the wrong one, and all files would go.
    ensure!(
        !tenants.is_empty() || !site.broken.is_empty(),
        "there is no tenant file in the place that KURA_TENANTS names"
    );
    let mut all = Vec::with_capacity(tenants.len());
    let mut owners: HashMap<String, Vec<String>> = HashMap::new();
    for settings in &tenants {
        let (file_name, text) = file_of(site, settings.id.as_str());
        let tenant = read(settings, &file_name, &text);
        if let Ok(tenant) = &tenant {
            let same = owners.entry(tenant.server_name.clone()).or_default();
            same.push(settings.id.to_string());
        }
        all.push((settings, file_name, tenant));
    }
    let outcomes = all
        .into_iter()
        .map(|(settings, file_name, tenant)| Outcome {
            id: settings.id.to_string(),
            file_name,
            suspended: settings.state == State::Suspended,
            rendered: tenant.and_then(|tenant| {
                alone(&tenant, &owners)?;
                renderer.render(&tenant)
            }),
        });
    Ok(outcomes.collect())
}

/// The name and the text of a tenant's file; the text is empty when it could
/// not be read.
fn file_of(site: &Site, stem: &str) -> (String, String) {
    let file = site.file(stem).map(|(name, file)| (name, file.text));
    file.unwrap_or_else(|| (format!("{stem}.yml"), String::new()))
}

/// Refuses a host name that another tenant has, too: the web server would give
/// it to either.
fn alone(tenant: &Tenant, owners: &HashMap<String, Vec<String>>) -> Result<(), Fault> {
    let id = tenant.settings.id.as_str();
    let same = owners.get(&tenant.server_name);
    let Some(other) = same.and_then(|same| same.iter().find(|owner| *owner != id)) else {
        return Ok(());
    };
    let problem = format!("{} is the name of tenant {other}, too", tenant.server_name);
    let line = tenant.file.at(host::SUB_DOMAIN).and_then(|node| node.line);
    Err(Fault::of_key(host::SUB_DOMAIN, &problem).at(line))
}
