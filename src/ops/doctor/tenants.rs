//! The tenants: their files, and what their credentials may do where their
//! objects are.

use std::collections::BTreeSet;

use super::Scope;
use super::report::{Finding, Report};
use crate::config::StoreConfig;
use crate::ops::site::Site;
use crate::storage::StoreError;
use crate::storage::s3::S3Store;
use crate::storage::s3::examine::Trial;
use crate::tenant::{State, TenantSettings};

pub(super) async fn look(site: &Site, scope: &Scope, report: &mut Report) {
    let all = site.tenants();
    files(site, &all, report);
    let chosen = match &scope.tenant {
        Some(id) => match site.tenant(id) {
            Ok(tenant) => vec![tenant],
            Err(error) => {
                report.add(Finding::failure("tenant", error.to_string()));
                return;
            }
        },
        None => some_of(all, scope.sample),
    };
    let mut tried = BTreeSet::new();
    for tenant in &chosen {
        let mut findings = Vec::new();
        match site.deployment.in_s3(tenant) {
            Ok(None) => findings.push(directory(site, tenant).await),
            Ok(Some(store)) => {
                let good = s3(site, scope, tenant, &store, &mut findings).await;
                if good && scope.writes && tried.insert(&tenant.bucket) {
                    findings.extend(server(&store).await);
                }
            }
            Err(error) => findings.push(Finding::failure("tenant", format!("{error:#}"))),
        }
        for finding in findings {
            report.add(finding.about(tenant.id.as_str()));
        }
    }
}

fn files(site: &Site, all: &[TenantSettings], report: &mut Report) {
    for (stem, why) in &site.broken {
        let finding = Finding::failure("tenant file", why.as_str()).about(stem);
        report.add(finding.hint("a running server keeps its last good version until it is mended"));
    }
    let suspended = all.iter().filter(|it| it.state == State::Suspended).count();
    let with_role = all
        .iter()
        .filter(|it| site.deployment.role(it).is_some())
        .count();
    let count = all.len();
    let text = format!("{count}, of which {suspended} suspended and {with_role} with a role");
    report.add(match count {
        0 => Finding::warning("tenants", "there are none").hint("kura tenant add"),
        _ => Finding::ok("tenants", text),
    });
    let ignored = all.iter().filter(|it| it.role.arn.is_some()).count();
    if site.deployment.connection().is_none() && ignored > 0 {
        let text = format!("{ignored} name a role, which a directory store has no use for");
        report.add(Finding::warning("tenants", text));
    }
}

/// Spread evenly, so that not always the same are looked at when some come.
fn some_of(all: Vec<TenantSettings>, most: usize) -> Vec<TenantSettings> {
    let step = all.len().div_ceil(most.max(1)).max(1);
    let active = all.into_iter().filter(|it| it.state == State::Active);
    active.step_by(step).take(most).collect()
}

async fn directory(site: &Site, tenant: &TenantSettings) -> Finding {
    // Opening it would make it, with this user's rights and not the server's.
    if let StoreConfig::Directory(root) = &site.deployment.config().store
        && !root.join(&tenant.bucket).exists()
    {
        return Finding::ok("folder", "is not there yet");
    }
    let opened = match site.open_tenant(tenant) {
        Ok(opened) => opened,
        Err(error) => return Finding::failure("folder", format!("{error:#}")),
    };
    match opened.store.ping().await {
        Ok(()) => Finding::ok("folder", "can be listed"),
        Err(error) => Finding::failure("folder", error.to_string()),
    }
}

async fn s3(
    site: &Site,
    scope: &Scope,
    tenant: &TenantSettings,
    store: &S3Store,
    findings: &mut Vec<Finding>,
) -> bool {
    let role = site.deployment.role(tenant);
    if let (Some(role), Err(why)) = (&role, store.credentials().await) {
        let finding = Finding::failure("role", format!("{} cannot be assumed: {why}", role.arn));
        findings.push(finding.hint(
            "its trust policy must let the server's own credentials sts:AssumeRole, and these \
             must have the right to: docs/OPERATIONS.md#credentials",
        ));
        return false;
    }
    let has_role = role.is_some();
    let mut good = true;
    for (trial, outcome) in store.try_out(scope.writes).await {
        if let Err(error) = outcome {
            good = false;
            findings.push(refusal(trial, &error, has_role));
        }
    }
    if good {
        let can = if scope.writes {
            "can be listed, read and written"
        } else {
            "can be listed (writing was not tried)"
        };
        findings.push(Finding::ok("folder", can));
    }
    // Nothing lies outside of a whole bucket.
    if let Some(role) = role.filter(|_| !tenant.layout.folder().is_empty()) {
        findings.push(match store.is_held_in().await {
            Ok(true) => Finding::ok("role", format!("{} reaches nothing outside", role.arn)),
            Ok(false) => Finding::failure("role", format!("{} reaches other folders", role.arn))
                .hint(
                    "with role_session: tag the role's policy has to look at \
                     ${aws:PrincipalTag/kura-folder}: docs/OPERATIONS.md#credentials",
                ),
            Err(error) => refusal(Trial::Outside, &error, true),
        });
    }
    good
}

/// What a bucket's server does for all, tried in this tenant's folder.
async fn server(store: &S3Store) -> [Finding; 2] {
    let conditions = match store.honours_conditions().await {
        Ok(true) => Finding::ok("conditional writes", "honoured"),
        Ok(false) => Finding::warning("conditional writes", "ignored: names get a unique part")
            .hint("docs/SEMANTICS.md#s3-compatible-servers-that-ignore-conditions"),
        Err(error) => Finding::failure("conditional writes", error.to_string()),
    };
    let checksums = match store.refuses_wrong_checksums().await {
        Ok(true) => Finding::ok("checksums", "what is damaged on its way is refused"),
        Ok(false) => Finding::warning("checksums", "the server does not compare them")
            .hint("Kura verifies what it reads, but damage is found only then"),
        Err(error) => Finding::failure("checksums", error.to_string())
            .hint("KURA_S3_CHECKSUMS=no, for servers that refuse what they do not know"),
    };
    [conditions, checksums]
}

fn refusal(trial: Trial, error: &StoreError, with_role: bool) -> Finding {
    let (what, right) = match trial {
        Trial::List => ("cannot be listed", "s3:ListBucket"),
        Trial::Missing => (
            "a missing object is not told from a forbidden one",
            "s3:ListBucket",
        ),
        Trial::Put => ("cannot be written", "s3:PutObject"),
        Trial::Get => ("cannot be read", "s3:GetObject"),
        Trial::Abort => ("uploads cannot be aborted", "s3:AbortMultipartUpload"),
        Trial::Delete => ("cannot be deleted from", "s3:DeleteObject"),
        Trial::Outside => ("what lies outside could not be tried", "sts:AssumeRole"),
    };
    let finding = Finding::failure("folder", format!("{what}: {error}"));
    match error {
        StoreError::Forbidden(_) if with_role => finding.hint(format!(
            "the role needs {right}, its trust policy sts:AssumeRole for the server's own role; \
             docs/OPERATIONS.md#credentials"
        )),
        StoreError::Forbidden(_) => finding.hint(format!(
            "the credentials need {right}: docs/CONFIGURATION.md#permissions-on-s3"
        )),
        _ => finding,
    }
}
