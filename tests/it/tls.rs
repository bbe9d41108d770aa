//! The way to the server over TCP: encrypted or not, and with whom, as `ssl-mode` says; and its passwords.

use std::fs;

use consumable::database::{Database, Release, check, make_gateway_account, migrate};
use consumable::error::Error;
use consumable::procedures::access;
use mysql_async::prelude::Queryable;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::database::release;
use crate::support::network::NetworkServer;

/// The account, with a password that has to be encoded in a URL.
const ACCOUNT: (&str, &str) = ("over_tcp", "p%40ss%2Fword");

/// A server with a database `billing`, and an account whose password is checked by caching_sha2_password.
async fn server(options: &[&str]) -> NetworkServer {
    let server = NetworkServer::start(options).await;
    let mut dba = server.session().await;
    for statement in [
        "CREATE DATABASE billing CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
        "CREATE USER over_tcp@localhost IDENTIFIED WITH caching_sha2_password BY 'p@ss/word'",
        "GRANT ALL ON billing.* TO over_tcp@localhost",
        "CREATE PROCEDURE billing.cipher_v1() SELECT VARIABLE_VALUE AS cipher FROM performance_schema.session_status
          WHERE VARIABLE_NAME = 'Ssl_cipher'",
    ] {
        dba.query_drop(statement).await.unwrap();
    }
    server
}

/// What the way by a URL is encrypted by, empty: by nothing; or why there is none. The server has forgotten the password's shorter
/// proof: the whole password must go over.
async fn cipher(server: &NetworkServer, host: &str, parameters: &str) -> Result<String, Error> {
    let mut dba = server.session().await;
    dba.query_drop("FLUSH PRIVILEGES").await.unwrap();
    let database = Database::connect(&server.url(host, ACCOUNT, "billing", parameters)).await?;
    // A second connection, and the pool's.
    let mut sets = database.call("cipher_v1", ()).await?;
    let (cipher,): (String,) = sets.row()?;
    database.disconnect().await?;
    Ok(cipher)
}

fn is_encrypted(cipher: &Result<String, Error>) -> bool {
    cipher
        .as_ref()
        .is_ok_and(|cipher| cipher.contains("AES") || cipher.contains("CHACHA"))
}

