//! Host names that are still in the files of refused tenants: those files stay
//! as they were, and the web server would give such a name to either.

use std::collections::HashMap;

use anyhow::Result;

use super::folder::{Existing, Folder};
use super::report::Fault;
use super::{Outcome, host};

/// The directives that name hosts, under both servers.
const DIRECTIVES: &[&str] = &["ServerName", "ServerAlias", "server_name"];

/// Refuses whoever wants a name that is in the file of a tenant in `refused`
/// or of one that is refused by itself; and so on, as their files stay, too.
pub(super) fn refuse_taken(
    folder: &Folder,
    mut refused: Vec<String>,
    outcomes: &mut [Outcome],
) -> Result<()> {
    let mut wanted: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        match &outcome.rendered {
            Ok(rendered) => {
                for name in names(&rendered.text) {
                    wanted.entry(name).or_default().push(index);
                }
            }
            Err(_) if outcome.suspended => {}
            Err(_) => refused.push(outcome.id.clone()),
        }
    }
    while let Some(other) = refused.pop() {
        let Existing::Ours(text, _) = folder.existing(&other)? else {
            continue;
        };
        for name in names(&text) {
            for index in wanted.remove(&name).unwrap_or_default() {
                let outcome = &mut outcomes[index];
                if outcome.rendered.is_err() {
                    continue;
                }
                let problem = format!("{name} is still in the file of tenant {other}, which stays");
                outcome.rendered = Err(Fault::of_key(host::SUB_DOMAIN, &problem));
                if !outcome.suspended {
                    refused.push(outcome.id.clone());
                }
            }
        }
    }
    Ok(())
}

fn names(text: &str) -> impl Iterator<Item = String> {
    text.lines().flat_map(|line| {
        let mut words = line.split_whitespace();
        let names = words.next().is_some_and(|word| DIRECTIVES.contains(&word));
        let words = words.take_while(move |_| names);
        words.map(|name| name.trim_matches(['"', ';']).to_ascii_lowercase())
    })
}
