//! Three servers on loopback that are one group: MySQL's Group Replication with a single primary.
//!
//! What makes a commit durable stays as the servers have it. The settings are those of `docs/operating.md`, but for the encryption
//! of what the members tell each other.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use consumable::database::embedded::{EmbeddedServer, Progress, ServerProgram, Storage};
use mysql_async::{Conn, prelude::Queryable};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::folder::fresh_folder;
use super::server::server_program;

/// How long anything may take that a group does by itself, on a machine that does other things, too.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Members of a group: the fewest that can lose one.
pub const MEMBERS: usize = 3;

/// Any will do; a group is known by it.
const GROUP: &str = "c0450a61-0000-4000-8000-000000000001";

/// By which a member that comes back asks another one for what it missed.
const RECOVERY: [&str; 2] = [
    "CREATE USER recovery@'%' IDENTIFIED BY 'missed'",
    "GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO recovery@'%'",
];
const RECOVERS: &str = "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'recovery', SOURCE_PASSWORD = 'missed' FOR CHANNEL 'group_replication_recovery'";

/// A group. Dropping it ends its servers.
pub struct Cluster {
    program: ServerProgram,
    members: Vec<Member>,
    _alone: MutexGuard<'static, ()>,
}

/// One at a time: each is as much as a small machine can bear.
static ALONE: Mutex<()> = Mutex::const_new(());

struct Member {
    folder: TempDir,
    options: Vec<String>,
    port: u16,
    /// `None`: it was killed, and not started again.
    server: Option<EmbeddedServer>,
}

impl Cluster {
    /// A group whose first member is the primary. `None`, and why on the standard output, where the server has no plugin for it.
    pub async fn start() -> Option<Cluster> {
        let alone = ALONE.lock().await;
        let program = server_program().await;
        if !has_plugin(&program).await {
            println!("skipped: MySQL {} has no group_replication.so here", program.version());
            return None;
        }
        let ports = free_ports(2 * MEMBERS);
        let seeds: Vec<String> = ports[MEMBERS..]
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let members = (0..MEMBERS).map(|place| Member {
            folder: fresh_folder(),
            options: options(place, ports[place], &seeds),
            port: ports[place],
            server: None,
        });
        let mut cluster = Cluster {
            program: program.clone(),
            members: members.collect(),
            _alone: alone,
        };
        cluster.start_all().await;
        for place in 0..MEMBERS {
            cluster.session(place).await.query_drop(RECOVERS).await.unwrap();
        }
        let mut session = cluster.session(0).await;
        cluster.found(0).await;
        for statement in RECOVERY {
            session.query_drop(statement).await.unwrap();
        }
        cluster.join(&[1, 2]).await;
        Some(cluster)
    }

    /// Starts all members, none of which takes part yet.
    async fn start_all(&mut self) {
        let starting = self.members.iter().map(|member| member.start(&self.program, false));
        let servers = futures_util::future::join_all(starting).await;
        for (member, server) in self.members.iter_mut().zip(servers) {
            member.server = Some(server);
        }
    }

    /// Makes a group of one member.
    async fn found(&self, place: usize) {
        let mut session = self.session(place).await;
        for statement in [
            "SET GLOBAL group_replication_bootstrap_group = ON",
            "START GROUP_REPLICATION",
            "SET GLOBAL group_replication_bootstrap_group = OFF",
        ] {
            session.query_drop(statement).await.unwrap();
        }
        self.until_primary(&[place]).await;
    }

    /// Lets members join it.
    async fn join(&self, places: &[usize]) {
        for place in places {
            let mut session = self.session(*place).await;
            session.query_drop("START GROUP_REPLICATION").await.unwrap();
            self.until_secondary(*place).await;
        }
    }

    /// `kill -9` of all members, as when the room loses power.
    pub async fn kill_all(&mut self) {
        for place in 0..MEMBERS {
            self.signal(place, Signal::KILL);
        }
        for member in &mut self.members {
            let server = member.server.take().expect("a member that runs");
            server.stop().await.unwrap();
        }
    }

    /// Lets a member that takes part in no group apply what it received while it did. Else it would do so when it joins the next one, which knows
    /// nothing of it.
    async fn applied(&self, place: usize) {
        let mut session = self.session(place).await;
        let received = "SELECT s.received_transaction_set FROM performance_schema.replication_connection_status AS s
                         WHERE s.channel_name = 'group_replication_applier'";
        let received: Option<String> = session.query_first(received).await.unwrap();
        let apply = "START REPLICA SQL_THREAD FOR CHANNEL 'group_replication_applier'";
        session.query_drop(apply).await.unwrap();
        let wait = "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)";
        let late: Option<u8> = session
            .exec_first(wait, (received.unwrap(), PATIENCE.as_secs()))
            .await
            .unwrap();
        assert_eq!(late, Some(0), "member {place} does not apply what it received");
        let end = "STOP REPLICA SQL_THREAD FOR CHANNEL 'group_replication_applier'";
        session.query_drop(end).await.unwrap();
    }

