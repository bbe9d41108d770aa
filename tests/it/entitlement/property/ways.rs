//! The ways by which uses go, and what each tells of them, in one form.

use std::fmt;
use std::str::FromStr;

use consumable::procedures::entitlement::Outcome;
use mysql_async::Row;

use super::model::Figures;
use super::run::{figures, figures_of};
use crate::support::story::answer;

/// By which ways the uses of a sequence go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Each step's by one call.
    Calls,
    /// All by lanes.
    Lanes,
    /// Sometimes so, sometimes so.
    Mixed,
}

impl Mode {
    /// What a step may go by.
    pub fn ways(self) -> &'static [Way] {
        match self {
            Mode::Calls => &[Way::Call],
            Mode::Lanes => &[Way::Lanes, Way::LanesOneByOne],
            Mode::Mixed => &[Way::Call, Way::Lanes, Way::LanesOneByOne],
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "calls" => Ok(Mode::Calls),
            "lanes" => Ok(Mode::Lanes),
            "mixed" => Ok(Mode::Mixed),
            other => Err(format!("a mode is calls, lanes or mixed, not {other}")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Calls => "calls",
            Mode::Lanes => "lanes",
            Mode::Mixed => "mixed",
        })
    }
}

/// The way by which requests go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// In one call of the sequence's session.
    Call,
    /// Through lanes, all at the same time.
    Lanes,
    /// Through lanes, each when the one before it is answered.
    LanesOneByOne,
}

/// What an item was answered, by whichever way.
pub struct Told {
    pub outcome: String,
    pub replayed: bool,
    pub problem: Option<String>,
    pub refused_code: Option<String>,
    /// Lanes do not tell of what failed.
    pub said: Option<Figures>,
}

impl Told {
    /// Of a row of a call.
    pub fn by_row(row: &Row) -> Told {
        let answer = answer(row);
        Told {
            outcome: answer.outcome,
            replayed: answer.replayed,
            problem: answer.problem.as_deref().map(code_in),
            refused_code: answer.refused_code,
            said: Some(figures(row)),
        }
    }

    /// Of a request that went through lanes.
    pub fn by_outcomes(outcomes: &[Outcome]) -> Vec<Told> {
        let refused_by: Vec<&str> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Refused {
                    refused_by_this: true,
                    refusal,
                } => Some(refusal.limitation.code.as_str()),
                _ => None,
            })
            .collect();
        let tell = |outcome: &Outcome| {
            let (outcome, replayed, problem, limitation) = match outcome {
                Outcome::Accepted {
                    replayed, limitation, ..
                } => ("accepted", *replayed, None, Some(limitation)),
                Outcome::Refused { refusal, .. } => ("refused", false, Some(&refusal.error), Some(&refusal.limitation)),
                Outcome::Failed(error) => ("failed", false, Some(error), None),
            };
            Told {
                outcome: outcome.to_owned(),
                replayed,
                problem: problem.map(|error| code_in(&error.to_string())),
                refused_code: (outcome == "refused").then(|| refused_by.join(" and ")),
                said: limitation.map(figures_of),
            }
        };
        outcomes.iter().map(tell).collect()
    }
}

/// The code in `CODE: text`.
pub fn code_in(problem: &str) -> String {
    problem.split(':').next().unwrap().to_owned()
}
