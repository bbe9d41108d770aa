//! `consumable dev`: the whole product on this machine, with one command.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use consumable::config::{LanesSetting, ListenSetting, TickSetting, TokenSetting};
use consumable::database::embedded::{EmbeddedServer, Progress, Storage, find_server};
use consumable::database::{Database, Reach, Release, make_gateway_account};
use consumable::gateway::{self, Secret};
use consumable::procedures::{access, demonstration};
use consumable::serve;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::serve::{raise_file_limit, told_to_stop};
use super::{Failure, migrate};

/// Run everything on this machine: a MySQL server of its own, a demonstration to try, and the gateway.
///
/// Finds a MySQL server (CONSUMABLE_MYSQLD, then PATH, then its private copy) or fetches one from Debian's packages into
/// a private folder; nothing of the system changes. The data stays in the data folder until --reset. Serves on loopback
/// only. Ctrl-C stops the gateway and the server.
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Dev {
    #[command(flatten)]
    listen: ListenSetting,
    #[command(flatten)]
    tick: TickSetting,
    #[command(flatten)]
    lanes: LanesSetting,
    #[command(flatten)]
    token: TokenSetting,
    /// The folder that keeps the data, and dev.json, which tells scripts where everything is.
    #[arg(long, value_name = "FOLDER", default_value = ".consumable")]
    data: PathBuf,
    /// Throw the data away and start over.
    #[arg(long)]
    reset: bool,
    /// Begin without the demonstration workspace.
    #[arg(long)]
    no_seed: bool,
    /// The MySQL server program to use, or the word private for the private copy.
    #[arg(long, env = "CONSUMABLE_MYSQLD", value_name = "PROGRAM")]
    mysqld: Option<OsString>,
}

/// The name of the database in the server of our own.
const DATABASE: &str = "consumable";

/// The gateway's account: it may call the procedures, and nothing else, as it should in production.
const GATEWAY_ACCOUNT: &str = "consumable_gateway";

/// `DATA/dev.json`: where scripts and people find everything. Readable by its owner alone.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whereabouts {
    url: String,
    service_key: String,
    admin_key: String,
    mysql_socket: String,
    mysql_user: String,
    database: String,
    stripe_webhook_secret: String,
    /// Its own, unless a setting says another. Younger than the file's other fields.
    token_secret: Option<String>,
}

