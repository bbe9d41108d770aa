//! What the figures were measured on: they mean nothing without.

use std::fs;
use std::io::Write;
use std::time::Instant;

use serde::Serialize;

use crate::Outcome;

/// Small durable writes, to say what one costs here.
const WRITES: usize = 100;

/// What is asked of the machine before anything else runs.
pub struct Machine {
    load: String,
    sync_ms: f64,
}

impl Machine {
    /// Looks at the load, and at what the disk under the server's data takes to make a small write durable.
    pub fn look() -> Outcome<Machine> {
        let load = load_average()?;
        let mut file = tempfile::tempfile()?;
        let mut times = Vec::with_capacity(WRITES);
        for _ in 0..WRITES {
            let begun = Instant::now();
            file.write_all(&[0; 512])?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        times.sort();
        Ok(Machine {
            load,
            sync_ms: times[WRITES / 2].as_secs_f64() * 1_000.0,
        })
    }
}

/// The settings of a run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// UTC.
    pub started_at: String,
    /// Of this program and of the gateway.
    pub build: &'static str,
    /// That the threads may use.
    pub cores: usize,
    /// The processor's own name.
    pub processor: String,
    /// What 512 bytes take to be durable, the median.
    pub disk_sync_milliseconds: f64,
    /// Before the run: of 1, 5 and 15 minutes.
    pub load_at_start: String,
    /// After it. The run's own load is part of it.
    pub load_at_end: String,
    /// Of each measured workload.
    pub seconds: u64,
    /// `@@version`.
    pub mysql: String,
    /// `@@innodb_flush_log_at_trx_commit`.
    pub innodb_flush_log_at_trx_commit: String,
    /// `@@sync_binlog`.
    pub sync_binlog: String,
    /// `@@log_bin`.
    pub log_bin: String,
    /// `@@innodb_buffer_pool_size`.
    pub buffer_pool_megabytes: String,
    /// `@@innodb_redo_log_capacity`.
    pub redo_log_megabytes: String,
}

/// What the server says of itself: version, redo flush, binary log sync, binary log, and its memory and redo log.
pub type ServerSettings = (String, String, String, String, String, String);

impl Settings {
    pub fn new(machine: &Machine, server: ServerSettings, seconds: u64) -> Settings {
        let (mysql, innodb_flush_log_at_trx_commit, sync_binlog, log_bin, buffer_pool_megabytes, redo_log_megabytes) =
            server;
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Settings {
            started_at: chrono::Utc::now().format("%Y-%m-%d %H:%M").to_string(),
            build: if cfg!(debug_assertions) {
                "debug: the figures say nothing"
            } else {
                "release"
            },
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: processor.map_or("unknown", |(_, name)| name).to_owned(),
            disk_sync_milliseconds: machine.sync_ms,
            load_at_start: machine.load.clone(),
            load_at_end: String::new(),
            seconds,
            mysql,
            innodb_flush_log_at_trx_commit,
            sync_binlog,
            log_bin,
            buffer_pool_megabytes,
            redo_log_megabytes,
        }
    }
}

/// Of 1, 5 and 15 minutes.
pub fn load_average() -> Outcome<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Microseconds of CPU that a process has used. Counted in hundredths of a second.
pub fn cpu_microseconds(process: u32) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before it may hold anything.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
    let mut times = fields.ok_or("a process without a state")?.skip(11).take(2);
    let mut next = || times.next().and_then(|ticks| ticks.parse::<u64>().ok());
    match (next(), next()) {
        (Some(user), Some(system)) => Ok((user + system) * 10_000),
        _ => Err("a process without times".into()),
    }
}

/// Kilobytes of memory that a process has now, and had at most.
pub fn memory_kilobytes(process: u32) -> Outcome<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| -> Outcome<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        number.ok_or_else(|| format!("a process without {name}").into())
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}
