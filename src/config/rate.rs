//! `CONSUMABLE_KEY_RATE`: how many requests one caller may send.

use clap::Args;

use super::SettingError;

/// Requests of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In a second, on the whole.
    pub per_second: u32,
    /// At once, after a silence.
    pub at_once: u32,
}

/// `CONSUMABLE_KEY_RATE`: how many requests each key, and the users of each workspace together, may send to this gateway.
#[derive(Debug, Clone, Args)]
pub struct KeyRateSetting {
    /// Requests a second of each key, and of each workspace's users together, such as 500; or with how many may come at once, such as
    /// 500/2000.
    ///
    /// Each 1 to 1000000; at once, unless it is said, twice as many as in a second. What comes beyond is answered 429
    /// KEY_RATE_EXCEEDED. Without it there is no bound: then all callers together share what the gateway can do.
    // No default: whatever number we chose would one day refuse uses of somebody who never chose it. That all callers together do not
    // bring the gateway down is OVERLOADED's, always; this keeps one of them from taking what the others need.
    #[arg(long, env = "CONSUMABLE_KEY_RATE", value_name = "RATE[/AT_ONCE]")]
    key_rate: Option<String>,
}

impl KeyRateSetting {
    /// The bound, none where the setting is missing or empty.
    ///
    /// # Errors
    /// When it is not one whole number, or two with a slash between, from 1 to 1,000,000.
    pub fn rate(&self) -> Result<Option<Rate>, SettingError> {
        let text = self.key_rate.as_deref().unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        let number = |text: &str| text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
        let rate = match text.split_once('/') {
            Some((per_second, at_once)) => number(per_second).zip(number(at_once)),
            None => number(text).map(|per_second| (per_second, 2 * per_second)),
        };
        match rate {
            Some((per_second, at_once)) => Ok(Some(Rate { per_second, at_once })),
            None => Err(SettingError(format!(
                "CONSUMABLE_KEY_RATE is {text:?}, which is not a number of requests from 1 to 1000000, nor two such as 500/2000"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_rate_is_one_sentence() {
        let rate = |text: &str| {
            let key_rate = Some(text.to_owned());
            KeyRateSetting { key_rate }.rate().map_err(|error| error.to_string())
        };
        let of = |per_second, at_once| Ok(Some(Rate { per_second, at_once }));
        assert_eq!(KeyRateSetting { key_rate: None }.rate().unwrap(), None);
        for (text, expected) in [
            ("", Ok(None)),
            ("1", of(1, 2)),
            ("500", of(500, 1_000)),
            ("500/2000", of(500, 2_000)),
            ("1000000/1", of(1_000_000, 1)),
        ] {
            assert_eq!(rate(text), expected, "{text}");
        }
        for wrong in ["0", "off", "-1", "1.5", "1000001", "5/", "/5", "5/0", "5/6/7", "5 / 6"] {
            let sentence = rate(wrong).unwrap_err();
            assert!(
                sentence.starts_with("CONSUMABLE_KEY_RATE is") && sentence.contains("1 to 1000000"),
                "{sentence}"
            );
        }
    }
}