impl Whereabouts {
    /// What the run before wrote, if there was one.
    fn read(path: &Path) -> Option<Whereabouts> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Replaces the file as a whole, so that nobody reads half of it.
    fn write(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("json.new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        fs::rename(beside, path)
    }
}

/// Runs until Ctrl-C or SIGTERM, then stops the gateway, then the server.
pub async fn run(options: &Dev) -> Result<(), Failure> {
    let address = options.listen.address()?;
    let settings = serve::Settings {
        tick: options.tick.duration()?,
        lanes: options.lanes.count()?,
        token_secrets: options.token.secrets()?,
        webhook_secrets: Vec::new(),
        key_rate: None,
    };
    if !address.ip().is_loopback() {
        return Err(Failure::Work(format!(
            "dev serves on loopback only, as its keys lie open in a file, and {address} is not: use 127.0.0.1:{} here, and \
             consumable serve for others",
            address.port()
        )));
    }
    let data = std::path::absolute(&options.data)
        .map_err(|error| Failure::Work(format!("--data {}: {error}", options.data.display())))?;
    // The folder first: a second dev on it would find the port taken too, and that would be the lesser half of the truth.
    EmbeddedServer::is_free(&data)?;
    let listener = gateway::listen(address).map_err(|error| {
        Failure::Work(format!(
            "cannot listen on {address} ({error}); choose another with --listen 127.0.0.1:PORT"
        ))
    })?;

    let program = find_server(options.mysqld.as_deref(), Progress::Shown).await?;
    if options.reset {
        EmbeddedServer::erase(&data).await?;
        eprintln!("The data in {} is gone, as asked.", data.display());
    }
    eprintln!("Starting MySQL {} …", program.version());
    let server = EmbeddedServer::start(&program, Storage::Persistent(data.clone()), Progress::Shown).await?;
    let outcome = serve_on(&server, options, &data, listener, settings).await;
    server.stop().await?;
    if outcome.is_ok() {
        eprintln!("Stopped. The data stays in {}.", data.display());
    }
    outcome
}

/// Prepares the database and serves it, until Ctrl-C or SIGTERM.
async fn serve_on(
    server: &EmbeddedServer,
    options: &Dev,
    data: &Path,
    listener: TcpListener,
    mut settings: serve::Settings,
) -> Result<(), Failure> {
    let mut stop = pin!(told_to_stop());
    let release = Release::embedded()?;
    let prepared = tokio::select! {
        prepared = prepare(server, options, data, &listener, &release) => prepared?,
        () = &mut stop => return Ok(()),
    };
    let database = Database::connect(&prepared.gateway_url).await?;
    raise_file_limit();
    print(server, &prepared.whereabouts, data);
    if settings.token_secrets.is_empty() {
        settings.token_secrets.extend(prepared.whereabouts.token_secret);
    }
    settings.webhook_secrets = vec![prepared.whereabouts.stripe_webhook_secret];
    serve::serve(
        database.clone(),
        &prepared.gateway_url,
        release,
        listener,
        settings,
        stop,
    )
    .await?;
    database.disconnect().await?;
    Ok(())
}

struct Prepared {
    gateway_url: String,
    whereabouts: Whereabouts,
}

/// Tables, procedures, the gateway's account, the demonstration, keys, and `dev.json`.
async fn prepare(
    server: &EmbeddedServer,
    options: &Dev,
    data: &Path,
    listener: &TcpListener,
    release: &Release,
) -> Result<Prepared, Failure> {
    let owner_url = server.database(DATABASE).await?;
    let report = migrate::apply(&owner_url, release, Reach::Release).await?;
    eprintln!(
        "Database of release {}: {} migrations applied, {} procedures installed, {} as they were.",
        release.version(),
        report.migrations.len(),
        report.created.len() + report.replaced.len(),
        report.unchanged
    );
    // A new password each time: nobody has to keep it.
    let password = random("")?;
    make_gateway_account(&owner_url, GATEWAY_ACCOUNT, &password).await?;
    let gateway_url = server.url(GATEWAY_ACCOUNT, Some(&password), DATABASE);
    let database = Database::connect(&gateway_url).await?;
    if !options.no_seed {
        demonstration::seed(&database).await?;
    }

    let path = data.join("dev.json");
    let before = Whereabouts::read(&path);
    let service_key = before.as_ref().map(|file| file.service_key.as_str());
    let admin_key = before.as_ref().map(|file| file.admin_key.as_str());
    let address = listener
        .local_addr()
        .map_err(|error| Failure::Work(format!("the listening socket has no address: {error}")))?;
    let whereabouts = Whereabouts {
        url: format!("http://{address}"),
        service_key: key(&database, "service", service_key).await?,
        admin_key: key(&database, "admin", admin_key).await?,
        mysql_socket: server.socket().display().to_string(),
        mysql_user: server.user().to_owned(),
        database: DATABASE.to_owned(),
        token_secret: match before.as_ref().and_then(|file| file.token_secret.clone()) {
            Some(secret) => Some(secret),
            None => Some(random("cts_")?),
        },
        stripe_webhook_secret: match before {
            Some(file) => file.stripe_webhook_secret,
            None => random("whsec_")?,
        },
    };
    database.disconnect().await?;
    whereabouts
        .write(&path)
        .map_err(|error| Failure::Work(format!("{} cannot be written: {error}", path.display())))?;
    Ok(Prepared {
        gateway_url,
        whereabouts,
    })
}

/// The key of the run before if it still opens, else a new one.
async fn key(database: &Database, role: &str, before: Option<&str>) -> Result<String, Failure> {
    if let Some(secret) = before.and_then(Secret::parse) {
        let holder = access::authenticate(database, secret.sha256()).await?;
        if holder.is_some_and(|holder| holder.role == role) {
            return Ok(secret.reveal().to_owned());
        }
    }
    let secret = Secret::generate().map_err(no_randomness)?;
    access::create_key(database, "consumable dev", role, secret.sha256()).await?;
    Ok(secret.reveal().to_owned())
}

/// Random bytes as text, after a prefix.
fn random(prefix: &str) -> Result<String, Failure> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(no_randomness)?;
    Ok(format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

fn no_randomness(error: getrandom::Error) -> Failure {
    Failure::Work(format!("the system has no randomness to give: {error}"))
}

fn print(server: &EmbeddedServer, at: &Whereabouts, data: &Path) {
    let Whereabouts {
        url,
        service_key,
        admin_key,
        mysql_socket,
        mysql_user,
        database,
        stripe_webhook_secret,
        ..
    } = at;
    let client = server
        .client()
        .map_or("mysql".into(), |client| client.display().to_string());
    println!(
        r#"
consumable is ready at {url} (Ctrl-C stops it, the data stays in {data}). In another terminal:

1. Watch what changes, as a browser would:
curl -sN '{url}/api/realtime/events?topic=workspace_billing_limits&surface=app&workspaceSlug=acme' -H 'Authorization: Bearer {service_key}'

2. What may acme use, and how much is left?
curl -s '{url}/api/billing/limitations?workspaceSlug=acme' -H 'Authorization: Bearer {service_key}'

3. Use 20 AI credits:
curl -s '{url}/api/billing/consume?workspaceSlug=acme' -H 'Authorization: Bearer {service_key}' -H 'Content-Type: application/json' -H "Idempotency-Key: try-$(date +%s)" -d '{{"limitationCode": "ai.credits", "amount": 20}}'

4. Be the payment provider, and tell that acme bought a pack of projects (openssl signs it):
T=$(date +%s); E='{{"id": "evt_'$T'", "type": "checkout.session.completed", "created": '$T', "data": {{"object": {{"id": "cs_'$T'", "mode": "payment", "payment_status": "paid", "amount_total": 900, "currency": "eur", "client_reference_id": "acme", "metadata": {{"priceId": "price_extra_projects_pack_2m"}}}}}}}}'; curl -s '{url}/api/billing/webhooks/stripe' -H "Stripe-Signature: t=$T,v1=$(printf '%s' "$T.$E" | openssl dgst -sha256 -hmac '{stripe_webhook_secret}' | sed 's/.* //')" -d "$E"

A MySQL client on the same database, where every rule can be read and called:
{client} -S '{mysql_socket}' -u {mysql_user} {database}
CALL entitlement_grant_v1(1, 'ai.credits', 500, 'promo', NULL, NULL, NULL, 'hello-1', 'A present', NULL);

The console, in a browser: {url}/
Admin key: {admin_key}
All of this is in {file}, too."#,
        data = data.display(),
        file = data.join("dev.json").display(),
    );
}
