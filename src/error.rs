//! What can go wrong. One [`Code`] per row of `sql/errors.csv`, plus the ways in which the database can fail to answer.
//!
//! Nothing here knows HTTP: status and title are only columns of the [`catalogue`], which the gateway reads.

use std::sync::LazyLock;

/// One row of `sql/errors.csv`, the source of every code.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Entry {
    /// MySQL error number of the SIGNAL, 52000 to 52999.
    pub number: u16,
    /// Name, such as `VALIDATION_FAILED`; the SIGNAL's text begins with it.
    pub code: String,
    /// HTTP status, for the gateway.
    pub status: u16,
    /// One sentence for people, the same for every occurrence.
    pub title: String,
}

/// The rows of `sql/errors.csv`, in its order.
pub fn catalogue() -> &'static [Entry] {
    static ROWS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        csv::Reader::from_reader(include_str!("../sql/errors.csv").as_bytes())
            .deserialize()
            .collect::<Result<_, _>>()
            .expect("sql/errors.csv is compiled in and read by a test")
    });
    &ROWS
}

macro_rules! codes {
    ($($number:literal $variant:ident $name:literal)*) => {
        /// The rule that refused. A test keeps the variants equal to `sql/errors.csv`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each variant is explained by its row's title")]
        pub enum Code { $($variant = $number),* }

        impl Code {
            /// Every code, in the order of the file.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The name in SIGNAL texts and in answers, such as `VALIDATION_FAILED`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }
        }
    };
}

codes! {
    52001 ValidationFailed "VALIDATION_FAILED"
    52002 IdempotencyKeyRequired "IDEMPOTENCY_KEY_REQUIRED"
    52003 TransactionOpen "TRANSACTION_OPEN"
    52101 SubjectNotFound "SUBJECT_NOT_FOUND"
    52102 DefinitionNotFound "DEFINITION_NOT_FOUND"
    52103 CapabilityNotFound "CAPABILITY_NOT_FOUND"
    52104 GrantNotFound "GRANT_NOT_FOUND"
    52105 ApiKeyNotFound "API_KEY_NOT_FOUND"
    52106 BalanceNotFound "BALANCE_NOT_FOUND"
    52107 PlanNotFound "PLAN_NOT_FOUND"
    52108 ProductNotFound "PRODUCT_NOT_FOUND"
    52109 HoldNotFound "HOLD_NOT_FOUND"
    52110 AssignmentNotFound "ASSIGNMENT_NOT_FOUND"
    52111 PurchaseNotFound "PURCHASE_NOT_FOUND"
    52112 EventNotFound "EVENT_NOT_FOUND"
    52201 IdempotencyConflict "IDEMPOTENCY_CONFLICT"
    52202 GrantEnded "GRANT_ENDED"
    52203 ProviderCustomerTaken "PROVIDER_CUSTOMER_TAKEN"
    52204 CodeTaken "CODE_TAKEN"
    52205 HoldExpired "HOLD_EXPIRED"
    52206 HoldAlreadyResolved "HOLD_ALREADY_RESOLVED"
    52207 HoldAmountExceeded "HOLD_AMOUNT_EXCEEDED"
    52208 PriceTaken "PRICE_TAKEN"
    52210 PlanArchived "PLAN_ARCHIVED"
    52211 VersionConflict "VERSION_CONFLICT"
    52301 OccurredAtOutsideWindow "OCCURRED_AT_OUTSIDE_WINDOW"
    52302 DefinitionInactive "DEFINITION_INACTIVE"
    52303 NotConsumable "NOT_CONSUMABLE"
    52304 UnknownEntitlementCode "UNKNOWN_ENTITLEMENT_CODE"
    52401 BillingLimitExceeded "BILLING_LIMIT_EXCEEDED"
    52402 BillingCapacityLocked "BILLING_CAPACITY_LOCKED"
    52901 SettlementStuck "SETTLEMENT_STUCK"
    52902 EventNotApplied "EVENT_NOT_APPLIED"
}

