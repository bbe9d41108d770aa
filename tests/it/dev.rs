//! `consumable dev`, as a newcomer runs it: the program itself, and what it printed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mysql_async::{Conn, Opts, prelude::Queryable};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::folder::fresh_folder;
use crate::support::server::server_program;

/// A running `consumable dev`, and what it printed until it was ready.
struct Dev {
    child: Child,
    printed: String,
    whereabouts: Json,
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumable"));
    command
        .args(["dev", "--data"])
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Dev {
    /// Starts it on a port of the system's choice, and waits until it says that it is ready.
    async fn start(folder: &Path, arguments: &[&str]) -> Dev {
        // Fetched before any deadline runs.
        server_program().await;
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let mut child = command(folder, &all).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        let reading = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                printed.push_str(&line);
                printed.push('\n');
                if line.starts_with("All of this is in") {
                    return true;
                }
            }
            false
        };
        let ready = tokio::time::timeout(Duration::from_secs(90), reading)
            .await
            .expect("ready in time");
        if !ready {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
            panic!("dev ended before it was ready: {said}");
        }
        let whereabouts = serde_json::from_slice(&fs::read(folder.join("dev.json")).unwrap()).unwrap();
        Dev {
            child,
            printed,
            whereabouts,
        }
    }

    /// A line of what it printed, to be pasted.
    fn line(&self, begins: &str, holds: &str) -> String {
        let found = self
            .printed
            .lines()
            .find(|line| line.starts_with(begins) && line.contains(holds));
        found
            .unwrap_or_else(|| panic!("no {begins}…{holds} in {}", self.printed))
            .to_owned()
    }

    /// Ctrl-C, and what it says at the end.
    async fn stop(mut self) -> String {
        let process = Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        kill_process(process, Signal::INT).unwrap();
        let mut said = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .await
            .unwrap();
        assert!(self.child.wait().await.unwrap().success(), "{said}");
        said
    }
}

/// Whoever of it has a session is the gateway's account, which may call and nothing else.
async fn only_the_gateway_is_logged_in(dev: &Dev) {
    let socket = dev.whereabouts["mysqlSocket"].as_str().unwrap();
    let url = format!("mysql://root@localhost/consumable?socket={socket}");
    let mut dba = Conn::new(Opts::from_url(&url).unwrap()).await.unwrap();
    let users =
        "SELECT DISTINCT USER FROM information_schema.PROCESSLIST WHERE DB = 'consumable' AND ID <> CONNECTION_ID()";
    assert_eq!(dba.query::<String, _>(users).await.unwrap(), ["consumable_gateway"]);
    let grants: Vec<String> = dba.query("SHOW GRANTS FOR consumable_gateway@localhost").await.unwrap();
    let calls = "GRANT EXECUTE ON `consumable`.* TO `consumable_gateway`@`localhost`";
    assert_eq!(
        grants,
        ["GRANT USAGE ON *.* TO `consumable_gateway`@`localhost`", calls]
    );
}

