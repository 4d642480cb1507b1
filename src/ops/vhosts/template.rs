//! From a tenant's file to the text of its configuration, by a template.
//!
//! The template sees the file as it is and what Kura adds. A value that it
//! prints goes through [`words`]; one that is not there is a
//! fault of the tenant.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use minijinja::value::ValueKind;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, OutputSpan, UndefinedBehavior, Value, context,
    escape_formatter,
};

use super::options::Options;
use super::report::Fault;
use super::words::{self, Refused};
use super::{folder, host};
use crate::ops::tenant::masked::is_secret;
use crate::tenant::settings::{Node, Value as Setting};
use crate::tenant::{State, TenantSettings};

/// The name under which the template is kept.
const MAIN: &str = "template";
const NOT_TEXT: &str = "not a text";

/// Makes the configurations of all tenants.
pub(super) struct Renderer {
    environment: Environment<'static>,
    options: Options,
}

/// A tenant as it is to be rendered.
pub(super) struct Tenant {
    pub(super) settings: TenantSettings,
    pub(super) file_name: String,
    pub(super) file: Node,
    pub(super) server_name: String,
    pub(super) token: String,
}

/// A tenant's configuration.
pub(super) struct Rendered {
    pub(super) text: String,
    /// The same for people's eyes, without secrets.
    pub(super) masked: String,
}

impl Renderer {
    /// Takes a template.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn new(options: Options, template: String) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_debug(true);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(|out, state, value| match value.kind() {
            ValueKind::String | ValueKind::Number | ValueKind::Bool => {
                escape_formatter(out, state, value)
            }
            _ => Err(Error::new(ErrorKind::InvalidOperation, NOT_TEXT)),
        });
        let unusable = |what: String| move |error| anyhow!("{what} cannot be used: {error}");
        environment
            .add_template_owned(MAIN, template)
            .map_err(unusable("the template".to_owned()))?;
        for (name, value) in &options.env {
            environment
                .add_template_owned(variable(name), value.clone())
                .map_err(unusable(variable(name)))?;
        }
        Ok(Self {
            environment,
            options,
        })
    }

    /// The host name of a tenant.
    pub(super) fn server_name(&self, file: &Node) -> Result<String, Fault> {
        host::server_name(file, &self.options.domain)
    }

    /// Makes a tenant's configuration.
    pub(super) fn render(&self, tenant: &Tenant) -> Result<Rendered, Fault> {
        let options = &self.options;
        let suspended = tenant.settings.state == State::Suspended;
        // What is wrong with the rest must not keep a tenant from being suspended.
        let (delivery, limit_ips) = if suspended {
            (options.delivery.clone(), Vec::new())
        } else {
            (self.delivery(&tenant.file)?, host::limit_ips(&tenant.file)?)
        };
        let ours = context! {
            id => tenant.settings.id.as_str(),
            server_name => tenant.server_name.as_str(),
            domain => options.domain.as_str(),
            suspended,
            bucket => tenant.settings.bucket.as_str(),
            folder => tenant.settings.layout.folder().trim_end_matches('/'),
            token => tenant.token.as_str(),
            limit_ips,
            delivery,
            listen => options.listen.as_str(),
            root => options.root.as_str(),
            rails_env => options.rails_env.as_str(),
            kura_url => options.kura_url.for_plugin(),
            proxy_url => options.kura_url.for_proxy(options.server),
            cache_dir => options.cache_dir.as_deref(),
        };
        let mut secrets = vec![tenant.token.clone()];
        collect_secrets("", &tenant.file, &mut secrets);
        let context = context! { ..ours, ..value(&tenant.file) };
        let env = if suspended {
            BTreeMap::new()
        } else {
            self.env(&context, tenant, &mut secrets)?
        };
        let context = context! { env, ..context };
        self.compose(&context, tenant, &secrets)
    }

    fn delivery(&self, file: &Node) -> Result<String, Fault> {
        let own = host::delivery(file, self.options.server)?;
        let delivery = own.unwrap_or_else(|| self.options.delivery.clone());
        if delivery == "x_sendfile" && self.options.cache_dir.is_none() {
            let line = file.at(host::DELIVERY).and_then(|node| node.line);
            return Err(Fault::of_key(host::DELIVERY, "x_sendfile needs --cache-dir").at(line));
        }
        Ok(delivery)
    }

    /// What `--env` adds, which may be made of the tenant's settings.
    fn env(
        &self,
        context: &Value,
        tenant: &Tenant,
        secrets: &mut Vec<String>,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let mut env = BTreeMap::new();
        for (name, source) in &self.options.env {
            let template = self.environment.get_template(&variable(name));
            let text = template.and_then(|template| template.render(context.clone()));
            let text = text.map_err(|error| fault(&error, source, tenant))?;
            words::check(&text, self.options.server)
                .map_err(|why| Fault::of_key(&variable(name), &why.to_string()))?;
            if !text.is_empty() && (is_secret(name, &text) || is_secret(source, "")) {
                secrets.push(text.clone());
            }
            env.insert(name.clone(), text);
        }
        Ok(env)
    }

    fn compose(
        &self,
        context: &Value,
        tenant: &Tenant,
        secrets: &[String],
    ) -> Result<Rendered, Fault> {
        let server = self.options.server;
        let template = self.environment.get_template(MAIN);
        let template = template.map_err(|error| fault(&error, "", tenant))?;
        let (output, spans) = template
            .render_with_spans(context.clone())
            .map_err(|error| fault(&error, template.source(), tenant))?;
        // What a filter has made of a secret is told by the expression.
        let source = template.source();
        let hidden = |span: &OutputSpan, value: &str| {
            let expression = source.get(span.source_range()).unwrap_or_default();
            is_secret(expression, "") || secrets.iter().any(|secret| value.contains(secret))
        };
        let composed = words::compose(&output, &spans, server, hidden);
        let (text, masked) =
            composed.map_err(|refused| refusal(&refused, &spans, source, tenant))?;
        let whole = |body| folder::mark(&tenant.file_name) + body + "\n";
        Ok(Rendered {
            text: whole(&text),
            masked: whole(&masked),
        })
    }
}

