//! What an annuity is worth: plain decimal arithmetic with 28 digits, and no float.

use rust_decimal::Decimal;

/// Places of a result, rounded half to even.
pub const PLACES: u32 = 10;

/// Results stay below this: above it a [`Decimal`] has fewer places than [`PLACES`].
const BOUND: Decimal = Decimal::from_parts(2_808_348_672, 232_830_643, 0, false, 0);

/// As of when payments are valued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What all payments are worth before the first of them.
    Present,
    /// What all payments have become after the last of them.
    Future,
}

/// When in its period a payment is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// At its end.
    Ordinary,
    /// At its beginning.
    Due,
}

/// The value of `periods` payments at `rate` a period; `None` when it is 10^18 or more, or anything on the way to it is too
/// large.
///
/// Payment by payment, as the definition says: no case for a rate of zero, and no difference of two large numbers.
pub fn value(payment: Decimal, rate: Decimal, periods: u32, mode: Mode, timing: Timing) -> Option<Decimal> {
    let growth = Decimal::ONE.checked_add(rate)?;
    let mut sum = Decimal::ZERO;
    match mode {
        Mode::Present => {
            let discount = Decimal::ONE.checked_div(growth)?;
            for _ in 0..periods {
                sum = sum.checked_add(Decimal::ONE)?.checked_mul(discount)?;
            }
        }
        Mode::Future => {
            for _ in 0..periods {
                sum = sum.checked_mul(growth)?.checked_add(Decimal::ONE)?;
            }
        }
    }
    if timing == Timing::Due {
        sum = sum.checked_mul(growth)?;
    }
    let value = sum.checked_mul(payment)?;
    (value < BOUND).then(|| value.round_dp(PLACES))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an ordinary annuity of 1, as every table of finance prints them: rate in per cent, periods, present, future.
    const TABLE: &[(i64, u32, &str, &str)] = &[
        (1, 1, "0.9901", "1.0000"),
        (1, 5, "4.8534", "5.1010"),
        (1, 10, "9.4713", "10.4622"),
        (1, 20, "18.0456", "22.0190"),
        (1, 30, "25.8077", "34.7849"),
        (5, 1, "0.9524", "1.0000"),
        (5, 5, "4.3295", "5.5256"),
        (5, 10, "7.7217", "12.5779"),
        (5, 20, "12.4622", "33.0660"),
        (5, 30, "15.3725", "66.4388"),
        (8, 1, "0.9259", "1.0000"),
        (8, 5, "3.9927", "5.8666"),
        (8, 10, "6.7101", "14.4866"),
        (8, 20, "9.8181", "45.7620"),
        (8, 30, "11.2578", "113.2832"),
        (10, 1, "0.9091", "1.0000"),
        (10, 5, "3.7908", "6.1051"),
        (10, 10, "6.1446", "15.9374"),
        (10, 20, "8.5136", "57.2750"),
        (10, 30, "9.4269", "164.4940"),
    ];

    #[test]
    fn values_are_those_of_the_published_tables() {
        for (percent, periods, present, future) in TABLE {
            let rate = Decimal::new(*percent, 2);
            let growth = Decimal::ONE + rate;
            for (mode, expected) in [(Mode::Present, present), (Mode::Future, future)] {
                let ordinary = value(Decimal::ONE, rate, *periods, mode, Timing::Ordinary).unwrap();
                assert_eq!(
                    format!("{:.4}", ordinary.round_dp(4)),
                    **expected,
                    "{percent} % {periods} {mode:?}"
                );
                // Each payment a period earlier.
                let due = value(Decimal::ONE, rate, *periods, mode, Timing::Due).unwrap();
                assert!(
                    (due - ordinary * growth).abs() < Decimal::new(1, 9),
                    "{percent} % {periods} {mode:?}"
                );
            }
        }
    }

    #[test]
    fn without_interest_a_payment_is_worth_itself() {
        for mode in [Mode::Present, Mode::Future] {
            for timing in [Timing::Ordinary, Timing::Due] {
                let value = value(Decimal::new(1250, 2), Decimal::ZERO, 5_200, mode, timing);
                assert_eq!(value, Some(Decimal::from(65_000)));
            }
        }
    }

    #[test]
    fn a_half_is_rounded_to_the_even_neighbour() {
        for (payment, expected) in [("0.00000000005", "0.0000000000"), ("0.00000000015", "0.0000000002")] {
            let payment = payment.parse().unwrap();
            let value = value(payment, Decimal::ZERO, 1, Mode::Present, Timing::Ordinary).unwrap();
            assert_eq!(format!("{value:.10}"), expected);
        }
    }

    #[test]
    fn what_is_too_large_has_no_value() {
        let rate = Decimal::ONE;
        assert_eq!(value(Decimal::ONE, rate, 100, Mode::Future, Timing::Ordinary), None);
        assert_eq!(BOUND, Decimal::from(1_000_000_000_000_000_000_i64));
        assert_eq!(value(BOUND, Decimal::ZERO, 1, Mode::Present, Timing::Ordinary), None);
        // A discount that sinks below the last digit is nothing, not an error.
        assert_eq!(
            value(Decimal::ONE, rate, 5_200, Mode::Present, Timing::Ordinary),
            Some(Decimal::ONE)
        );
    }
}
