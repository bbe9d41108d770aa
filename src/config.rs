//! Each setting: its variable, unit, bound, default, and why. Every variable is also a flag, and the flag wins.
//!
//! Sizes that nobody has to choose (pool, deadlines) are constants where they are used, with their reasons.

mod hosts;
mod log;
mod rate;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

pub use hosts::urls;
pub use log::{LogFormatSetting, LogSetting};
pub use rate::{KeyRateSetting, Rate};
pub use tls::{SslMode, Tls};

/// A setting that is missing or wrong: one sentence that names it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(String);

/// `DATABASE_URL`: where the engine lives.
#[derive(Debug, Clone, Args)]
pub struct DatabaseSetting {
    /// The MySQL database, such as mysql://user:password@host:3306/name.
    ///
    /// For a local socket: mysql://user@localhost/name?socket=/path/of/mysqld.sock. For Group Replication, the members of the group:
    /// mysql://user:password@host1:3306,host2:3306,host3:3306/name; the primary is found, also a later one. MySQL 8.0.19 or later; not
    /// MariaDB. ?ssl-mode=VERIFY_IDENTITY&ssl-ca=/path/of/ca.pem makes the server prove who it is; without ssl-mode, the way is encrypted
    /// where the server can (PREFERRED).
    // No default: a guess would migrate the wrong database. Hidden in --help because it holds a password.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
}

impl DatabaseSetting {
    /// The URL, checked as far as that goes without a connection.
    ///
    /// # Errors
    /// When it is missing, is not a `mysql://` URL, names no database, or has a wrong list of hosts.
    pub fn url(&self) -> Result<&str, SettingError> {
        let form = "write mysql://user:password@host:3306/name";
        let wrong = |what: String| SettingError(format!("DATABASE_URL {what}: {form}"));
        let text = self.database_url.as_deref().unwrap_or_default();
        if text.is_empty() {
            return Err(wrong("is missing (or --database-url)".into()));
        }
        // The URL itself stays out of the sentence: it may hold a password.
        for url in urls(text).map_err(wrong)? {
            let url = url::Url::parse(&url).map_err(|error| wrong(format!("is not a URL ({error})")))?;
            if url.scheme() != "mysql" {
                return Err(wrong(format!("begins with {}://, not with mysql://", url.scheme())));
            }
            if url.path().trim_matches('/').is_empty() {
                return Err(wrong("names no database".into()));
            }
        }
        Tls::take(text)?.1.check()?;
        Ok(text)
    }
}

/// `CONSUMABLE_LISTEN`: where the gateway listens.
#[derive(Debug, Clone, Args)]
pub struct ListenSetting {
    /// The address and port to listen on.
    // Loopback by default: who opens the engine to a network should have said so.
    #[arg(
        long,
        env = "CONSUMABLE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080"
    )]
    listen: String,
}

impl ListenSetting {
    /// The socket address. Port 0 lets the system choose one.
    ///
    /// # Errors
    /// When it is not an IP address and a port.
    pub fn address(&self) -> Result<SocketAddr, SettingError> {
        self.listen.parse().map_err(|_| {
            SettingError(format!(
                "CONSUMABLE_LISTEN is {:?}, which is not an IP address and port such as 127.0.0.1:8080",
                self.listen
            ))
        })
    }
}

/// `CONSUMABLE_TICK_SECONDS`: how long the scheduler sleeps at most.
#[derive(Debug, Clone, Args)]
pub struct TickSetting {
    /// Seconds, 1 to 3600, after which balances that are due are looked for though no boundary was foreseen.
    // It wakes at boundaries and with changes anyway; the tick finds what neither announced, such as a clock that was set.
    #[arg(long, env = "CONSUMABLE_TICK_SECONDS", value_name = "SECONDS", default_value = "60")]
    tick_seconds: String,
}

impl TickSetting {
    /// The time between two looks.
    ///
    /// # Errors
    /// When it is not a whole number of seconds from 1 to 3600.
    pub fn duration(&self) -> Result<Duration, SettingError> {
        match self.tick_seconds.parse() {
            Ok(seconds @ 1..=3_600) => Ok(Duration::from_secs(seconds)),
            _ => Err(SettingError(format!(
                "CONSUMABLE_TICK_SECONDS is {:?}, which is not a number of seconds from 1 to 3600",
                self.tick_seconds
            ))),
        }
    }
}

/// `CONSUMABLE_LANES`: how many calls of uses are under way at once.
#[derive(Debug, Clone, Args)]
pub struct LanesSetting {
    /// Lanes, 1 to 4: calls of uses that are under way beside each other, each on a connection of its own. Half of them stand by while little
    /// waits. One for every core of this machine, unless it is said.
    // A call costs the more, the fewer share it: on two cores, one call at a time made a third more uses a second than two that do not
    // stand by for each other, and two make two fifths more of large batches than one (benches/README.md).
    #[arg(long, env = "CONSUMABLE_LANES", value_name = "LANES")]
    lanes: Option<String>,
}