/// The name under which the template of a variable's value is kept.
fn variable(name: &str) -> String {
    format!("--env {name}")
}

/// Reads an operator's own template.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("the template {path} cannot be read"))
}

/// The file as templates see it.
fn value(node: &Node) -> Value {
    match &node.value {
        Setting::Nothing => Value::from(()),
        Setting::Truth(truth) => Value::from(*truth),
        Setting::Text(text) => Value::from(text.as_str()),
        Setting::List(list) => list.iter().map(value).collect(),
        Setting::Map(map) => Value::from_pairs(map.iter().map(|(key, node)| (key, value(node)))),
    }
}

/// The texts that must not be shown.
fn collect_secrets(path: &str, node: &Node, secrets: &mut Vec<String>) {
    match &node.value {
        Setting::Text(text) if !text.is_empty() && is_secret(path, text) => {
            secrets.push(text.clone());
        }
        Setting::List(list) => {
            for node in list {
                collect_secrets(path, node, secrets);
            }
        }
        Setting::Map(map) => {
            for (key, node) in map {
                collect_secrets(&format!("{path}.{key}"), node, secrets);
            }
        }
        _ => {}
    }
}

/// What the engine could not do. Its own text may quote values.
fn fault(error: &Error, source: &str, tenant: &Tenant) -> Fault {
    let place = match (error.name(), error.line()) {
        (Some(MAIN), Some(line)) => format!("line {line} of the template"),
        (name, _) => name.unwrap_or_default().to_owned(),
    };
    let problem = match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, _) => "missing, and needed in",
        (ErrorKind::InvalidOperation, Some(NOT_TEXT)) => "not a text, as is needed in",
        _ => &format!("{}, in", error.kind()),
    };
    let problem = format!("{problem} {place}");
    let expression = error.range().and_then(|range| source.get(range));
    of_expression(expression, &problem, tenant)
}

/// What cannot be a word.
fn refusal(refused: &Refused, spans: &[OutputSpan], source: &str, tenant: &Tenant) -> Fault {
    let span = spans.iter().find(|span| span.output_range() == refused.at);
    let line = span.map_or(0, OutputSpan::line);
    let problem = format!("{} (line {line} of the template)", refused.why);
    let expression = span.and_then(|span| source.get(span.source_range()));
    of_expression(expression, &problem, tenant)
}

/// Names the key, when the expression is one.
fn of_expression(expression: Option<&str>, problem: &str, tenant: &Tenant) -> Fault {
    let path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let key = expression.filter(|text| text.chars().all(path));
    let mut fault = Fault::of_key(key.unwrap_or_default(), problem);
    if let (None, Some(expression)) = (key, expression) {
        fault.problem = format!("`{}`: {problem}", expression.trim());
    }
    fault.at(key.and_then(|key| tenant.file.at(key)?.line))
}
