//! The database server's clock steps back and forth, that of its process alone: a library between it and the system says another time.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consumable::database::embedded::{Progress, ServerProgram, find_server};
use mysql_async::prelude::Queryable;

use super::gateway::Gateway;
use super::load::Load;
use super::server::{CODES, Server};
use crate::support::folder::fresh_folder;
use crate::support::server::shared_server;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// How far ahead the clock is, one after the other: a little and much, over the end of a month too, and back again.
const STEPS: [i64; 10] = [
    2 * SECOND,
    -2 * SECOND,
    HOUR,
    -HOUR,
    0,
    40 * DAY,
    39 * DAY,
    0,
    -DAY,
    SECOND / 2,
];

/// The words of the running server up to its own options: how it is started here.
async fn words() -> (Vec<String>, Vec<String>) {
    let process = shared_server().await.process();
    let command = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap();
    let words: Vec<String> = command.split_terminator('\0').map(str::to_owned).collect();
    let place = |begins: &str| words.iter().position(|word| word.starts_with(begins)).unwrap();
    let (launcher, rest) = words.split_at(place("--no-defaults"));
    let layout = &rest[1..place("--datadir=") - launcher.len()];
    (launcher.to_vec(), layout.to_vec())
}

/// The server's program with a clock that `file` moves. `None` where it cannot be made.
async fn program(folder: &Path, file: &Path) -> Option<ServerProgram> {
    let library = folder.join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/clock.c");
    // Without the C library of this machine: the server may bring its own.
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-nostdlib", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .output();
    match compiled {
        Ok(output) if output.status.success() => (),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            println!("skipped: the library that moves a clock cannot be made without cc ({error})");
            return None;
        }
    }
    let (launcher, layout) = words().await;
    let quoted = |words: &[String]| words.iter().map(|word| format!("'{word}' ")).collect::<String>();
    let script = format!(
        "#!/bin/sh\nshift\nexport CONSUMABLE_TEST_CLOCK='{}' LD_PRELOAD='{}'\nexec {}--no-defaults {}\"$@\"\n",
        file.display(),
        library.display(),
        quoted(&launcher),
        quoted(&layout),
    );
    let path = folder.join("mysqld");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Some(find_server(Some(path.as_os_str()), Progress::Silent).await.unwrap())
}

async fn stepping(times: usize) {
    let folder = fresh_folder();
    let path = folder.path().join("ahead");
    fs::write(&path, 0_i64.to_ne_bytes()).unwrap();
    let ahead = File::options().write(true).open(&path).unwrap();
    let Some(program) = program(folder.path(), &path).await else {
        return;
    };
    let server = Server::start_in(&folder.path().join("server"), &program).await;
    let gateway = Gateway::start(&server).await;
    let load = Load::start(&server, &[&gateway.url], 32, &CODES);
    let mut session = server.session().await;
    for step in STEPS.iter().cycle().take(times) {
        load.more(40).await;
        ahead.write_all_at(&step.to_ne_bytes(), 0).unwrap();
        let said: Option<f64> = session.query_first("SELECT UNIX_TIMESTAMP(NOW(3))").await.unwrap();
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let difference = said.unwrap()
            - here.as_secs_f64()
            - Duration::from_nanos(step.unsigned_abs()).as_secs_f64() * step.signum() as f64;
        assert!(
            difference.abs() < 10.0,
            "the server's clock is where it was set: {difference}"
        );
        load.all_are_answered().await;
    }
    let count = load.end(&server).await;
    assert_eq!(count.cut, 0);
    let beside = format!("{} requests told to come again", count.refusals);
    count.tell("the server's clock steps back and forth", times, &beside);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_loses_nothing() {
    stepping(STEPS.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn a_clock_that_steps_a_hundred_times_loses_nothing() {
    stepping(100).await;
}
