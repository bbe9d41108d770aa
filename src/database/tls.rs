//! Whether the way to the server is encrypted, and what the server has to prove: what [`Tls`] says, in the driver's words.

use mysql_async::{Conn, DriverError, Opts, OptsBuilder, SslOpts};

use crate::config::{SslMode, Tls};
use crate::error::Error;

/// A name that no certificate is for. The driver overlooks a wrong name only where the refusal's text has this word, which rustls
/// no longer writes of itself; but it writes the name that was expected (mysql_async issue 404).
const NOBODY: &str = "NotValidForName.invalid";

/// The ways to try, one after the other, to the server that `url` names.
pub(super) fn ways(url: &str) -> Result<Vec<Opts>, Error> {
    // The URL itself may hold a password and stays out of the text.
    let unusable = |error: &dyn std::fmt::Display| Error::Internal(format!("DATABASE_URL cannot be used: {error}"));
    let (url, tls) = Tls::take(url).map_err(|error| Error::Internal(error.to_string()))?;
    let opts = Opts::from_url(&url).map_err(|error| unusable(&error))?;
    // Else the driver would leave a connection to this machine's address for the socket that the server names: without TLS, and with
    // another server, where the address is a tunnel's.
    let opts = OptsBuilder::from_opts(opts).prefer_socket(false);
    let plain = opts.clone().ssl_opts(None);
    let encrypted = |ssl: SslOpts| opts.clone().ssl_opts(ssl);
    let with_anybody = || encrypted(SslOpts::default().with_danger_accept_invalid_certs(true));
    let verified = SslOpts::default()
        .with_disable_built_in_roots(tls.authorities.is_some())
        .with_root_certs(tls.authorities.into_iter().map(Into::into).collect());
    let ways = match tls.mode {
        SslMode::Disabled => vec![plain],
        SslMode::Preferred => vec![with_anybody(), plain],
        SslMode::Required => vec![with_anybody()],
        SslMode::VerifyCa => vec![encrypted(
            verified
                .with_danger_skip_domain_validation(true)
                .with_danger_tls_hostname_override(Some(NOBODY)),
        )],
        SslMode::VerifyIdentity => vec![encrypted(verified)],
    };
    Ok(ways.into_iter().map(Opts::from).collect())
}

/// A connection by the first of `ways` that the server has, and that way's place. Only a server without TLS leads to the next: one whose
/// proof fails does not.
pub(super) async fn first(ways: &[Opts]) -> mysql_async::Result<(Conn, usize)> {
    for (place, way) in ways.iter().enumerate() {
        match Conn::new(way.clone()).await {
            Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer)) if place + 1 < ways.len() => (),
            connection => return connection.map(|conn| (conn, place)),
        }
    }
    Err(DriverError::NoClientSslFlagFromServer.into())
}