impl LanesSetting {
    /// The number of lanes.
    ///
    /// # Errors
    /// When it is not a whole number from 1 to 4.
    pub fn count(&self) -> Result<usize, SettingError> {
        let Some(lanes) = &self.lanes else {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            return Ok(cores.clamp(1, 4));
        };
        match lanes.parse() {
            Ok(lanes @ 1..=4) => Ok(lanes),
            _ => Err(SettingError(format!(
                "CONSUMABLE_LANES is {lanes:?}, which is not a number of lanes from 1 to 4"
            ))),
        }
    }
}

/// Webhook secrets at once: two while one replaces the other, and some room for several endpoints.
const MAX_WEBHOOK_SECRETS: usize = 10;

/// `CONSUMABLE_STRIPE_WEBHOOK_SECRETS`: what the payment provider signs its events with.
#[derive(Debug, Clone, Args)]
pub struct WebhookSecretsSetting {
    /// The secrets of the provider's webhook endpoint, such as whsec_…, with a comma between two.
    ///
    /// Any of them will do: while a secret is replaced, give the old and the new one. Without any, no event is believed.
    // No default: who knows the secret may make purchases. Hidden in --help for the same reason.
    #[arg(
        long,
        env = "CONSUMABLE_STRIPE_WEBHOOK_SECRETS",
        value_name = "SECRETS",
        hide_env_values = true
    )]
    stripe_webhook_secrets: Option<String>,
}

impl WebhookSecretsSetting {
    /// The secrets, none where the setting is missing.
    ///
    /// # Errors
    /// When one is not 16 to 255 visible ASCII characters, or when there are more than ten.
    pub fn secrets(&self) -> Result<Vec<String>, SettingError> {
        let text = self.stripe_webhook_secrets.as_deref().unwrap_or_default();
        let secrets: Vec<String> = text
            .split(',')
            .map(|secret| secret.trim().to_owned())
            .filter(|secret| !secret.is_empty())
            .collect();
        let is_secret =
            |secret: &String| (16..=255).contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_graphic());
        // The secrets themselves stay out of the sentence.
        match secrets.iter().position(|secret| !is_secret(secret)) {
            Some(place) => Err(SettingError(format!(
                "CONSUMABLE_STRIPE_WEBHOOK_SECRETS has a wrong secret at place {}: each is 16 to 255 visible characters, with a \
                 comma between two",
                place + 1
            ))),
            None if secrets.len() > MAX_WEBHOOK_SECRETS => Err(SettingError(format!(
                "CONSUMABLE_STRIPE_WEBHOOK_SECRETS has {} secrets, at most {MAX_WEBHOOK_SECRETS} may be in use at once",
                secrets.len()
            ))),
            None => Ok(secrets),
        }
    }
}

/// `CONSUMABLE_TOKEN_SECRET`: what workspace tokens are signed by.
#[derive(Debug, Clone, Args)]
pub struct TokenSetting {
    /// The secret of workspace tokens, at least 32 bytes; several with commas between them: the first signs, all are valid.
    ///
    /// Every gateway of an installation has the same. To change it, add the new one behind the old one everywhere, then move it to
    /// the front, and take the old one away a day later. Without it there are no workspace tokens.
    // No default: one that everybody knows would open every workspace. Not kept in the database, where a reader could take it.
    #[arg(
        long,
        env = "CONSUMABLE_TOKEN_SECRET",
        value_name = "SECRET,…",
        hide_env_values = true
    )]
    token_secret: Option<String>,
}