/// Why the server is not reached.
fn refusal(cipher: Result<String, Error>) -> String {
    match cipher {
        Err(Error::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// An authority in a file, and a certificate by it for some names, which the server takes for its own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another than that of the certificates: they would seem to be by themselves.
        params.distinguished_name.push(DnType::CommonName, "An authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    /// The parameter that names it.
    fn parameter(&self) -> String {
        format!("ssl-ca={}", self.folder.path().join("ca.pem").display())
    }

    /// Gives the server a certificate for `names`.
    async fn vouch(&self, server: &NetworkServer, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        let place = |name: &str| self.folder.path().join(name);
        fs::write(place("cert.pem"), certificate.pem()).unwrap();
        fs::write(place("key.pem"), key.serialize_pem()).unwrap();
        let mut dba = server.session().await;
        for (variable, file) in [("ssl_ca", "ca.pem"), ("ssl_cert", "cert.pem"), ("ssl_key", "key.pem")] {
            let set = format!("SET GLOBAL {variable} = '{}'", place(file).display());
            dba.query_drop(set).await.unwrap();
        }
        dba.query_drop("ALTER INSTANCE RELOAD TLS").await.unwrap();
    }
}

#[tokio::test]
async fn the_way_is_encrypted_as_ssl_mode_says() {
    let server = server(&[]).await;
    // Without certificates: the password goes over, encrypted by the server's RSA key, and the rest is open.
    for parameters in ["", "?ssl-mode=PREFERRED", "?ssl-mode=DISABLED"] {
        assert_eq!(
            cipher(&server, "127.0.0.1", parameters).await,
            Ok(String::new()),
            "{parameters}"
        );
    }
    let authority = Authority::new();
    let (ca, identity) = (authority.parameter(), "ssl-mode=VERIFY_IDENTITY");
    for parameters in [
        "?ssl-mode=REQUIRED".to_owned(),
        format!("?{ca}"),
        format!("?{identity}&{ca}"),
        format!("?{identity}"),
    ] {
        let text = refusal(cipher(&server, "127.0.0.1", &parameters).await);
        assert!(text.contains("the server has no TLS"), "{text}");
    }

    // For this host, for another one, and for none; by this authority, and by another one.
    let another = Authority::new();
    let stranger = another.parameter();
    for (names, is_for_ip, is_for_name) in [
        (&["127.0.0.1", "localhost"][..], true, true),
        (&["localhost"], false, true),
        (&["billing.test"], false, false),
        (&[], false, false),
    ] {
        authority.vouch(&server, names).await;
        for parameters in ["", "?ssl-mode=PREFERRED", "?ssl-mode=REQUIRED"] {
            assert!(
                is_encrypted(&cipher(&server, "127.0.0.1", parameters).await),
                "{parameters}"
            );
        }
        assert_eq!(
            cipher(&server, "127.0.0.1", "?ssl-mode=DISABLED").await,
            Ok(String::new())
        );
        for parameters in [format!("?{ca}"), format!("?ssl-mode=VERIFY_CA&{ca}")] {
            assert!(
                is_encrypted(&cipher(&server, "127.0.0.1", &parameters).await),
                "{names:?} {parameters}"
            );
        }
        for (host, is_for_host) in [("127.0.0.1", is_for_ip), ("localhost", is_for_name)] {
            let verified = cipher(&server, host, &format!("?{identity}&{ca}")).await;
            if is_for_host {
                assert!(is_encrypted(&verified), "{names:?} {host}");
            } else {
                let text = refusal(verified);
                assert!(
                    text.contains("certificate not valid for name"),
                    "{names:?} {host}: {text}"
                );
            }
        }
        for parameters in [
            format!("?ssl-mode=VERIFY_CA&{stranger}"),
            format!("?{identity}&{stranger}"),
            format!("?{identity}"),
        ] {
            let text = refusal(cipher(&server, "localhost", &parameters).await);
            assert!(
                text.contains("invalid peer certificate"),
                "{names:?} {parameters}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_with_the_certificates_that_it_makes_itself_is_reached() {
    let server = server(&["--auto-generate-certs=ON", "--require-secure-transport=ON"]).await;
    let ca = format!("{}ca.pem", server.data_folder().await);
    for parameters in [
        "".to_owned(),
        "?ssl-mode=REQUIRED".into(),
        format!("?ssl-mode=VERIFY_CA&ssl-ca={ca}"),
    ] {
        assert!(
            is_encrypted(&cipher(&server, "127.0.0.1", &parameters).await),
            "{parameters}"
        );
    }
    // They name no host.
    let identity = format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}");
    let text = refusal(cipher(&server, "127.0.0.1", &identity).await);
    assert!(text.contains("certificate not valid for name"), "{text}");
    let text = refusal(cipher(&server, "127.0.0.1", "?ssl-mode=DISABLED").await);
    assert!(text.contains("require_secure_transport"), "{text}");
}

#[tokio::test]
async fn all_of_an_installation_goes_over_tcp() {
    let server = server(&["--auto-generate-certs=ON", "--require-secure-transport=ON"]).await;
    let mut dba = server.session().await;
    for statement in [
        "CREATE USER migrator@localhost IDENTIFIED BY 'first'",
        "GRANT ALL ON *.* TO migrator@localhost WITH GRANT OPTION",
    ] {
        dba.query_drop(statement).await.unwrap();
    }
    let url = server.url("127.0.0.1", ("migrator", "first"), "billing", "?ssl-mode=REQUIRED");
    let small = release("1.0.0", &[("one_v1", "() SELECT 1 AS one")]);
    migrate(&url, &small, &|_| ()).await.unwrap();
    assert_eq!(check(&url, &small).await.unwrap(), []);
    migrate(&url, &Release::embedded().unwrap(), &|_| ()).await.unwrap();
    make_gateway_account(&url, "gateway", "second").await.unwrap();
    let gateway = server.url("127.0.0.1", ("gateway", "second"), "billing", "?ssl-mode=REQUIRED");
    let database = Database::connect(&gateway).await.unwrap();
    assert_eq!(access::list_keys(&database, 0, 1).await.unwrap(), []);
    database.disconnect().await.unwrap();
    let plugin = "SELECT plugin FROM mysql.user WHERE user = 'gateway'";
    assert_eq!(
        dba.query_first::<String, _>(plugin).await.unwrap().unwrap(),
        "caching_sha2_password"
    );
    let wrong = server.url("127.0.0.1", ("gateway", "first"), "billing", "");
    let error = Database::connect(&wrong).await.unwrap_err().to_string();
    assert!(
        error.contains("Access denied for user 'gateway'@'localhost'"),
        "{error}"
    );
}
