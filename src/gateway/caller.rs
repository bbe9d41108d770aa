//! Who calls, by what proof, and what he may.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::problem::{Problem, Transport};
use super::rates::Whose;
use super::request::Request;
use super::tokens::WorkspaceUser;
use crate::procedures::access;

/// The secret of an API key: `ck_` and 43 characters of base64url, from 32 random bytes. Shown once; only its SHA-256 is
/// kept. Its entropy makes a slow hash needless.
pub struct Secret(String);

impl Secret {
    /// A new secret.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Secret, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Secret(format!("ck_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// What a caller presented, if it has the form of a secret.
    pub fn parse(text: &str) -> Option<Secret> {
        let encoded = text.strip_prefix("ck_")?;
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (encoded.len() == 43 && encoded.bytes().all(is_base64)).then(|| Secret(text.to_owned()))
    }

    /// What the database keeps of it.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The secret itself, to be shown to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A user of the workspace that the request is about; a backend and an operator may do all that he may.
    Workspace,
    /// An application's backend; an operator may do all that it may.
    Service,
    /// An operator.
    Admin,
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// An application's backend, for any subject.
    Service(access::Holder),
    /// An operator or the console.
    Admin(access::Holder),
    /// A user of a workspace, in a browser.
    Workspace(WorkspaceUser),
}

impl Caller {
    /// Who did it, for the ledger: `key:7 name` or `user:acme name`, at most 128 characters, as many as it keeps.
    pub fn signature(&self) -> String {
        let signature = match self {
            Caller::Service(key) | Caller::Admin(key) => format!("key:{} {}", key.id, key.name),
            Caller::Workspace(user) => format!("user:{} {}", user.workspace_slug, user.user_id),
        };
        signature.chars().take(128).collect()
    }

    /// Whether he may watch what the administrators of a workspace watch.
    pub fn manages_billing(&self) -> bool {
        match self {
            Caller::Service(_) | Caller::Admin(_) => true,
            Caller::Workspace(user) => user.manages_billing(),
        }
    }

    /// How long his proof holds, where that is known.
    pub fn remaining(&self) -> Option<Duration> {
        match self {
            Caller::Service(_) | Caller::Admin(_) => None,
            Caller::Workspace(user) => Some(user.remaining()),
        }
    }

    fn whose(&self) -> Whose {
        match self {
            Caller::Service(key) | Caller::Admin(key) => Whose::Key(key.id),
            Caller::Workspace(user) => Whose::Workspace(user.workspace_slug.clone()),
        }
    }

    fn may(&self, needs: Needs) -> bool {
        match self {
            Caller::Admin(_) => true,
            Caller::Service(_) => needs != Needs::Admin,
            Caller::Workspace(_) => needs == Needs::Workspace,
        }
    }
}

impl Request {
    /// Who makes this request, by the header `Authorization: Bearer`, with a key (`ck_…`) or a workspace token. After a token the
    /// request's subject is the token's workspace.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a valid proof, whatever is wrong with it; `KEY_RATE_EXCEEDED`; `FORBIDDEN` when the caller may not do what
    /// `needs` says; and what the database reports.
    pub async fn caller(&self, needs: Needs) -> Result<Caller, Problem> {
        let credentials = self.header("authorization").ok().flatten();
        let secret = credentials.and_then(|credentials| {
            let (scheme, secret) = credentials.split_once(' ')?;
            let is_bearer = scheme.eq_ignore_ascii_case("bearer");
            is_bearer.then(|| secret.trim_start())
        });
        self.authenticate(secret, needs).await
    }

    /// As [`Request::caller`], but the query parameter `access_token` will do as well: browsers cannot set headers on an
    /// `EventSource`.
    ///
    /// # Errors
    /// As [`Request::caller`].
    pub async fn listener(&self, needs: Needs) -> Result<Caller, Problem> {
        match self.query("access_token") {
            Some(secret) if self.header("authorization").ok().flatten().is_none() => {
                self.authenticate(Some(&secret), needs).await
            }
            _ => self.caller(needs).await,
        }
    }

    async fn authenticate(&self, secret: Option<&str>, needs: Needs) -> Result<Caller, Problem> {
        let unauthenticated = || {
            let detail = "Send Authorization: Bearer with a valid key or workspace token";
            Problem::transport(Transport::Unauthenticated, detail)
        };
        let secret = secret.ok_or_else(unauthenticated)?;
        let caller = if let Some(user) = self.gateway.tokens.verify(secret) {
            Caller::Workspace(self.user.get_or_init(|| user).clone())
        } else {
            // What cannot be a secret is refused without asking the database.
            let secret = Secret::parse(secret).ok_or_else(unauthenticated)?;
            let (database, hash) = (self.gateway.database.clone(), secret.sha256());
            let whose = move || {
                let database = database.clone();
                async move { access::authenticate(&database, hash).await }
            };
            let holder = self.gateway.holders.ask(hash, whose).await?;
            let holder = holder.ok_or_else(unauthenticated)?;
            match holder.role.as_str() {
                "admin" => Caller::Admin(holder),
                _ => Caller::Service(holder),
            }
        };
        // Only who has proved something is counted: nobody else can use up what is his, or fill what is kept.
        if let Some(rates) = &self.gateway.rates
            && !rates.admit(caller.whose(), Instant::now())
        {
            return Err(Problem::transport(Transport::KeyRateExceeded, ""));
        }
        match caller.may(needs) {
            true => Ok(caller),
            false => Err(Problem::transport(Transport::Forbidden, "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_form() {
        let secret = Secret::generate().unwrap();
        assert_eq!(secret.reveal().len(), 46);
        let again = Secret::parse(secret.reveal()).unwrap();
        assert_eq!(again.sha256(), secret.sha256());
        for wrong in ["", "ck_", "ck_short", &secret.reveal()[3..]] {
            assert!(Secret::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Secret::parse(&secret.reveal().replace("ck_", "ck_+")).is_none());
    }

    #[test]
    fn a_long_name_still_signs() {
        let holder = access::Holder {
            id: u64::MAX,
            name: "ä".repeat(120),
            role: "admin".into(),
        };
        assert_eq!(Caller::Admin(holder).signature().chars().count(), 128);
    }
}
