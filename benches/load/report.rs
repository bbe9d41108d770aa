//! The table and the JSON.

use serde::Serialize;

use crate::Outcome;
use crate::machine::{Settings, load_average};
use crate::measure::{Cpu, Figures};

/// One line of the table: something that was measured, beside what it is compared with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub id: &'static str,
    pub workload: String,
    pub figure: f64,
    pub unit: &'static str,
    /// Milliseconds of a request.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub baseline: Option<Baseline>,
    pub ratio: Option<f64>,
    pub goal: String,
    /// Nothing, where there is no goal.
    pub is_met: Option<bool>,
    /// For one of what the unit counts.
    pub cpu_microseconds: Option<Cpu>,
}

/// What a workload is compared with, in its unit, measured before and after it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    pub what: String,
    pub before: f64,
    pub after: f64,
    pub cpu_microseconds: Option<Cpu>,
}

impl Row {
    /// A rate that should be at least `goal` times the baseline's.
    pub fn rates(
        (id, workload, unit): (&'static str, String, &'static str),
        figures: &Figures,
        (what, before, after): (&'static str, &Figures, &Figures),
        goal: f64,
    ) -> Row {
        let ratio = figures.rate() * 2.0 / (before.rate() + after.rate());
        Row {
            id,
            workload,
            figure: figures.rate(),
            unit,
            p50: Some(figures.milliseconds(500)),
            p99: Some(figures.milliseconds(990)),
            baseline: Some(Baseline {
                what: what.to_owned(),
                before: before.rate(),
                after: after.rate(),
                cpu_microseconds: Some(after.cpu),
            }),
            ratio: Some(ratio),
            goal: format!("≥ {goal} ×"),
            is_met: Some(ratio >= goal),
            cpu_microseconds: Some(figures.cpu),
        }
    }

    /// A figure by itself.
    pub fn single(
        id: &'static str,
        workload: String,
        figure: f64,
        unit: &'static str,
        goal: &str,
        is_met: Option<bool>,
    ) -> Row {
        Row {
            id,
            workload,
            figure,
            unit,
            p50: None,
            p99: None,
            baseline: None,
            ratio: None,
            goal: goal.to_owned(),
            is_met,
            cpu_microseconds: None,
        }
    }
}

/// All that a run came to.
#[derive(Serialize)]
pub struct Report {
    settings: Settings,
    pub rows: Vec<Row>,
}

impl Report {
    pub fn new(settings: Settings) -> Report {
        Report {
            settings,
            rows: Vec::new(),
        }
    }

    /// Notes the load at the end.
    pub fn ended(&mut self) -> Outcome<()> {
        self.settings.load_at_end = load_average()?;
        Ok(())
    }

    /// As JSON.
    pub fn json(&self) -> Outcome<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// As Markdown.
    pub fn table(&self) -> String {
        let Settings {
            started_at,
            build,
            cores,
            processor,
            disk_sync_milliseconds,
            load_at_start,
            load_at_end,
            seconds,
            mysql,
            innodb_flush_log_at_trx_commit,
            sync_binlog,
            log_bin,
            buffer_pool_megabytes,
            redo_log_megabytes,
        } = &self.settings;
        let mut text = format!(
            "{started_at} UTC, {build} build, {seconds} s a workload. {cores} cores ({processor}), shared by client, gateway and MySQL; load average \
             {load_at_start} at the start, {load_at_end} at the end. A durable write of 512 bytes takes {disk_sync_milliseconds:.2} ms.\n\
             MySQL {mysql}: innodb_flush_log_at_trx_commit {innodb_flush_log_at_trx_commit}, sync_binlog {sync_binlog}, log_bin {log_bin}, \
             {buffer_pool_megabytes} MB buffer pool, {redo_log_megabytes} MB redo log.\n\n\
             | id | workload | figure | p50 ms | p99 ms | baseline | before | after | ratio | goal | |\n\
             | --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | --- | --- |\n"
        );
        for row in &self.rows {
            let milliseconds = |time: Option<f64>| time.map(|time| format!("{time:.2}")).unwrap_or_default();
            let baseline = row.baseline.as_ref();
            let side = |side: fn(&Baseline) -> f64| baseline.map(|baseline| number(side(baseline))).unwrap_or_default();
            let cells = [
                row.id.to_owned(),
                row.workload.clone(),
                format!("{} {}", number(row.figure), row.unit),
                milliseconds(row.p50),
                milliseconds(row.p99),
                baseline.map(|baseline| baseline.what.clone()).unwrap_or_default(),
                side(|baseline| baseline.before),
                side(|baseline| baseline.after),
                row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                row.goal.clone(),
                row.is_met
                    .map_or("", |is_met| if is_met { "met" } else { "missed" })
                    .to_owned(),
            ];
            text += &format!("| {} |\n", cells.join(" | "));
        }
        text += "\nCPU, in microseconds for one use (a read, in P5), of the workload and of its baseline:\n\n\
                 | id | workload | client | gateway | MySQL | baseline: client | MySQL |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |\n";
        for row in &self.rows {
            if let Some(Cpu { client, gateway, mysql }) = row.cpu_microseconds {
                let beside = row.baseline.as_ref().and_then(|baseline| baseline.cpu_microseconds);
                let beside = beside.map_or(" | ".into(), |beside| {
                    format!("{:.0} | {:.0}", beside.client, beside.mysql)
                });
                let (id, workload) = (row.id, &row.workload);
                text += &format!("| {id} | {workload} | {client:.0} | {gateway:.0} | {mysql:.0} | {beside} |\n");
            }
        }
        text
    }
}

/// Three figures or more: 12345.6 is 12,346, and 1.234 is 1.23.
fn number(figure: f64) -> String {
    if figure < 100.0 {
        return format!("{figure:.2}");
    }
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
