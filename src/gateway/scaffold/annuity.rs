//! `/api/annuityCalculator` and `/api/history`: work of which so much may be done in a month.
//!
//! Decimal numbers come as JSON numbers or as strings and are read digit by digit; they go as strings, which no client rounds.

use rust_decimal::Decimal;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json as value};
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::sums::{self, Mode, Timing};
use crate::error::Code;
use crate::gateway::application::{Admission, Admitted, admitted, answer};
use crate::gateway::billing::refusal::refused;
use crate::gateway::description::{Description, Operation};
use crate::gateway::problem::Problem;
use crate::gateway::request::{Answer, first_of, json};
use crate::gateway::views::{self, Instant, List};
use crate::gateway::wire::{Text, Whole, required};
use crate::procedures::scaffold::{self, Written};

/// Decimals of a payment and of a rate: a tenth of a billionth. With them 28 digits leave a result its ten places.
const SCALE: u32 = 10;

/// Whole digits of a payment.
const PAYMENT_BOUND: i64 = 1_000_000_000_000;

const PAYMENTS_PER_YEAR: [i64; 6] = [1, 2, 4, 12, 26, 52];

/// The routes of calculations.
pub fn routes(admission: &BoxedFilter<(Admission,)>) -> BoxedFilter<(Response,)> {
    let calculator = path!("api" / "annuityCalculator")
        .and(admission.clone())
        .then(|admission| answer(admission, calculator));
    let history = path!("api" / "history")
        .and(admission.clone())
        .then(|admission| answer(admission, history));
    first_of([calculator.boxed(), history.boxed()])
}

/// What the routes take and answer.
pub fn describe(description: &mut Description) {
    let calculator = Operation::post(
        "calculateAnnuity",
        "/api/annuityCalculator",
        "What an annuity is worth, and a calculation of the month",
    );
    let example = value!({"payment": "100", "annualRate": "0.05", "years": 10, "paymentsPerYear": 12, "mode": "pv", "timing": "ordinary"});
    description.add(
        admitted(calculator)
            .once()
            .content(schema())
            .example(example)
            .makes::<CalculationAnswer>()
            .refuses(&[
                Code::DefinitionNotFound,
                Code::DefinitionInactive,
                Code::NotConsumable,
                Code::BillingLimitExceeded,
                Code::BillingCapacityLocked,
            ]),
    );
    let history = Operation::get("annuityHistory", "/api/history", "What was calculated, newest first");
    description.add(
        admitted(history)
            .page_by_id()
            .answers::<List<Calculation>>(200, "A page of calculations"),
    );
}

/// The schema of a body. Numbers come as texts, too, which no client rounds.
fn schema() -> Value {
    let decimal = |pattern: &str, number: Value| value!({"oneOf": [{"type": "string", "pattern": pattern}, number]});
    value!({
        "type": "object",
        "properties": {
            "payment": decimal("^[1-9][0-9]{0,9}([.][0-9]{1,10})?$", value!({"type": "integer", "minimum": 1, "exclusiveMaximum": PAYMENT_BOUND})),
            "annualRate": decimal("^0([.][0-9]{1,10})?$", value!({"type": "integer", "minimum": 0, "maximum": 1})),
            "years": {"type": "integer", "minimum": 1, "maximum": 100},
            "paymentsPerYear": {"enum": PAYMENTS_PER_YEAR},
            "mode": {"enum": ["pv", "fv"]},
            "timing": {"enum": ["ordinary", "due"]},
        },
        "required": ["payment", "annualRate", "years", "paymentsPerYear", "mode", "timing"],
        "additionalProperties": false,
    })
}

/// A decimal number, as it was written.
struct Number(Decimal);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = match serde_json::from_str::<Value>(raw.get()) {
            Ok(Value::String(text)) => text,
            Ok(Value::Number(_)) => raw.get().to_owned(),
            _ => return Err(de::Error::custom("must be a decimal number")),
        };
        let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-'));
        let number = match is_plain {
            true => Decimal::from_str_exact(&text),
            false => Decimal::from_scientific(&text),
        };
        let sentence = "must be a decimal number such as 12.5, of at most 28 digits";
        number.map(Number).map_err(|_| de::Error::custom(sentence))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Calculate {
    payment: Option<Number>,
    annual_rate: Option<Number>,
    years: Option<Whole>,
    payments_per_year: Option<Whole>,
    mode: Option<Text<16>>,
    timing: Option<Text<16>>,
}

/// What is calculated, all of it within its bounds.
struct Inputs {
    payment: Decimal,
    annual_rate: Decimal,
    years: u32,
    payments_per_year: u32,
    mode: Mode,
    timing: Timing,
}

