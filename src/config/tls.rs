//! The part of `DATABASE_URL` that says how the way to the server is guarded: `ssl-mode` and `ssl-ca`, as in MySQL's own URLs.

use std::path::PathBuf;

use super::SettingError;

/// Whether the way to the server is encrypted, and what the server has to prove. Each is stricter than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disabled,
    /// Encrypted if the server can. Keeps nobody out who sits on the way.
    Preferred,
    /// Encrypted, with whoever answers.
    Required,
    /// And the server's certificate is by an authority that `ssl-ca` names.
    VerifyCa,
    /// And it is for the host in the URL.
    VerifyIdentity,
}

/// What is written in the URL, each with what it means.
const MODES: [(&str, SslMode); 5] = [
    ("DISABLED", SslMode::Disabled),
    ("PREFERRED", SslMode::Preferred),
    ("REQUIRED", SslMode::Required),
    ("VERIFY_CA", SslMode::VerifyCa),
    ("VERIFY_IDENTITY", SslMode::VerifyIdentity),
];

/// How the way to the server is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// What is asked of it.
    pub mode: SslMode,
    /// The file, in PEM, of the authorities to trust instead of the public ones.
    pub authorities: Option<PathBuf>,
}

impl Tls {
    /// Takes its parameters out of a database's URL: gives the URL without them, and what they say.
    ///
    /// As with MySQL's own clients, nothing said is `PREFERRED`, and an authority alone is `VERIFY_CA`.
    ///
    /// # Errors
    /// When a parameter is unknown by its value, is there twice, or contradicts another.
    pub fn take(url: &str) -> Result<(String, Tls), SettingError> {
        let wrong = |what: &str| SettingError(format!("DATABASE_URL: {what}"));
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut authorities, mut is_socket) = (None, None, false);
        let mut others = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let pair = url::form_urlencoded::parse(part.as_bytes()).next();
            let (name, value) = pair.unwrap_or_default();
            let is_new = match name.as_ref() {
                "ssl-mode" => {
                    let known = MODES.iter().find(|(word, _)| value.eq_ignore_ascii_case(word));
                    let (_, known) = known.ok_or_else(|| {
                        let words = MODES.map(|(word, _)| word).join(", ");
                        wrong(&format!("ssl-mode is {value:?}, which is none of {words}"))
                    })?;
                    mode.replace(*known).is_none()
                }
                "ssl-ca" if value.is_empty() => return Err(wrong("ssl-ca names no file")),
                "ssl-ca" => authorities.replace(PathBuf::from(value.as_ref())).is_none(),
                "require_ssl" | "verify_ca" | "verify_identity" | "built_in_roots" => {
                    return Err(wrong(&format!(
                        "{name} is unknown: say ssl-mode, such as ssl-mode=VERIFY_IDENTITY"
                    )));
                }
                name => {
                    is_socket |= name == "socket";
                    others.push(part);
                    true
                }
            };
            if !is_new {
                return Err(wrong(&format!("{name} is there twice")));
            }
        }
        let rest = match others.is_empty() {
            true => place.to_owned(),
            false => format!("{place}?{}", others.join("&")),
        };
        let mode = match (mode, &authorities) {
            (Some(mode), Some(_)) if mode < SslMode::VerifyCa => {
                return Err(wrong(
                    "ssl-ca says whom to trust, but this ssl-mode trusts anybody: say VERIFY_CA or VERIFY_IDENTITY",
                ));
            }
            // Any of the public ones would vouch for any host.
            (Some(SslMode::VerifyCa), None) => {
                return Err(wrong("ssl-mode=VERIFY_CA needs ssl-ca, the file of the authority"));
            }
            (Some(mode), _) => mode,
            (None, Some(_)) => SslMode::VerifyCa,
            (None, None) => SslMode::Preferred,
        };
        match is_socket {
            true if mode > SslMode::Preferred => Err(wrong(
                "a socket of this machine has no TLS: leave ssl-mode and ssl-ca away",
            )),
            true => Ok((
                rest,
                Tls {
                    mode: SslMode::Disabled,
                    authorities,
                },
            )),
            false => Ok((rest, Tls { mode, authorities })),
        }
    }

    /// Whether the file of the authorities is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn check(&self) -> Result<(), SettingError> {
        match self.authorities.as_ref().map(|file| (file, std::fs::read(file))) {
            Some((file, Err(error))) => Err(SettingError(format!(
                "DATABASE_URL: ssl-ca cannot be read: {}: {error}",
                file.display()
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(parameters: &str) -> Result<(String, SslMode, Option<PathBuf>), String> {
        let taken = Tls::take(&format!("mysql://u:secret@h/db{parameters}"));
        let (url, tls) = taken.map_err(|error| error.to_string())?;
        Ok((
            url.strip_prefix("mysql://u:secret@h/db").unwrap().to_owned(),
            tls.mode,
            tls.authorities,
        ))
    }

    #[test]
    fn what_is_said_of_tls_is_taken_out_of_the_url() {
        let ca = || Some(PathBuf::from("/my ca.pem"));
        for (parameters, rest, mode, authorities) in [
            ("", "", SslMode::Preferred, None),
            ("?", "", SslMode::Preferred, None),
            ("?pool_max=3", "?pool_max=3", SslMode::Preferred, None),
            ("?ssl-mode=DISABLED", "", SslMode::Disabled, None),
            ("?ssl-mode=preferred", "", SslMode::Preferred, None),
            ("?a=1&ssl-mode=required&b=%26", "?a=1&b=%26", SslMode::Required, None),
            ("?ssl-mode=VERIFY_CA&ssl-ca=/my%20ca.pem", "", SslMode::VerifyCa, ca()),
            (
                "?ssl-mode=Verify_Identity&ssl-ca=/my+ca.pem",
                "",
                SslMode::VerifyIdentity,
                ca(),
            ),
            ("?ssl-mode=VERIFY_IDENTITY", "", SslMode::VerifyIdentity, None),
            ("?ssl-ca=/my%20ca.pem", "", SslMode::VerifyCa, ca()),
            ("?socket=/s", "?socket=/s", SslMode::Disabled, None),
            ("?socket=/s&ssl-mode=PREFERRED", "?socket=/s", SslMode::Disabled, None),
        ] {
            assert_eq!(
                take(parameters),
                Ok((rest.to_owned(), mode, authorities)),
                "{parameters}"
            );
        }
    }

    #[test]
    fn what_says_nothing_or_two_things_is_one_sentence() {
        for (parameters, said) in [
            (
                "?ssl-mode=on",
                "ssl-mode is \"on\", which is none of DISABLED, PREFERRED, REQUIRED",
            ),
            ("?ssl-mode=", "ssl-mode is \"\""),
            ("?ssl-mode=REQUIRED&ssl-mode=DISABLED", "ssl-mode is there twice"),
            ("?ssl-ca=", "ssl-ca names no file"),
            ("?ssl-mode=REQUIRED&ssl-ca=/ca.pem", "trusts anybody"),
            ("?ssl-mode=VERIFY_CA", "needs ssl-ca"),
            ("?require_ssl=true", "require_ssl is unknown"),
            ("?socket=/s&ssl-mode=REQUIRED", "a socket of this machine"),
        ] {
            let sentence = take(parameters).unwrap_err();
            assert!(
                sentence.starts_with("DATABASE_URL: ") && sentence.contains(said),
                "{sentence}"
            );
            assert!(!sentence.contains("secret") && !sentence.contains('\n'), "{sentence}");
        }
        let (_, tls) = Tls::take("mysql://u@h/db?ssl-ca=/nowhere/ca.pem").unwrap();
        let sentence = tls.check().unwrap_err().to_string();
        assert!(
            sentence.starts_with("DATABASE_URL: ssl-ca cannot be read: /nowhere/ca.pem"),
            "{sentence}"
        );
    }
}
