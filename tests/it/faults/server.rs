//! A server of its own for one test, which can be killed, stopped and started again on what it left.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use consumable::database::embedded::{EmbeddedServer, Progress, ServerProgram, Storage};
use consumable::database::{Database, Release, make_gateway_account, migrate};
use consumable::gateway::Secret;
use consumable::procedures::access;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::support::folder::fresh_folder;
use crate::support::server::server_program;

/// Workspaces that each server has, `w0` and so on.
pub const WORKSPACES: usize = 8;

/// Limits of each workspace, of which no load uses all.
pub const CODES: [&str; 2] = ["ai.credits", "annuity.calculations.monthly"];

/// The account that may only call.
pub const ACCOUNT: &str = "gateway";

const PASSWORD: &str = "of the gateways of tests";

/// A process that runs as the child of a test finds the test's seed there.
pub const SEED: &str = "CONSUMABLE_TEST_SEED";

/// The file of the seed with its keys.
const KEYS: &str = "keys";

/// A data folder with all that a test begins with, made once and copied for each.
pub struct Seed {
    folder: PathBuf,
    service: String,
    admin: String,
    _own: Option<TempDir>,
}

impl Seed {
    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn of_parent(folder: PathBuf) -> Seed {
        let keys = fs::read_to_string(folder.join(KEYS)).unwrap();
        let (service, admin) = keys.split_once('\n').unwrap();
        Seed {
            service: service.to_owned(),
            admin: admin.to_owned(),
            folder,
            _own: None,
        }
    }
}

/// The seed of this test run.
pub async fn seed() -> &'static Seed {
    static MADE: OnceCell<Seed> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        if let Some(folder) = env::var_os(SEED) {
            return Seed::of_parent(folder.into());
        }
        let folder = fresh_folder();
        let server = start(&server_program().await, folder.path()).await;
        let url = server.database("consumable").await.unwrap();
        migrate(&url, &Release::embedded().unwrap(), &|_| ()).await.unwrap();
        make_gateway_account(&url, ACCOUNT, PASSWORD).await.unwrap();
        let database = Database::connect(&url).await.unwrap();
        let mut keys = Vec::new();
        for role in ["service", "admin"] {
            let secret = Secret::generate().unwrap();
            access::create_key(&database, role, role, secret.sha256())
                .await
                .unwrap();
            keys.push(secret.reveal().to_owned());
        }
        database.disconnect().await.unwrap();
        let mut session = Conn::new(Opts::from_url(&url).unwrap()).await.unwrap();
        for workspace in 0..WORKSPACES {
            let slug = format!("w{workspace}");
            let put = "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, NULL)";
            session.exec_drop(put, (&slug, &slug)).await.unwrap();
            for code in CODES {
                let grant = "CALL entitlement_grant_v1(?, ?, 1000000000, 'promo', NULL, NULL, NULL, ?, 'test', 'test')";
                let key = format!("{slug}-{code}");
                session.exec_drop(grant, (workspace + 1, code, key)).await.unwrap();
            }
        }
        session.disconnect().await.unwrap();
        server.stop().await.unwrap();
        fs::write(folder.path().join(KEYS), keys.join("\n")).unwrap();
        Seed {
            folder: folder.path().to_path_buf(),
            admin: keys.pop().unwrap(),
            service: keys.pop().unwrap(),
            _own: Some(folder),
        }
    })
    .await
}

async fn start(program: &ServerProgram, folder: &Path) -> EmbeddedServer {
    let storage = Storage::Persistent(folder.to_path_buf());
    EmbeddedServer::start(program, storage, Progress::Silent).await.unwrap()
}

/// A server with a database, workspaces and keys, in a folder of its own. Only a gateway's account and `root` come in.
pub struct Server {
    folder: PathBuf,
    program: ServerProgram,
    running: Option<EmbeddedServer>,
    /// Of the gateway's account.
    pub url: String,
    root_url: String,
    /// The keys of the seed.
    pub service: &'static str,
    pub admin: &'static str,
    _own: Option<TempDir>,
}

impl Server {
    /// One that this machine's own program runs.
    pub async fn start() -> Server {
        let own = fresh_folder();
        let folder = own.path().join("server");
        let mut server = Server::start_in(&folder, &server_program().await).await;
        server._own = Some(own);
        server
    }

    /// One that `program` runs in `folder`, which does not exist yet.
    pub async fn start_in(folder: &Path, program: &ServerProgram) -> Server {
        let seed = seed().await;
        // With all their room: a server does not expect that what it has laid out is missing when it writes there.
        let copied = Command::new("cp")
            .args(["-a", "--sparse=never"])
            .arg(seed.folder())
            .arg(folder)
            .status()
            .unwrap();
        assert!(copied.success());
        let running = start(program, folder).await;
        Server {
            folder: folder.to_path_buf(),
            program: program.clone(),
            url: running.url(ACCOUNT, Some(PASSWORD), "consumable"),
            root_url: running.url("root", None, "consumable"),
            running: Some(running),
            service: &seed.service,
            admin: &seed.admin,
            _own: None,
        }
    }

    /// A session that may do everything.
    pub async fn session(&self) -> Conn {
        Conn::new(Opts::from_url(&self.root_url).unwrap()).await.unwrap()
    }

    /// A session of the account that may only call.
    pub async fn session_of_gateway(&self) -> mysql_async::Result<Conn> {
        Conn::new(Opts::from_url(&self.url).unwrap()).await
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        let process = self.running.as_ref().unwrap().process();
        kill_process(Pid::from_raw(process as i32).unwrap(), signal).unwrap();
    }

    /// `kill -9`, unless it has ended by itself. Returns when it is gone.
    pub async fn kill(&mut self) {
        let process = self.running.as_ref().unwrap().process();
        // Its number stays its own until its guard has gone.
        let _ = kill_process(Pid::from_raw(process as i32).unwrap(), Signal::KILL);
        self.running.take().unwrap().stop().await.unwrap();
    }

    /// Ends it in an orderly way.
    pub async fn shut_down(&mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }

    /// Starts it again on what it left. Returns when it answers.
    pub async fn start_again(&mut self) {
        self.running = Some(start(&self.program, &self.folder).await);
    }

    /// Waits until this is not 0.
    pub async fn until(&self, what: &str, query: &str) {
        let mut session = self.session().await;
        let deadline = Instant::now() + Duration::from_secs(30);
        while session.query_first::<u64, _>(query).await.unwrap() == Some(0) {
            assert!(Instant::now() < deadline, "{what}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}
