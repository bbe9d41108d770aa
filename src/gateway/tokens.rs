//! Workspace tokens: what a browser proves itself by, for one workspace and a while. JSON Web Tokens signed with HMAC-SHA-256,
//! by secrets that only gateways know.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Who makes the tokens, and for whom: a token of another program with the same secret is none of ours.
const ISSUER: &str = "consumable";
const AUDIENCE: &str = "consumable.workspace";

/// What lets a user of a workspace see what its administrators see.
const MANAGES_BILLING: &str = "workspace.billing.manage";

/// For which pages a token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Surface {
    /// Those of every user.
    App,
    /// Those of the workspace's administrators; with them, those of every user.
    Admin,
}

/// A user of a workspace, as his token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceUser {
    /// The workspace's name in URLs.
    #[serde(rename = "workspace")]
    pub workspace_slug: String,
    /// Who he is, to the service that asked for the token.
    #[serde(rename = "sub")]
    pub user_id: String,
    /// What he may do, to that service.
    pub permissions: Vec<String>,
    /// For which pages the token is.
    pub surface: Surface,
    /// When the token ends: seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: u64,
}

impl WorkspaceUser {
    /// Whether he may watch what the workspace's administrators watch.
    pub fn manages_billing(&self) -> bool {
        self.surface == Surface::Admin && self.permissions.iter().any(|one| one == MANAGES_BILLING)
    }

    /// How long the token still holds.
    pub fn remaining(&self) -> Duration {
        (UNIX_EPOCH + Duration::from_secs(self.expires_at))
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    }
}

/// The claims of a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    #[serde(flatten)]
    user: WorkspaceUser,
}

/// A secret under the name by which tokens say that it signed them.
struct Key {
    id: String,
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// Makes and reads tokens.
pub struct Tokens(Vec<Key>);

impl Tokens {
    /// Tokens by these secrets: the first signs, each verifies. Without any, none are made and none are valid.
    pub fn new(secrets: &[String]) -> Tokens {
        let keys = secrets.iter().map(|secret| Key {
            // Tells nothing of the secret, and says which it was.
            id: Sha256::digest(secret)
                .iter()
                .take(4)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            signs: EncodingKey::from_secret(secret.as_bytes()),
            verifies: DecodingKey::from_secret(secret.as_bytes()),
        });
        Tokens(keys.collect())
    }

    /// A token for `user`; `None` without a secret.
    pub fn sign(&self, user: WorkspaceUser) -> Option<String> {
        let key = self.0.first()?;
        let header = Header {
            kid: Some(key.id.clone()),
            ..Header::new(Algorithm::HS256)
        };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            user,
        };
        jsonwebtoken::encode(&header, &claims, &key.signs).ok()
    }

