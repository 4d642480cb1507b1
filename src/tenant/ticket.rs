//! Tickets: the right to read one file for a short time, under one name and in
//! one way, without a token.
//!
//! Whoever has a tenant's token can make its tickets, and nobody else: Redmine
//! asks nobody for one. A ticket says nothing that its MAC does not cover.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;

use crate::tenant::{Secrets, TenantId};

/// Keeps the MAC apart from any other made with a token. Neither this nor
/// base64url has a NUL, so that no two tickets and names read the same.
const PURPOSE: &[u8] = b"kura ticket v1\0";
/// No ticket is good for longer: it may be found in a browser's history.
const MAX_LIFETIME: Duration = Duration::from_hours(24);
/// The longest ticket, in bytes. One with a key of 768 bytes, each of them
/// escaped, has less.
const MAX_TICKET_BYTES: usize = 8192;

/// What may be done. What is not known here might limit it, and is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Whose file may be read.
    #[serde(rename = "t")]
    pub tenant: TenantId,
    /// The file's key, as Redmine spells it.
    #[serde(rename = "k")]
    pub key: String,
    /// `inline` or `attachment`.
    #[serde(rename = "d")]
    pub disposition: String,
    /// The media type, in place of the one kept with the file.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Until when, in seconds since 1970.
    #[serde(rename = "e")]
    pub expires_at: u64,
}

/// Why a ticket was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TicketError {
    /// It was not made with the tenant's token, or not for this file name, or
    /// for a time longer than any may have.
    #[error("the ticket is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the ticket has expired")]
    Expired,
}

impl Ticket {
    /// The ticket's text, for a file that is to be called `file_name`, made
    /// with the tenant's token.
    #[must_use]
    pub fn sign(&self, token: &str, file_name: &str) -> String {
        // A struct of texts and numbers always has a spelling.
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let mac = mac(token, &payload, file_name).map(|mac| mac.finalize().into_bytes());
        let mac = mac.map(|mac| URL_SAFE_NO_PAD.encode(mac));
        format!("{payload}.{}", mac.unwrap_or_default())
    }

