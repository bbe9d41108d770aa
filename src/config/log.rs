//! What is logged, and how.

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::SettingError;

/// `RUST_LOG`: what is logged, to the standard error.
#[derive(Debug, Clone, Args)]
pub struct LogSetting {
    /// What to log: error, warn, info, debug or trace, or per part such as info,consumable::database=debug.
    // refinery tells each step at info; what it did is printed by the program itself.
    #[arg(
        long,
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "info,refinery_core=warn",
        global = true
    )]
    log: String,
}

/// `CONSUMABLE_LOG_FORMAT`: for whom it is logged.
#[derive(Debug, Clone, Args)]
pub struct LogFormatSetting {
    /// text, to be read by people, or json, an object a line, to be read by programs.
    // Text by default: who starts it by hand reads it. What collects logs is configured anyway.
    #[arg(
        long,
        env = "CONSUMABLE_LOG_FORMAT",
        value_name = "text|json",
        default_value = "text",
        global = true
    )]
    log_format: String,
}

impl LogFormatSetting {
    /// Whether it is JSON.
    ///
    /// # Errors
    /// When it is neither of the words.
    pub fn is_json(&self) -> Result<bool, SettingError> {
        match self.log_format.as_str() {
            "json" => Ok(true),
            "text" => Ok(false),
            other => Err(SettingError(format!(
                "CONSUMABLE_LOG_FORMAT is {other:?}, which is neither text nor json"
            ))),
        }
    }
}

impl LogSetting {
    /// The filter for tracing-subscriber.
    ///
    /// # Errors
    /// When it is not a filter.
    pub fn filter(&self) -> Result<EnvFilter, SettingError> {
        EnvFilter::try_new(&self.log).map_err(|error| {
            SettingError(format!(
                "RUST_LOG is {:?}, which is not a log filter: {error}",
                self.log
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_log_setting_is_one_sentence() {
        let filter = LogSetting { log: "info,=".into() }.filter();
        assert!(filter.unwrap_err().to_string().starts_with("RUST_LOG is"));
        let format = |word: &str| LogFormatSetting {
            log_format: word.to_owned(),
        };
        assert!(format("json").is_json().unwrap());
        assert!(!format("text").is_json().unwrap());
        let sentence = format("JSON").is_json().unwrap_err().to_string();
        assert!(sentence.starts_with("CONSUMABLE_LOG_FORMAT is \"JSON\""), "{sentence}");
    }
}
