//! Says what is being waited for: a moving bar on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Whether long steps are reported on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Report them.
    Shown,
    /// Say nothing.
    Silent,
}

/// One step that takes long enough to be reported.
pub(super) struct Stage {
    bar: ProgressBar,
    text: String,
    started: Instant,
    shown: bool,
}

impl Stage {
    /// A step whose length is unknown.
    pub(super) fn spinner(progress: Progress, text: &str) -> Self {
        Self::begin(progress, text, ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}")
    }

    /// A step that is `total` bytes long.
    pub(super) fn bytes(progress: Progress, text: &str, total: u64) -> Self {
        Self::begin(
            progress,
            text,
            ProgressBar::new(total),
            "{msg} {wide_bar} {bytes}/{total_bytes} {eta}",
        )
    }

    /// A step made of `total` equal parts.
    pub(super) fn parts(progress: Progress, text: &str, total: u64) -> Self {
        Self::begin(progress, text, ProgressBar::new(total), "{msg} {wide_bar} {pos}/{len}")
    }

    fn begin(progress: Progress, text: &str, bar: ProgressBar, template: &str) -> Self {
        let shown = progress == Progress::Shown;
        let moving = shown && io::stderr().is_terminal();
        let bar = if moving { bar } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        if moving {
            bar.enable_steady_tick(Duration::from_millis(100));
        } else if shown {
            say(&format!("{text} …"));
        }
        Self {
            bar,
            text: text.to_owned(),
            started: Instant::now(),
            shown,
        }
    }

    /// So much of it is behind us.
    pub(super) fn reach(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// The step succeeded.
    pub(super) fn done(self) {
        self.bar.finish_and_clear();
        if self.shown {
            say(&format!("{}: {:.1} s", self.text, self.started.elapsed().as_secs_f32()));
        }
    }
}

impl Drop for Stage {
    /// A failed step takes its bar away, so that the error's sentence stands alone.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Writes past the test harness, which would swallow `eprintln!` and leave a first `cargo test` silent for a minute.
fn say(line: &str) {
    // A closed standard error must not stop the work it would have told about.
    let _ = writeln!(io::stderr(), "{line}");
}