    /// What the text allows, if a token of the tenant that it names has made
    /// it for this file name, and `now` lies within its time.
    ///
    /// # Errors
    /// See [`TicketError`].
    pub fn verify(
        text: &str,
        file_name: &str,
        secrets: &Secrets,
        now: SystemTime,
    ) -> Result<Self, TicketError> {
        let (ticket, payload, claimed) = parse(text).ok_or(TicketError::Invalid)?;
        let mut genuine = false;
        // All of them, so that the time taken does not tell which it was.
        for token in secrets.tokens(&ticket.tenant) {
            let mac = mac(&token, payload, file_name);
            genuine |= mac.is_some_and(|mac| mac.verify_slice(&claimed).is_ok());
        }
        if !genuine {
            return Err(TicketError::Invalid);
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires_at = Duration::from_secs(ticket.expires_at);
        match expires_at.checked_sub(now) {
            None | Some(Duration::ZERO) => Err(TicketError::Expired),
            Some(left) if left > MAX_LIFETIME => Err(TicketError::Invalid),
            Some(_) => Ok(ticket),
        }
    }
}

/// What a ticket claims, its payload as it is spelled, and its MAC.
fn parse(text: &str) -> Option<(Ticket, &str, Vec<u8>)> {
    if text.len() > MAX_TICKET_BYTES {
        return None;
    }
    let (payload, mac) = text.split_once('.')?;
    let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
    let ticket = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some((ticket, payload, mac))
}

/// `None` never: HMAC takes keys of any length.
fn mac(token: &str, payload: &str, file_name: &str) -> Option<Hmac<Sha256>> {
    let keyed = Hmac::<Sha256>::new_from_slice(token.as_bytes()).ok()?;
    let mac = keyed.chain_update(PURPOSE).chain_update(payload);
    Some(mac.chain_update(b"\0").chain_update(file_name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "the-old-secret-of-the-operator";
    const NEW: &str = "the-new-secret-of-the-operator";
    const NOW: u64 = 1_795_000_000;

    fn secrets(text: &str) -> Secrets {
        Secrets::parse(text).unwrap()
    }

    fn ticket() -> Ticket {
        Ticket {
            tenant: "sitea".parse().unwrap(),
            key: "2026/11/261122194501_report.pdf".into(),
            disposition: "inline".into(),
            content_type: None,
            expires_at: NOW + 60,
        }
    }

    fn signed(ticket: &Ticket, file_name: &str) -> String {
        ticket.sign(&secrets(NEW).token(&ticket.tenant), file_name)
    }

    fn verify(text: &str, file_name: &str) -> Result<Ticket, TicketError> {
        verify_at(text, file_name, NOW)
    }

    fn verify_at(text: &str, file_name: &str, now: u64) -> Result<Ticket, TicketError> {
        let now = UNIX_EPOCH + Duration::from_secs(now);
        Ticket::verify(text, file_name, &secrets(NEW), now)
    }

    #[test]
    fn ticket_is_the_hmac_that_any_other_program_would_make() {
        // payload=$(printf '{"t":"sitea",…,"e":1795000060}' | basenc --base64url -w0 | tr -d =)
        // printf 'kura ticket v1\0%s\0%s' "$payload" 'Q3 見積.pdf' |
        //     openssl dgst -sha256 -hmac "$(kura token sitea)" -binary | basenc --base64url
        let payload = concat!(
            r#"{"t":"sitea","k":"2026/11/261122194501_report.pdf","#,
            r#""d":"inline","e":1795000060}"#
        );
        let expected = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(payload),
            "XzYddTn5rfuqyOmUYqMp4Q4xJrNwz2pxwtzn1EO33nY"
        );
        assert_eq!(signed(&ticket(), "Q3 見積.pdf"), expected);
    }

    #[test]
    fn ticket_says_what_was_signed_for_this_name_only() {
        let typed = Ticket {
            content_type: Some("text/plain; charset=utf-8".into()),
            ..ticket()
        };
        let text = signed(&typed, "見積.pdf");
        assert_eq!(verify(&text, "見積.pdf"), Ok(typed));
        for other in ["", "見積.pdf ", "見積.exe", "a/見積.pdf", "\0見積.pdf"] {
            assert_eq!(verify(&text, other), Err(TicketError::Invalid), "{other}");
        }
    }

    #[test]
    fn ticket_is_good_until_its_time_and_for_a_day_at_most() {
        let text = signed(&ticket(), "a");
        let at = |now| verify_at(&text, "a", now).err();
        assert_eq!(at(NOW + 59), None);
        assert_eq!(at(NOW + 60), Some(TicketError::Expired));
        assert_eq!(at(NOW + 1_000_000), Some(TicketError::Expired));
        assert_eq!(at(NOW + 60 - 86_400), None);
        assert_eq!(at(NOW + 59 - 86_400), Some(TicketError::Invalid));
        let endless = Ticket {
            expires_at: u64::MAX,
            ..ticket()
        };
        let text = signed(&endless, "a");
        assert_eq!(verify(&text, "a"), Err(TicketError::Invalid));
    }

    #[test]
    fn tickets_of_the_previous_secret_are_good_while_it_is() {
        let text = ticket().sign(&secrets(OLD).token(&ticket().tenant), "a");
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let rotating = secrets(&format!("{NEW},{OLD}"));
        assert!(Ticket::verify(&text, "a", &rotating, now).is_ok());
        assert_eq!(verify(&text, "a"), Err(TicketError::Invalid));
    }

    #[test]
    fn token_of_another_tenant_makes_no_ticket() {
        let other = secrets(NEW).token(&"siteb".parse().unwrap());
        let text = ticket().sign(&other, "a");
        assert_eq!(verify(&text, "a"), Err(TicketError::Invalid));
    }

    #[test]
    fn expired_forgery_is_not_told_that_it_has_expired() {
        let text = ticket().sign("sitea.guessed", "a");
        let late = verify_at(&text, "a", NOW + 100);
        assert_eq!(late, Err(TicketError::Invalid));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let text = signed(&ticket(), "a");
        for end in 0..text.len() {
            assert!(verify(&text[..end], "a").is_err(), "{end}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, "a").is_err(), "{at}");
        }
        assert!(verify(&format!("{text}A"), "a").is_err());
        assert!(verify(&format!("{text}="), "a").is_err());
        assert!(verify(&"A".repeat(MAX_TICKET_BYTES + 1), "a").is_err());
    }

    #[test]
    fn claims_that_are_not_known_are_not_passed_over() {
        let token = secrets(NEW).token(&"sitea".parse().unwrap());
        let text = r#"{"t":"sitea","k":"a","d":"inline","e":1795000060,"ip":"192.0.2.1"}"#;
        let payload = URL_SAFE_NO_PAD.encode(text);
        let mac = mac(&token, &payload, "a").unwrap().finalize().into_bytes();
        let text = format!("{payload}.{}", URL_SAFE_NO_PAD.encode(mac));
        assert_eq!(verify(&text, "a"), Err(TicketError::Invalid));
    }

    proptest! {
        #[test]
        fn every_ticket_verifies_under_its_name(key in ".{0,80}", name in ".{0,40}") {
            let ticket = Ticket { key, ..ticket() };
            prop_assert_eq!(verify(&signed(&ticket, &name), &name), Ok(ticket));
        }

        #[test]
        fn no_other_text_verifies(text in "\\PC{0,80}") {
            prop_assert!(verify(&text, "a").is_err());
        }
    }
}
