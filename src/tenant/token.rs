//! Bearer tokens, derived from the operator's secret and the tenant's id.
//!
//! Nothing is stored per token: whoever holds the secret can make the token
//! of any tenant, and nobody else any. The tenant of a request comes from its
//! token alone.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::tenant::TenantId;

type HmacSha256 = Hmac<Sha256>;

/// Keeps a token's MAC apart from any other that is made with the same
/// secret. The NUL cannot occur in an id, so no other text reads the same.
const PURPOSE: &[u8] = b"kura token v1\0";
/// A secret shorter than 128 bits could be searched for.
const MIN_SECRET_BYTES: usize = 16;

/// Why the operator's secrets were refused. Never says what they are.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SecretsError {
    /// A secret is empty or can be guessed.
    #[error("each secret must have at least {MIN_SECRET_BYTES} bytes")]
    TooShort,
    /// More than a current and a previous secret.
    #[error("there may be two secrets at most: `current[,previous]`")]
    TooMany,
}

/// The operator's current secret and, while secrets are being rotated, the
/// previous one. Tokens are made with the current; both are accepted.
#[derive(Clone)]
pub struct Secrets {
    current: HmacSha256,
    previous: Option<HmacSha256>,
}

impl Secrets {
    /// Reads `current[,previous]`. White space around each is ignored, since
    /// files and shells tend to add a line end.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn parse(text: &str) -> Result<Self, SecretsError> {
        let mut parts = text.split(',').map(|part| keyed(part.trim()));
        let current = parts.next().unwrap_or(Err(SecretsError::TooShort))?;
        let previous = parts.next().transpose()?;
        match parts.next() {
            Some(_) => Err(SecretsError::TooMany),
            None => Ok(Self { current, previous }),
        }
    }

    /// A new random secret, in a text that [`Secrets::parse`] takes.
    ///
    /// # Errors
    /// The operating system has no random bytes to give.
    pub fn generate() -> Result<String, getrandom::Error> {
        let word = getrandom::u64;
        // 32 bytes, as many as the MAC has: more would add nothing.
        let (first, second, third, fourth) = (word()?, word()?, word()?, word()?);
        Ok(format!(
            "{first:016x}{second:016x}{third:016x}{fourth:016x}"
        ))
    }

    /// The tenant's token: its id, a dot, and the MAC of the id in base64url.
    #[must_use]
    pub fn token(&self, id: &TenantId) -> String {
        token(&self.current, id)
    }

    /// All tokens of the tenant that are accepted.
    pub(super) fn tokens(&self, id: &TenantId) -> impl Iterator<Item = String> {
        let secrets = [Some(&self.current), self.previous.as_ref()];
        secrets
            .into_iter()
            .flatten()
            .map(|secret| token(secret, id))
    }

    /// A number that is always the same for one purpose and owner, while the
    /// current secret is, and that nobody else can guess.
    #[must_use]
    pub fn unguessable(&self, purpose: &str, whose: &str) -> u128 {
        let mac = self.current.clone().chain_update(purpose);
        let mac = mac.chain_update(b"\0").chain_update(whose);
        let bytes = mac.finalize().into_bytes();
        let half = bytes.iter().take(16);
        half.fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    }

    /// The tenant that the token names, if one of the secrets made it.
    ///
    /// The time taken does not tell how much of a forged MAC is right, nor
    /// which of the secrets it was made with.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<TenantId> {
        // An id may have dots, a MAC in base64url has none.
        let (id, claimed) = token.rsplit_once('.')?;
        let id = id.parse().ok()?;
        let claimed = URL_SAFE_NO_PAD.decode(claimed).ok()?;
        let made_with = |secret: &HmacSha256| mac(secret, &id).verify_slice(&claimed).is_ok();
        let current = made_with(&self.current);
        let previous = self.previous.as_ref().is_some_and(made_with);
        (current | previous).then_some(id)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Secrets").finish_non_exhaustive()
    }
}

fn keyed(secret: &str) -> Result<HmacSha256, SecretsError> {
    Some(secret)
        .filter(|secret| secret.len() >= MIN_SECRET_BYTES)
        .and_then(|secret| HmacSha256::new_from_slice(secret.as_bytes()).ok())
        .ok_or(SecretsError::TooShort)
}