impl TokenSetting {
    /// The secrets, the one that signs first; none where the setting is missing or empty.
    ///
    /// # Errors
    /// When one is shorter than 32 bytes, which could be guessed, or stands there twice.
    pub fn secrets(&self) -> Result<Vec<String>, SettingError> {
        let text = self.token_secret.as_deref().unwrap_or_default();
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let secrets: Vec<String> = text.split(',').map(|secret| secret.trim().to_owned()).collect();
        for (place, secret) in secrets.iter().enumerate() {
            // The secret itself stays out of the sentence.
            let wrong = |what: &str| {
                let number = place + 1;
                SettingError(format!("CONSUMABLE_TOKEN_SECRET: secret {number} {what}"))
            };
            if secret.len() < 32 {
                return Err(wrong(
                    "is shorter than 32 bytes: make one with openssl rand -base64 48, and write commas only between secrets",
                ));
            }
            if secrets[..place].contains(secret) {
                return Err(wrong("is there twice"));
            }
        }
        Ok(secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(url: Option<&str>) -> Result<String, String> {
        let setting = DatabaseSetting {
            database_url: url.map(str::to_owned),
        };
        setting.url().map(str::to_owned).map_err(|error| error.to_string())
    }

    #[test]
    fn a_wrong_database_url_is_one_sentence_without_the_password() {
        assert!(database(None).unwrap_err().starts_with("DATABASE_URL is missing"));
        assert!(database(Some("")).unwrap_err().starts_with("DATABASE_URL is missing"));
        for wrong in [
            "localhost",
            "postgres://u:secret@h/db",
            "mysql://u:secret@h/",
            "mysql://u:secret@h",
            "mysql://u:secret@h1,h2:x/db",
            "mysql://u:secret@h1:3306,,h2/db",
        ] {
            let sentence = database(Some(wrong)).unwrap_err();
            assert!(
                sentence.starts_with("DATABASE_URL ") && !sentence.contains("secret"),
                "{sentence}"
            );
            assert!(!sentence.contains('\n'));
        }
        assert!(database(Some("mysql://u@h/db?socket=/s")).is_ok());
        assert!(database(Some("mysql://u:p@h1:3306,h2,h3:3307/db")).is_ok());
    }

    #[test]
    fn a_wrong_webhook_secret_is_named_and_not_shown() {
        let secrets = |text: Option<&str>| {
            let setting = WebhookSecretsSetting {
                stripe_webhook_secrets: text.map(str::to_owned),
            };
            setting.secrets().map_err(|error| error.to_string())
        };
        assert_eq!(secrets(None), Ok(vec![]));
        assert_eq!(secrets(Some("")), Ok(vec![]));
        assert_eq!(
            secrets(Some("whsec_0123456789, whsec_9876543210,")),
            Ok(vec!["whsec_0123456789".into(), "whsec_9876543210".into()])
        );
        for wrong in ["whsec_0123456789,short", "whsec_0123456789,whsec_with a blank in it"] {
            let sentence = secrets(Some(wrong)).unwrap_err();
            assert!(
                sentence.starts_with("CONSUMABLE_STRIPE_WEBHOOK_SECRETS has a wrong secret at place 2"),
                "{sentence}"
            );
            assert!(!sentence.contains("short") && !sentence.contains("blank"), "{sentence}");
        }
        let many = ["whsec_0123456789"; 11].join(",");
        assert!(secrets(Some(&many)).unwrap_err().contains("11 secrets"));
    }

    #[test]
    fn a_wrong_token_secret_is_one_sentence_without_it() {
        let secrets = |text: Option<&str>| {
            let token_secret = text.map(str::to_owned);
            TokenSetting { token_secret }
                .secrets()
                .map_err(|error| error.to_string())
        };
        let (one, two) = ("a secret that is 32 bytes or more", "another one that is 32 bytes long");
        assert_eq!(secrets(None), Ok(vec![]));
        assert_eq!(secrets(Some("")), Ok(vec![]));
        assert_eq!(
            secrets(Some(&format!("{one}, {two}"))),
            Ok(vec![one.to_owned(), two.to_owned()])
        );
        for wrong in [
            "hunter2".to_owned(),
            format!("{one},"),
            format!("{one},hunter2"),
            format!("{one},{two},{one}"),
        ] {
            let sentence = secrets(Some(&wrong)).unwrap_err();
            assert!(sentence.starts_with("CONSUMABLE_TOKEN_SECRET: secret "), "{sentence}");
            assert!(
                !sentence.contains("hunter2") && !sentence.contains(one) && !sentence.contains('\n'),
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_wrong_address_tick_or_count_is_named() {
        let listen = |text: &str| ListenSetting { listen: text.into() }.address();
        assert!(
            listen("8080")
                .unwrap_err()
                .to_string()
                .starts_with("CONSUMABLE_LISTEN is \"8080\"")
        );
        assert_eq!(listen("[::1]:0").unwrap().port(), 0);
        let tick = |text: &str| {
            TickSetting {
                tick_seconds: text.into(),
            }
            .duration()
        };
        for wrong in ["0", "3601", "1.5", "-1", "minute", ""] {
            let sentence = tick(wrong).unwrap_err().to_string();
            assert!(
                sentence.starts_with("CONSUMABLE_TICK_SECONDS is") && sentence.contains("1 to 3600"),
                "{sentence}"
            );
        }
        assert_eq!(tick("60").unwrap(), Duration::from_secs(60));
        let lanes = |text: &str| {
            LanesSetting {
                lanes: Some(text.into()),
            }
            .count()
        };
        for wrong in ["0", "5", "-1", "two", ""] {
            let sentence = lanes(wrong).unwrap_err().to_string();
            assert!(
                sentence.starts_with("CONSUMABLE_LANES is") && sentence.contains("1 to 4"),
                "{sentence}"
            );
        }
        assert_eq!(lanes("4").unwrap(), 4);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(LanesSetting { lanes: None }.count().unwrap(), cores.min(4));
    }
}