    /// The user that `token` proves; `None` whatever is wrong with it.
    pub fn verify(&self, token: &str) -> Option<WorkspaceUser> {
        let id = jsonwebtoken::decode_header(token).ok()?.kid?;
        let key = self.0.iter().find(|key| key.id == id)?;
        // The algorithm is ours to say, never the token's.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let user = jsonwebtoken::decode::<Claims>(token, &key.verifies, &validation)
            .ok()?
            .claims
            .user;
        // At the end excluded, as every interval.
        (!user.remaining().is_zero()).then_some(user)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    const OLD: &str = "an old secret of at least 32 bytes";
    const NEW: &str = "a new secret of at least 32 bytes.";

    fn tokens(secrets: &[&str]) -> Tokens {
        Tokens::new(&secrets.iter().map(|secret| (*secret).to_owned()).collect::<Vec<_>>())
    }

    fn user() -> WorkspaceUser {
        WorkspaceUser {
            workspace_slug: "acme".into(),
            user_id: "u-1".into(),
            permissions: vec![MANAGES_BILLING.into()],
            surface: Surface::Admin,
            expires_at: 4_000_000_000,
        }
    }

    fn encoded(value: &Value) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_who_it_is_for_and_by_which_secret() {
        let token = tokens(&[NEW, OLD]).sign(user()).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let header = decoded(parts[0]);
        assert_eq!((&header["alg"], &header["typ"]), (&json!("HS256"), &json!("JWT")));
        assert_eq!(header["kid"].as_str().unwrap().len(), 8);
        let mut claims = decoded(parts[1]);
        assert!(claims["iat"].take().is_u64());
        assert_eq!(
            claims,
            json!({"iss": "consumable", "aud": "consumable.workspace", "iat": null, "exp": 4_000_000_000_u64, "sub": "u-1",
                   "workspace": "acme", "permissions": ["workspace.billing.manage"], "surface": "admin"})
        );
        assert_eq!(tokens(&[NEW]).verify(&token), Some(user()));
    }

    #[test]
    fn a_secret_is_changed_without_turning_anybody_out() {
        let before = tokens(&[OLD]).sign(user()).unwrap();
        let between = tokens(&[NEW, OLD]);
        assert_eq!(between.verify(&before), Some(user()));
        let after = between.sign(user()).unwrap();
        assert_eq!(tokens(&[NEW]).verify(&after), Some(user()));
        assert_eq!(tokens(&[NEW]).verify(&before), None);
        assert!(tokens(&[]).sign(user()).is_none());
        assert_eq!(tokens(&[]).verify(&after), None);
    }

    /// A token with other claims or another header, signed by the right secret.
    fn forged(change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let token = tokens(&[NEW]).sign(user()).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let (mut header, mut claims) = (decoded(parts[0]), decoded(parts[1]));
        change(&mut header, &mut claims);
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let key = EncodingKey::from_secret(NEW.as_bytes());
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{signed}.{signature}")
    }

    #[test]
    fn only_what_we_signed_as_we_sign_it_is_a_token() {
        let valid = tokens(&[NEW]);
        assert_eq!(valid.verify(&forged(|_, _| ())), Some(user()));
        let past = json!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        for (what, token) in [
            ("another algorithm", forged(|header, _| header["alg"] = json!("HS384"))),
            ("no algorithm", forged(|header, _| header["alg"] = json!("none"))),
            (
                "an algorithm left out",
                forged(|header, _| drop(header.as_object_mut().unwrap().remove("alg"))),
            ),
            // Our secret taken for somebody's public key.
            (
                "a public key's algorithm",
                forged(|header, _| header["alg"] = json!("RS256")),
            ),
            ("another of these", forged(|header, _| header["alg"] = json!("ES256"))),
            ("no secret named", forged(|header, _| header["kid"] = Value::Null)),
            (
                "another secret named",
                forged(|header, _| header["kid"] = json!("00000000")),
            ),
            ("an end that is now", forged(|_, claims| claims["exp"] = past)),
            (
                "no end",
                forged(|_, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
            ),
            (
                "an end that is no number",
                forged(|_, claims| claims["exp"] = json!("4000000000")),
            ),
            ("another issuer", forged(|_, claims| claims["iss"] = json!("other"))),
            ("another audience", forged(|_, claims| claims["aud"] = json!("other"))),
            (
                "no workspace",
                forged(|_, claims| drop(claims.as_object_mut().unwrap().remove("workspace"))),
            ),
            ("another surface", forged(|_, claims| claims["surface"] = json!("moon"))),
            ("no text at all", String::new()),
        ] {
            assert_eq!(valid.verify(&token), None, "{what}");
        }
        let token = valid.sign(user()).unwrap();
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        let mut claims = decoded(&parts[1]);
        claims["workspace"] = json!("other");
        parts[1] = encoded(&claims);
        assert_eq!(
            valid.verify(&parts.join(".")),
            None,
            "another workspace than was signed"
        );
        assert_eq!(
            valid.verify(&format!("{}.{}.", parts[0], parts[1])),
            None,
            "no signature"
        );
        let mut header = decoded(&parts[0]);
        header["alg"] = json!("none");
        let claims = token.split('.').nth(1).unwrap();
        let unsigned = format!("{}.{claims}.", encoded(&header));
        assert_eq!(valid.verify(&unsigned), None, "neither signature nor algorithm");
    }

    #[test]
    fn who_manages_billing_has_both_the_surface_and_the_permission() {
        assert!(user().manages_billing());
        let app = WorkspaceUser {
            surface: Surface::App,
            ..user()
        };
        assert!(!app.manages_billing());
        let other = vec!["workspace.billing.managers".into()];
        let plain = WorkspaceUser {
            permissions: other,
            ..user()
        };
        assert!(!plain.manages_billing());
    }
}
