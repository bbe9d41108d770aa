//! The other ways to ask for what `entitlement_limitations_v1` says.

use consumable::procedures::entitlement::{LimitationsRequest, limitations_batch};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::{Value as Json, json};

use super::plan::text;
use super::rules::Type;
use super::run::{Difference, Run, figures, figures_of, same};

impl Run<'_> {
    /// The checks, of one subject and of many: what may be used by one more than there is, and their figures. Then as gateways ask for many
    /// subjects at once.
    pub async fn ask_in_every_way(&mut self) -> Result<(), Difference> {
        for (subject, limits) in self.subjects.iter().zip(&self.limits) {
            let asked: Vec<i64> = limits.iter().map(|limit| limit.figures().available + 1).collect();
            for less in [0, 1] {
                let amounts: Vec<i64> = asked.iter().map(|amount| (amount - less).max(1)).collect();
                let items: Json = limits
                    .iter()
                    .zip(&amounts)
                    .map(|(limit, amount)| json!({"limitationCode": limit.rules.code, "amount": amount}))
                    .collect();
                let rows: Vec<Row> = self
                    .session
                    .exec("CALL entitlement_check_v1(?, ?)", (subject, items.to_string()))
                    .await?;
                for ((row, limit), amount) in rows.iter().zip(limits).zip(&amounts) {
                    let what = format!(
                        "check of {amount} {} of subject {subject} at {}",
                        limit.rules.code,
                        text(self.now)
                    );
                    let allowed = limit.rules.kind != Type::State && limit.allows(*amount);
                    same(
                        &what,
                        (row.get("allowed").unwrap(), figures(row)),
                        (allowed, limit.figures()),
                    )?;
                }
                same("rows of a check", rows.len(), limits.len())?;
            }
        }
        let codes: Vec<&str> = self.limits[0].iter().map(|limit| limit.rules.code).collect();
        let rows: Vec<Row> = self
            .session
            .exec(
                "CALL entitlement_check_batch_v1(?, ?, NULL)",
                (json!(self.subjects).to_string(), json!(codes).to_string()),
            )
            .await?;
        same("rows of a batch", rows.len(), self.subjects.len() * codes.len())?;
        for (row, limit) in rows.iter().zip(self.limits.iter().flatten()) {
            let says = limit.figures();
            let allowed = if limit.rules.kind == Type::State {
                says.granted > 0
            } else {
                limit.allows(1)
            };
            let what = format!("batch: {} at {}", limit.rules.code, text(self.now));
            let found: (bool, i64) = (row.get("allowed").unwrap(), row.get("available_amount").unwrap());
            same(&what, found, (allowed, says.available))?;
        }
        let requests = self.subjects.iter().map(|subject_id| LimitationsRequest {
            subject_id: *subject_id,
            held_only: false,
        });
        let answers = limitations_batch(&self.gateway.database, &requests.collect::<Vec<_>>()).await?;
        for (answer, limits) in answers.iter().zip(&self.limits) {
            let answer = answer.as_ref().expect("the subject is there");
            same("whether anything is due", answer.is_due, false)?;
            for limit in limits {
                let limitation = answer
                    .limitations
                    .iter()
                    .find(|limitation| limitation.code == limit.rules.code)
                    .expect("each definition has a row");
                let what = format!("at once: {} at {}", limit.rules.code, text(self.now));
                same(&what, figures_of(limitation), limit.figures())?;
            }
        }
        same("answers at once", answers.len(), self.limits.len())
    }
}
