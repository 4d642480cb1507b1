//! `kura vhosts`: the web server's configuration of every tenant, from the
//! tenant files.
//!
//! A tenant whose file cannot be used keeps the configuration that it has,
//! and is in no other tenant's way. Only what was made here is replaced or
//! removed.

mod apply;
mod diff;
mod folder;
mod host;
mod options;
mod report;
mod template;
mod tenants;
mod words;

use std::collections::HashMap;

use anyhow::Result;
use clap::{ArgMatches, Command};

use self::apply::Task;
use self::options::Options;
use self::report::Fault;
use self::template::{Rendered, Renderer, Tenant};
use self::tenants::Tenants;
use super::{OperatorCommand, secret};
use crate::config::Values;
use crate::tenant::TenantSettings;
use crate::tenant::settings::document;

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
        let tenants = Tenants::read(values).await?;
        task.run(&tenants, render_all(&renderer, &tenants, values)?)
    })
}

/// A tenant's configuration, or why there is none.
struct Outcome {
    id: String,
    file_name: String,
    rendered: Result<Rendered, Fault>,
}

/// Renders all tenants, in the order of their ids.
fn render_all(renderer: &Renderer, tenants: &Tenants, values: &Values) -> Result<Vec<Outcome>> {
    let secrets = secret::of(values)?;
    let read = |settings: &TenantSettings, file_name: &str, text| -> Result<Tenant, Fault> {
        let file = document(text).map_err(|error| Fault::of_file(&error.to_string()))?;
        Ok(Tenant {
            server_name: renderer.server_name(&file)?,
            token: secrets.token(&settings.id),
            settings: settings.clone(),
            file_name: file_name.to_owned(),
            file,
        })
    };
    let mut all = Vec::with_capacity(tenants.all.len());
    let mut owners: HashMap<String, Vec<String>> = HashMap::new();
    for settings in &tenants.all {
        let (file_name, text) = tenants.file(settings.id.as_str());
        let tenant = read(settings, &file_name, text);
        if let Ok(tenant) = &tenant {
            let same = owners.entry(tenant.server_name.clone()).or_default();
            same.push(settings.id.to_string());
        }
        all.push((settings.id.to_string(), file_name, tenant));
    }
    let outcomes = all.into_iter().map(|(id, file_name, tenant)| Outcome {
        id,
        file_name,
        rendered: tenant.and_then(|tenant| {
            alone(&tenant, &owners)?;
            renderer.render(&tenant)
        }),
    });
    Ok(outcomes.collect())
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