impl Code {
    /// The MySQL error number of the SIGNAL.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The code of a MySQL error number; `None` when no row has it.
    pub fn from_number(number: u16) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The code of a name, such as a row of a result has; `None` when no row of the catalogue has it.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }
}

/// Why the database gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A rule refused: a procedure raised a SIGNAL of the catalogue.
    #[error("{}: {text}", code.name())]
    Rule {
        /// Which rule.
        code: Code,
        /// Path of the wrong field, for [`Code::ValidationFailed`].
        field: Option<String>,
        /// One sentence on this occurrence, without the code.
        text: String,
    },
    /// The server cannot be reached, was lost, or did not answer in time. What became of a write is unknown: repeat it
    /// with the same idempotency key. The text is for logs.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The server answers but has no room: too many connections, or locks that were not free after several attempts.
    #[error("the database is overloaded: {0}")]
    Overloaded(String),
    /// A mistake in the program, its procedures or its deployment. The text is for logs and for the operator.
    #[error("{0}")]
    Internal(String),
}

/// The numbers that `sql/errors.csv` may use.
const SIGNALS: std::ops::RangeInclusive<u16> = 52000..=52999;

impl Error {
    /// Reads a SIGNAL: `CODE: text`, and for VALIDATION_FAILED `CODE: fieldPath: text`.
    /// `None` when `number` is not a number of ours; [`Error::Internal`] when it is but the catalogue lacks it.
    pub(crate) fn from_signal(number: u16, message: &str) -> Option<Error> {
        if !SIGNALS.contains(&number) {
            return None;
        }
        let Some(code) = Code::from_number(number) else {
            return Some(Error::Internal(format!(
                "a procedure raised {number}, which sql/errors.csv lacks: {message}"
            )));
        };
        let text = message
            .strip_prefix(code.name())
            .and_then(|rest| rest.strip_prefix(':'))
            .map_or(message, str::trim_start);
        // A path has no blanks, so that a text with a colon of its own is not taken for one.
        let path = text.split_once(": ").filter(|(path, _)| !path.contains(' '));
        let (field, text) = match path {
            Some((path, text)) if code == Code::ValidationFailed => (Some(path.to_owned()), text),
            _ => (None, text),
        };
        Some(Error::Rule {
            code,
            field,
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_the_rows_of_the_file() {
        let rows: Vec<_> = catalogue().iter().map(|row| (row.number, row.code.as_str())).collect();
        let codes: Vec<_> = Code::ALL.iter().map(|code| (code.number(), code.name())).collect();
        assert_eq!(codes, rows);
    }

    #[test]
    fn a_variant_is_spelt_like_its_code() {
        for code in Code::ALL {
            assert_eq!(format!("{code:?}").to_uppercase(), code.name().replace('_', ""));
        }
    }

    #[test]
    fn numbers_and_titles_fit_their_bounds() {
        for row in catalogue() {
            assert!(SIGNALS.contains(&row.number), "{}", row.code);
            assert!(
                (400..600).contains(&row.status) && !row.title.is_empty(),
                "{}",
                row.code
            );
        }
    }

    #[test]
    fn a_signal_is_read_by_its_parts() {
        let rule = |code, field: Option<&str>, text: &str| {
            Some(Error::Rule {
                code,
                field: field.map(str::to_owned),
                text: text.to_owned(),
            })
        };
        assert_eq!(
            Error::from_signal(52001, "VALIDATION_FAILED: items[0].amount: must be 1 to 10"),
            rule(Code::ValidationFailed, Some("items[0].amount"), "must be 1 to 10")
        );
        assert_eq!(
            Error::from_signal(52001, "VALIDATION_FAILED: the body is empty: send one"),
            rule(Code::ValidationFailed, None, "the body is empty: send one")
        );
        assert_eq!(
            Error::from_signal(52101, "SUBJECT_NOT_FOUND: no entity: ent_1"),
            rule(Code::SubjectNotFound, None, "no entity: ent_1")
        );
        assert!(matches!(Error::from_signal(52999, "X: y"), Some(Error::Internal(_))));
        assert_eq!(Error::from_signal(1062, "Duplicate entry"), None);
    }
}