fn token(secret: &HmacSha256, id: &TenantId) -> String {
    let mac = mac(secret, id).finalize().into_bytes();
    format!("{id}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn mac(secret: &HmacSha256, id: &TenantId) -> HmacSha256 {
    secret
        .clone()
        .chain_update(PURPOSE)
        .chain_update(id.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "the-old-secret-of-the-operator";
    const NEW: &str = "the-new-secret-of-the-operator";

    fn secrets(text: &str) -> Secrets {
        Secrets::parse(text).unwrap()
    }

    fn id(text: &str) -> TenantId {
        text.parse().unwrap()
    }

    #[test]
    fn token_is_the_hmac_that_any_other_program_would_make() {
        // printf 'kura token v1\0sitea' | openssl dgst -sha256 -hmac "$NEW" -binary | basenc --base64url
        assert_eq!(
            secrets(NEW).token(&id("sitea")),
            "sitea.n9eB4mxcqbmhN4J3Ezs_qe4z5zVSTNKlVZtsFKR2zgI"
        );
    }

    #[test]
    fn token_names_its_tenant_even_with_dots_in_the_id() {
        let secrets = secrets(NEW);
        let id = id("site.example.com");
        assert_eq!(secrets.verify(&secrets.token(&id)), Some(id));
    }

    #[test]
    fn foreign_truncated_and_tampered_tokens_are_refused() {
        let secrets = secrets(NEW);
        let token = secrets.token(&id("sitea"));
        let mac = token.strip_prefix("sitea.").unwrap();
        let foreign = Secrets::parse(OLD).unwrap().token(&id("sitea"));
        for bad in [
            foreign,
            String::new(),
            ".".to_owned(),
            "sitea".to_owned(),
            "sitea.".to_owned(),
            format!("siteb.{mac}"),
            format!("SiteA.{mac}"),
            format!("sitea..{mac}"),
            format!(".{mac}"),
            format!("{token}="),
            format!("{token} "),
            format!("{token}A"),
        ] {
            assert_eq!(secrets.verify(&bad), None, "{bad}");
        }
        for end in 0..token.len() {
            assert_eq!(secrets.verify(&token[..end]), None, "{}", &token[..end]);
        }
    }

    #[test]
    fn unused_bits_of_the_last_digit_are_not_another_spelling_of_the_token() {
        let secrets = secrets(NEW);
        let token = secrets.token(&id("sitea"));
        let spellings = ('a'..='z')
            .chain('A'..='Z')
            .chain('0'..='9')
            .chain(['-', '_']);
        let accepted = spellings
            .map(|last| format!("{}{last}", &token[..token.len() - 1]))
            .filter(|spelling| secrets.verify(spelling).is_some())
            .count();
        assert_eq!(accepted, 1);
    }

    #[test]
    fn tokens_of_the_previous_secret_stay_good_until_it_is_dropped() {
        let token = secrets(OLD).token(&id("sitea"));
        let rotating = secrets(&format!("{NEW},{OLD}\n"));
        assert_eq!(rotating.verify(&token), Some(id("sitea")));
        assert_eq!(
            rotating.token(&id("sitea")),
            secrets(NEW).token(&id("sitea"))
        );
        assert_eq!(secrets(NEW).verify(&token), None);
    }

    #[test]
    fn weak_or_too_many_secrets_are_refused() {
        for (text, error) in [
            ("", SecretsError::TooShort),
            ("short", SecretsError::TooShort),
            (",", SecretsError::TooShort),
            (&format!("{NEW},"), SecretsError::TooShort),
            (&format!("{NEW},short"), SecretsError::TooShort),
            (
                &format!("                    {}", "x".repeat(15)),
                SecretsError::TooShort,
            ),
            (&format!("{NEW},{OLD},{OLD}"), SecretsError::TooMany),
        ] {
            assert_eq!(Secrets::parse(text).unwrap_err(), error, "{text:?}");
        }
    }

    #[test]
    fn generated_secrets_are_accepted_and_differ() {
        let (one, other) = (Secrets::generate().unwrap(), Secrets::generate().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
        assert!(Secrets::parse(&one).is_ok());
    }

    #[test]
    fn debug_shows_nothing_of_the_secrets() {
        assert_eq!(format!("{:?}", secrets(NEW)), "Secrets { .. }");
    }

    proptest! {
        #[test]
        fn every_token_verifies_as_its_tenant(text in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}") {
            let secrets = secrets(NEW);
            prop_assert_eq!(secrets.verify(&secrets.token(&id(&text))), Some(id(&text)));
        }

        #[test]
        fn no_other_text_verifies(text in "\\PC{0,80}", mac in "[A-Za-z0-9_-]{43}") {
            prop_assert_eq!(secrets(NEW).verify(&text), None);
            let forged = format!("sitea.{mac}");
            prop_assert_eq!(secrets(NEW).verify(&forged), None);
        }
    }
}