    /// What an operator does then: starts all, lets one have what it lacks from each of the others, and makes the group anew of that one,
    /// which is given. Each may have something that no other has: what was committed on the primary may not have been applied elsewhere, and
    /// what was agreed on may not have been committed there. So the new one is not the former: no server takes from another what it
    /// began itself.
    pub async fn make_anew(&mut self, former: usize) -> usize {
        self.start_all().await;
        for place in 0..MEMBERS {
            self.applied(place).await;
        }
        let first = (former + 1) % MEMBERS;
        let others: Vec<usize> = (0..MEMBERS).filter(|place| *place != first).collect();
        let mut founder = self.session(first).await;
        for place in others.iter().copied() {
            let executed = "SELECT @@GLOBAL.gtid_executed";
            let has: Option<String> = self.session(place).await.query_first(executed).await.unwrap();
            let has = has.unwrap();
            let port = self.members[place].port;
            for statement in [
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'recovery', \
                     SOURCE_PASSWORD = 'missed', SOURCE_SSL = 0, SOURCE_CONNECT_RETRY = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_AUTO_POSITION = 1 FOR CHANNEL 'anew'"
                ),
                "START REPLICA FOR CHANNEL 'anew'".to_owned(),
            ] {
                founder.query_drop(statement).await.unwrap();
            }
            let late: Option<u8> = founder
                .exec_first("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", (&has, PATIENCE.as_secs()))
                .await
                .unwrap();
            if late != Some(0) {
                let channel = "SELECT CONCAT_WS('; ', @@GLOBAL.gtid_executed, c.service_state, c.received_transaction_set, c.last_error_message,
                                                a.service_state, w.last_error_message, w.applying_transaction)
                                 FROM performance_schema.replication_connection_status AS c
                                 JOIN performance_schema.replication_applier_status AS a USING (channel_name)
                                 JOIN performance_schema.replication_applier_status_by_worker AS w USING (channel_name)
                                WHERE c.channel_name = 'anew'";
                let channel: Vec<String> = founder.query(channel).await.unwrap();
                panic!(
                    "what member {place} has ({has}) does not come: {channel:#?} {}",
                    self.complaints(first)
                );
            }
            for statement in [
                "STOP REPLICA FOR CHANNEL 'anew'",
                "RESET REPLICA ALL FOR CHANNEL 'anew'",
            ] {
                founder.query_drop(statement).await.unwrap();
            }
        }
        self.found(first).await;
        self.join(&others).await;
        first
    }

    /// The primary's server, for a test run that knows nothing of groups. The others go on until the end of this process.
    pub async fn into_primary(mut self) -> EmbeddedServer {
        let primary = self.members[0].server.take();
        Box::leak(Box::new(self));
        primary.expect("the first member was not killed")
    }

    /// The URL of the database `name` on all members, for an account that may log in from this machine. By TCP, as members that are apart.
    pub fn url(&self, account: &str, name: &str) -> String {
        let hosts: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("127.0.0.1:{}", member.port))
            .collect();
        format!("mysql://{account}@{}/{name}?prefer_socket=false", hosts.join(","))
    }

    /// A session of `root` with a member.
    pub async fn session(&self, place: usize) -> Conn {
        let server = self.members[place].server.as_ref().expect("a member that runs");
        Conn::new(server.connection()).await.unwrap()
    }

    /// Waits until one of `places` says that it is the primary, and gives it.
    pub async fn until_primary(&self, places: &[usize]) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for place in places {
                if self.state(*place).await == ("ONLINE".to_owned(), "PRIMARY".to_owned()) {
                    return *place;
                }
            }
            assert!(Instant::now() < deadline, "no primary within {PATIENCE:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a member takes part, and not as the primary.
    pub async fn until_secondary(&self, place: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.state(place).await != ("ONLINE".to_owned(), "SECONDARY".to_owned()) {
            assert!(
                Instant::now() < deadline,
                "member {place} is no secondary within {PATIENCE:?}: {}",
                self.complaints(place)
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until all members have what the primary has, which nobody writes to any more.
    pub async fn until_alike(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut have: Vec<String> = Vec::new();
            for place in 0..MEMBERS {
                have.extend(
                    self.session(place)
                        .await
                        .query_first("SELECT @@GLOBAL.gtid_executed")
                        .await
                        .unwrap(),
                );
            }
            if have.windows(2).all(|pair| pair[0] == pair[1]) {
                return;
            }
            assert!(Instant::now() < deadline, "not alike within {PATIENCE:?}: {have:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// `kill -9` of a member.
    pub async fn kill(&mut self, place: usize) {
        self.signal(place, Signal::KILL);
        let server = self.members[place].server.take().expect("a member that runs");
        server.stop().await.unwrap();
    }

    /// Starts a member that was killed, which joins the group by itself, and waits until it takes part.
    pub async fn restart(&mut self, place: usize) {
        let server = self.members[place].start(&self.program, true).await;
        self.members[place].server = Some(server);
        self.until_secondary(place).await;
    }

    /// Lets a member stand still, or go on.
    pub fn signal(&self, place: usize, signal: Signal) {
        let server = self.members[place].server.as_ref().expect("a member that runs");
        let process = i32::try_from(server.process()).ok().and_then(Pid::from_raw);
        kill_process(process.expect("a process"), signal).unwrap();
    }

    /// Asks the group for another primary.
    pub async fn make_primary(&self, place: usize) {
        let mut session = self.session(place).await;
        session
            .query_drop("SELECT group_replication_set_as_primary(@@server_uuid)")
            .await
            .unwrap();
    }

    /// The last errors that a member wrote down.
    fn complaints(&self, place: usize) -> String {
        let log = self.members[place].folder.path().join("mysql/error.log");
        let said = std::fs::read_to_string(log).unwrap();
        let errors: Vec<&str> = said.lines().filter(|line| line.contains("[ERROR]")).collect();
        errors[errors.len().saturating_sub(5)..].join("\n")
    }

    /// What a member thinks of itself: its state, and its role.
    async fn state(&self, place: usize) -> (String, String) {
        let asked = "SELECT m.member_state, m.member_role FROM performance_schema.replication_group_members AS m
                      WHERE m.member_id = @@server_uuid";
        let state = self.session(place).await.query_first(asked).await.unwrap();
        state.unwrap_or_default()
    }
}

impl Member {
    async fn start(&self, program: &ServerProgram, joins: bool) -> EmbeddedServer {
        let joins = if joins { "ON" } else { "OFF" };
        let boot = format!("--group-replication-start-on-boot={joins}");
        let program = program.clone().with_options(self.options.iter().cloned().chain([boot]));
        let storage = Storage::Persistent(self.folder.path().to_owned());
        EmbeddedServer::start(&program, storage, Progress::Silent)
            .await
            .expect("a member")
    }
}

fn options(place: usize, port: u16, seeds: &[String]) -> Vec<String> {
    let seed = &seeds[place];
    let all = seeds.join(",");
    let number = place + 1;
    [
        "skip-networking=OFF".to_owned(),
        "bind-address=127.0.0.1".to_owned(),
        format!("port={port}"),
        "report-host=127.0.0.1".to_owned(),
        format!("server-id={number}"),
        "gtid-mode=ON".to_owned(),
        "enforce-gtid-consistency=ON".to_owned(),
        "super-read-only=ON".to_owned(),
        // For passwords over TCP.
        "caching-sha2-password-auto-generate-rsa-keys=ON".to_owned(),
        "plugin-load-add=group_replication.so".to_owned(),
        format!("group-replication-group-name={GROUP}"),
        format!("group-replication-local-address={seed}"),
        format!("group-replication-group-seeds={all}"),
        "group-replication-consistency=BEFORE_ON_PRIMARY_FAILOVER".to_owned(),
        "group-replication-exit-state-action=OFFLINE_MODE".to_owned(),
        "group-replication-member-expel-timeout=0".to_owned(),
        "group-replication-unreachable-majority-timeout=3".to_owned(),
        "group-replication-autorejoin-tries=10".to_owned(),
        "group-replication-recovery-reconnect-interval=1".to_owned(),
        "group-replication-recovery-get-public-key=ON".to_owned(),
        "group-replication-recovery-use-ssl=OFF".to_owned(),
        "group-replication-ssl-mode=DISABLED".to_owned(),
    ]
    .map(|option| format!("--{option}"))
    .to_vec()
}

async fn has_plugin(program: &ServerProgram) -> bool {
    let server = EmbeddedServer::start(program, Storage::Scratch, Progress::Silent)
        .await
        .expect("a server");
    let mut session = Conn::new(server.connection()).await.unwrap();
    let folder: Option<String> = session.query_first("SELECT @@plugin_dir").await.unwrap();
    server.stop().await.unwrap();
    folder.is_some_and(|folder| Path::new(&folder).join("group_replication.so").is_file())
}

/// Ports that nobody has now, and that no connection will be given: below those that the system gives.
pub fn free_ports(number: usize) -> Vec<u16> {
    let mut held = Vec::new();
    while held.len() < number {
        held.extend(TcpListener::bind(("127.0.0.1", fastrand::u16(20_000..30_000))));
    }
    held.iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}