/// Pastes a line into a shell.
async fn paste(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().await.unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_works_when_pasted_and_the_data_is_found_again() {
    let folder = fresh_folder();
    let data = folder.path().join("data");
    let dev = Dev::start(&data, &[]).await;
    assert_eq!(
        fs::metadata(data.join("dev.json")).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let mut watching = Command::new("sh")
        .args(["-c", &format!("exec {}", dev.line("curl", "/api/realtime/events"))])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut heard = BufReader::new(watching.stdout.take().unwrap()).lines();
    // The position comes first: from here on nothing is missed.
    until_line(&mut heard, "id:").await;
    only_the_gateway_is_logged_in(&dev).await;

    let limitations: Json = serde_json::from_str(&paste(&dev.line("curl", "/api/billing/limitations")).await).unwrap();
    let available = |code: &str, of: &Json| {
        let all = of["limitations"].as_array().unwrap();
        all.iter().find(|limitation| limitation["code"] == code).unwrap()["availableAmount"]
            .as_i64()
            .unwrap()
    };
    assert_eq!(
        ["ai.credits", "annuity.calculations.monthly", "projects.max"].map(|code| available(code, &limitations)),
        [1000, 100, 5]
    );
    let consumed: Json = serde_json::from_str(&paste(&dev.line("curl", "/api/billing/consume")).await).unwrap();
    assert_eq!(
        (&consumed["outcome"], available("ai.credits", &consumed)),
        (&Json::from("accepted"), 980)
    );
    assert!(
        until_line(&mut heard, "data:")
            .await
            .contains(r#""changeSource":"consumption""#)
    );

    // What the payment provider would send, signed by a program of its own, where there is one.
    if Command::new("openssl").arg("version").output().await.is_ok() {
        let answer = paste(&dev.line("T=", "/api/billing/webhooks/stripe")).await;
        assert_eq!(answer, r#"{"received":true,"outcome":"applied"}"#);
        let told = until_line(&mut heard, "data:").await;
        assert!(told.contains(r#""changeSource":"purchase_grant""#), "{told}");
        until_line(&mut heard, "data:").await;
    }

    // A DBA's CALL, with the client that it names, where the private copy brings one.
    let client = dev.printed.lines().find(|line| line.contains(" -S '")).unwrap();
    if Path::new(client.split(' ').next().unwrap()).exists() {
        let call = dev.line("CALL", "entitlement_grant_v1");
        paste(&format!("{client} -e \"{call}\"")).await;
        assert!(until_line(&mut heard, "data:").await.contains("ai.credits"));
    }
    drop(watching);

    let second = command(&data, &[]).output().await.unwrap();
    assert_eq!(second.status.code(), Some(1));
    one_sentence(&second.stderr, "is in use by another consumable dev");

    let keys = dev.whereabouts["serviceKey"].clone();
    let secret = dev.whereabouts["tokenSecret"].as_str().unwrap().to_owned();
    assert!(secret.len() >= 32, "too short to sign tokens");
    assert!(dev.stop().await.contains("Stopped. The data stays in"));
    let again = Dev::start(&data, &[]).await;
    assert_eq!(again.whereabouts["serviceKey"], keys);
    assert_eq!(again.whereabouts["tokenSecret"], secret);
    let limitations: Json =
        serde_json::from_str(&paste(&again.line("curl", "/api/billing/limitations")).await).unwrap();
    assert!(available("ai.credits", &limitations) < 1500);
    assert_ne!(available("ai.credits", &limitations), 1000);
    again.stop().await;

    let reset = Dev::start(&data, &["--reset"]).await;
    let limitations: Json =
        serde_json::from_str(&paste(&reset.line("curl", "/api/billing/limitations")).await).unwrap();
    assert_eq!(available("ai.credits", &limitations), 1000);
    reset.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violent_end_leaves_no_server() {
    let folder = fresh_folder();
    let data = folder.path().join("data");
    let mut dev = Dev::start(&data, &["--no-seed"]).await;
    let server: i32 = fs::read_to_string(data.join("mysql/mysql.pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let server = Pid::from_raw(server).unwrap();
    assert!(test_kill_process(server).is_ok());
    dev.child.kill().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while test_kill_process(server).is_ok() {
        assert!(Instant::now() < deadline, "the server outlived its dev");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The next start finds the data in order.
    Dev::start(&data, &["--no-seed"]).await.stop().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_said_in_one_sentence() {
    let folder = fresh_folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, code, sentence) in [
        (vec!["--listen", &address], 1, "choose another with --listen"),
        (vec!["--listen", "0.0.0.0:0"], 1, "dev serves on loopback only"),
        (vec!["--listen", "nowhere"], 2, "CONSUMABLE_LISTEN is \"nowhere\""),
        (
            vec!["--listen", "127.0.0.1:0", "--mysqld", "/no/such/mysqld"],
            1,
            "no such program exists",
        ),
    ] {
        let output = command(&folder.path().join("data"), &arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        one_sentence(&output.stderr, sentence);
    }
}

/// The next line that begins like this, in time.
async fn until_line(lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>, begins: &str) -> String {
    let search = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with(begins) {
                return line;
            }
        }
        panic!("the stream ended without {begins}");
    };
    tokio::time::timeout(Duration::from_secs(20), search)
        .await
        .unwrap_or_else(|_| panic!("nothing began with {begins}"))
}

/// Standard error ends with one line, which says this.
fn one_sentence(stderr: &[u8], sentence: &str) {
    let said = String::from_utf8_lossy(stderr);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("consumable: ") && last.contains(sentence), "{said}");
}
