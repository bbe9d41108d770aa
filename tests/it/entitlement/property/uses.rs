//! Uses and holds of a sequence, and what they should be answered.

use std::sync::Arc;

use consumable::procedures::entitlement::{ConsumeItem, ConsumeRequest};
use mysql_async::prelude::Queryable;
use mysql_async::{Error, Row};

use super::model::Figures;
use super::plan::{NewHold, Request};
use super::rules::{Enforcement, Type};
use super::run::{Accepted, Difference, Held, Run, figures, same};
use super::ways::{Told, Way, code_in};

impl Run<'_> {
    pub async fn consume(&mut self, way: Way, requests: &[Request]) -> Result<(), Difference> {
        let at_once = if way == Way::LanesOneByOne { 1 } else { requests.len() };
        for requests in requests.chunks(at_once) {
            let told = self.send(way, requests).await?;
            self.compare_with(requests, told)?;
        }
        Ok(())
    }

    /// What each item of requests that go together is told.
    async fn send(&mut self, way: Way, requests: &[Request]) -> Result<Vec<Told>, Difference> {
        let sent: Vec<ConsumeRequest> = requests
            .iter()
            .map(|request| ConsumeRequest {
                subject_id: self.subjects[request.subject],
                usage_event_key: Some(format!("use-{}", request.key)),
                request_id: None,
                items: request
                    .items
                    .iter()
                    .map(|(limit, amount)| item(self.code(*limit), *amount))
                    .collect(),
            })
            .collect();
        let body = serde_json::to_string(&sent)?;
        self.log
            .push(format!("CALL entitlement_consume_v1('{body}'); -- {way:?}"));
        if way == Way::Call {
            let rows: Vec<Row> = self.session.exec("CALL entitlement_consume_v1(?)", (body,)).await?;
            return Ok(rows.iter().map(Told::by_row).collect());
        }
        let lanes = &self.gateway.lanes;
        let answers = match <[ConsumeRequest; 1]>::try_from(sent) {
            Ok([alone]) => vec![lanes.consume(alone).await],
            Err(sent) => lanes.consume_all(sent).await,
        };
        let mut told = Vec::new();
        for (answered, request) in answers.into_iter().zip(requests) {
            let outcomes = answered?;
            same("outcomes of a request", outcomes.len(), request.items.len())?;
            told.extend(Told::by_outcomes(&outcomes));
        }
        Ok(told)
    }

    fn compare_with(&mut self, requests: &[Request], told: Vec<Told>) -> Result<(), Difference> {
        let items: usize = requests.iter().map(|request| request.items.len()).sum();
        same("answers to items", told.len(), items)?;
        // A limit that only warns begins when it is first asked for.
        for request in requests {
            for (limit, _) in &request.items {
                let limit = &mut self.limits[request.subject][*limit];
                if limit.rules.enforcement == Enforcement::Warn {
                    limit.open();
                }
            }
        }
        let decided: Vec<Vec<Expected>> = requests.iter().map(|request| self.decide(request)).collect();
        let mut told = told.into_iter();
        for (number, (request, expected)) in requests.iter().zip(decided).enumerate() {
            for (item, (((limit, _), expected), told)) in request.items.iter().zip(expected).zip(&mut told).enumerate()
            {
                let what = format!("request {} item {}", number + 1, item + 1);
                same(
                    &what,
                    (
                        told.outcome.as_str(),
                        told.replayed,
                        told.problem.as_deref(),
                        told.refused_code.as_deref(),
                    ),
                    (
                        expected.outcome,
                        expected.replayed,
                        expected.problem,
                        expected.refused_code,
                    ),
                )?;
                // What was not accepted is told the limit as it is after the call, but for the amounts that it was refused on.
                let now = self.limits[request.subject][*limit].figures();
                let said = match expected.said {
                    Some(then) if expected.outcome == "accepted" => then,
                    Some(then) => Figures {
                        over_limit: now.over_limit,
                        is_locked: now.is_locked,
                        next_change_at: now.next_change_at,
                        ..then
                    },
                    None => now,
                };
                same(&what, told.said.unwrap_or(said), said)?;
            }
        }
        Ok(())
    }

    /// What a request should be answered, item by item.
    fn decide(&mut self, request: &Request) -> Vec<Expected> {
        let known: Vec<Arc<Accepted>> = request
            .items
            .iter()
            .filter_map(|(limit, _)| self.accepted.get(&(request.subject, request.key, *limit)))
            .cloned()
            .collect();
        let all = |expected: Expected| vec![expected; request.items.len()];
        if let Some(first) = known.first().filter(|first| first.items == request.items) {
            return first
                .answers
                .iter()
                .map(|said| Expected {
                    replayed: true,
                    said: Some(*said),
                    ..Expected::default()
                })
                .collect();
        }
        let limits = &mut self.limits[request.subject];
        let failed = |problem| Expected {
            outcome: "failed",
            problem: Some(problem),
            ..Expected::default()
        };
        if request
            .items
            .iter()
            .any(|(limit, _)| limits[*limit].rules.kind == Type::State)
        {
            return all(failed("NOT_CONSUMABLE"));
        }
        if !known.is_empty() {
            return all(failed("IDEMPOTENCY_CONFLICT"));
        }
        if let Some((limit, _)) = request
            .items
            .iter()
            .find(|(limit, amount)| !limits[*limit].allows(*amount))
        {
            let refused = &limits[*limit];
            let problem = if refused.rules.kind == Type::Capacity {
                "BILLING_CAPACITY_LOCKED"
            } else {
                "BILLING_LIMIT_EXCEEDED"
            };
            return request
                .items
                .iter()
                .map(|(item, _)| Expected {
                    outcome: "refused",
                    problem: Some(problem),
                    refused_code: Some(refused.rules.code),
                    said: (item == limit).then(|| refused.figures()),
                    ..Expected::default()
                })
                .collect();
        }
        let mut answers = Vec::new();
        for (limit, amount) in &request.items {
            limits[*limit].consume(*amount);
            answers.push(limits[*limit].figures());
        }
        let accepted = Arc::new(Accepted {
            items: request.items.clone(),
            answers: answers.clone(),
        });
        for (limit, _) in &request.items {
            self.accepted
                .insert((request.subject, request.key, *limit), accepted.clone());
        }
        answers
            .into_iter()
            .map(|said| Expected {
                said: Some(said),
                ..Expected::default()
            })
            .collect()
    }

    pub async fn hold(&mut self, new: &NewHold) -> Result<(), Difference> {
        let call = format!(
            "CALL entitlement_hold_v1({}, NULL, '{}', {}, {}, 'hold-{}', NULL, NULL)",
            self.subjects[new.subject],
            self.code(new.limit),
            new.amount,
            new.ttl_seconds,
            new.key
        );
        self.log.push(format!("{call};"));
        let answered: Result<Option<Row>, Error> = self.session.query_first(call).await;
        let limit = &mut self.limits[new.subject][new.limit];
        let key = (new.subject, new.limit, new.key);
        if limit.rules.kind == Type::State {
            let code = answered.err().map(|error| code_of(&error));
            return same("hold of a state", code.as_deref(), Some("NOT_CONSUMABLE"));
        }
        if let Some(first) = self.hold_keys.get(&key).map(|first| &self.holds[*first]) {
            return if (first.amount, first.ttl_seconds) == (new.amount, new.ttl_seconds) {
                let row = answered?.unwrap();
                same("whose hold it is", row.get("hold_id"), Some(first.id))?;
                same_answer("a hold again", &row, true, None, first.made)
            } else {
                let code = answered.err().map(|error| code_of(&error));
                same(
                    "another hold with its key",
                    code.as_deref(),
                    Some("IDEMPOTENCY_CONFLICT"),
                )
            };
        }
        let row = answered?.unwrap();
        if limit.rules.enforcement == Enforcement::Warn {
            limit.open();
        }
        if !limit.allows(new.amount) {
            let problem = if limit.rules.kind == Type::Capacity {
                "BILLING_CAPACITY_LOCKED"
            } else {
                "BILLING_LIMIT_EXCEEDED"
            };
            return same_answer("a hold", &row, false, Some(problem), limit.figures());
        }
        let id = row.get::<Option<u64>, _>("hold_id").unwrap().unwrap_or(0);
        limit.hold(id, new.amount, self.now + new.ttl_seconds * 1000);
        let made = limit.figures();
        self.hold_keys.insert(key, self.holds.len());
        self.holds.push(Held {
            id,
            subject: new.subject,
            limit: new.limit,
            amount: new.amount,
            ttl_seconds: new.ttl_seconds,
            made,
            resolved: None,
        });
        same_answer("a hold", &row, false, None, made)
    }

    /// Commits an amount or, where there is none, all of a hold; or releases it.
    pub async fn resolve(&mut self, hold: usize, commit: Option<Option<i64>>) -> Result<(), Difference> {
        if self.holds.is_empty() {
            return Ok(());
        }
        let number = hold % self.holds.len();
        let held = &mut self.holds[number];
        let call = match commit {
            Some(amount) => format!(
                "CALL entitlement_commit_hold_v1({}, {})",
                held.id,
                amount.map_or("NULL".to_owned(), |amount| amount.to_string())
            ),
            None => format!("CALL entitlement_release_hold_v1({})", held.id),
        };
        self.log.push(format!("{call};"));
        let answered: Result<Option<Row>, Error> = self.session.query_first(call).await;
        let used = commit.map_or(0, |amount| amount.unwrap_or(held.amount));
        let limit = &mut self.limits[held.subject][held.limit];
        let expected = match held.resolved {
            Some((first, answer)) if first == used => Ok((true, answer)),
            Some(_) => Err("HOLD_ALREADY_RESOLVED"),
            None => match limit.held_by(held.id) {
                None => Err("HOLD_EXPIRED"),
                Some(amount) if used > amount => Err("HOLD_AMOUNT_EXCEEDED"),
                Some(_) => {
                    limit.end_hold(held.id);
                    if used > 0 {
                        limit.consume(used);
                    }
                    let answer = limit.figures();
                    held.resolved = Some((used, answer));
                    Ok((false, answer))
                }
            },
        };
        match expected {
            Ok((replayed, answer)) => {
                let row = answered?.unwrap();
                same_answer("ending a hold", &row, replayed, None, answer)
            }
            Err(code) => {
                let found = answered.err().map(|error| code_of(&error));
                same("ending a hold", found.as_deref(), Some(code))
            }
        }
    }
}

/// The code of an error that a procedure raised.
fn code_of(error: &Error) -> String {
    match error {
        Error::Server(server) => code_in(&server.message),
        other => panic!("{other}"),
    }
}

fn item(code: &str, amount: i64) -> ConsumeItem {
    ConsumeItem {
        capability: None,
        limitation_code: Some(code.to_owned()),
        amount: Some(amount),
        reason_code: None,
        occurred_at: None,
        metadata: None,
    }
}

/// What an item should be answered.
#[derive(Clone)]
struct Expected {
    outcome: &'static str,
    replayed: bool,
    problem: Option<&'static str>,
    refused_code: Option<&'static str>,
    said: Option<Figures>,
}

impl Default for Expected {
    fn default() -> Expected {
        Expected {
            outcome: "accepted",
            replayed: false,
            problem: None,
            refused_code: None,
            said: None,
        }
    }
}

fn same_answer(what: &str, row: &Row, replayed: bool, problem: Option<&str>, model: Figures) -> Result<(), Difference> {
    let found: Option<String> = row.get("problem").unwrap();
    let found = found.as_deref().map(code_in);
    same(
        what,
        (row.get("replayed").unwrap(), found.as_deref(), figures(row)),
        (replayed, problem, model),
    )
}