impl Calculate {
    fn check(self) -> Result<Inputs, Problem> {
        let wrong = |field: &str, text: &str| Err(Problem::field(field, text));
        let payment = required("payment", self.payment)?.0;
        if payment <= Decimal::ZERO || payment >= Decimal::from(PAYMENT_BOUND) || payment.normalize().scale() > SCALE {
            return wrong(
                "payment",
                "must be more than 0 and less than 1000000000000, with at most 10 decimals",
            );
        }
        let annual_rate = required("annualRate", self.annual_rate)?.0;
        if annual_rate < Decimal::ZERO || annual_rate > Decimal::ONE || annual_rate.normalize().scale() > SCALE {
            return wrong("annualRate", "must be 0 to 1, 0.05 being 5 %, with at most 10 decimals");
        }
        let years = match required("years", self.years)?.0 {
            years @ 1..=100 => years as u32,
            _ => return wrong("years", "must be a whole number from 1 to 100"),
        };
        let payments_per_year = match required("paymentsPerYear", self.payments_per_year)?.0 {
            number if PAYMENTS_PER_YEAR.contains(&number) => number as u32,
            _ => return wrong("paymentsPerYear", "must be 1, 2, 4, 12, 26 or 52"),
        };
        let mode = match required("mode", self.mode)?.0.as_str() {
            "pv" => Mode::Present,
            "fv" => Mode::Future,
            _ => return wrong("mode", "must be pv or fv"),
        };
        let timing = match required("timing", self.timing)?.0.as_str() {
            "ordinary" => Timing::Ordinary,
            "due" => Timing::Due,
            _ => return wrong("timing", "must be ordinary or due"),
        };
        Ok(Inputs {
            payment,
            annual_rate,
            years,
            payments_per_year,
            mode,
            timing,
        })
    }
}

impl Inputs {
    fn result(&self) -> Result<Decimal, Problem> {
        let rate = self.annual_rate / Decimal::from(self.payments_per_year);
        let periods = self.years * self.payments_per_year;
        sums::value(self.payment, rate, periods, self.mode, self.timing)
            .ok_or_else(|| Problem::field("payment", "grows to 10^18 or more: pay less, or for fewer years"))
    }

    /// As they are kept and shown: one number has one form, however it was written.
    fn to_json(&self) -> Value {
        value!({
            "payment": self.payment.normalize().to_string(),
            "annualRate": self.annual_rate.normalize().to_string(),
            "years": self.years,
            "paymentsPerYear": self.payments_per_year,
            "mode": match self.mode { Mode::Present => "pv", Mode::Future => "fv" },
            "timing": match self.timing { Timing::Ordinary => "ordinary", Timing::Due => "due" },
        })
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Calculation {
    id: u64,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    inputs: Value,
    result: String,
    created_at: Instant,
}

impl From<scaffold::Calculation> for Calculation {
    fn from(row: scaffold::Calculation) -> Self {
        Calculation {
            id: row.id,
            inputs: row.inputs,
            result: row.result,
            created_at: Instant(row.created_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct CalculationAnswer {
    calculation: Calculation,
    limitation: views::Limitation,
}

async fn calculator(mut admitted: Admitted) -> Answer {
    if admitted.request.method().as_str() != "POST" {
        return Err(Problem::method("POST"));
    }
    let body: Calculate = admitted.request.json().await?;
    let key = admitted.request.idempotency_key()?;
    let inputs = body.check()?;
    let result = inputs.result()?.to_string();
    let gateway = &admitted.request.gateway;
    let written = scaffold::record_annuity(
        &gateway.database,
        admitted.subject_id,
        key.as_deref(),
        &inputs.to_json(),
        &result,
    )
    .await?;
    match written {
        Written::Done(row, limitation) => {
            let status = match row.replayed {
                true => StatusCode::OK,
                false => StatusCode::CREATED,
            };
            gateway.relay.written();
            let (calculation, limitation) = (row.into(), (*limitation).into());
            Ok(json(
                status,
                &CalculationAnswer {
                    calculation,
                    limitation,
                },
            ))
        }
        Written::Refused(refusal) => Err(refused(*refusal)),
    }
}

async fn history(admitted: Admitted) -> Answer {
    if admitted.request.method().as_str() != "GET" {
        return Err(Problem::method("GET"));
    }
    let page = admitted.request.page()?;
    let database = &admitted.request.gateway.database;
    let rows = scaffold::annuity_history(database, admitted.subject_id, page.after, page.limit + 1).await?;
    let list: List<Calculation> = List::new(rows, page.limit, |row| row.id.to_string());
    Ok(json(StatusCode::OK, &list))
}
