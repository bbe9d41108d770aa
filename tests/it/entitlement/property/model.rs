//! `docs/domain.md` once more, in memory and without SQL, for the property test to compare with.
//!
//! It is written from that page, not from the procedures, and works in another way: the procedures add up a segment and share it
//! out at its end, this shares out every use at the moment it is posted; they take boundaries that passed together in one step
//! where they can, this takes every one by itself.

use std::collections::VecDeque;

use chrono::Months;

use super::rules::{Anchor, DAY, Enforcement, Instant, Interval, Rules, Type, date};

struct Grant {
    id: u64,
    amount: i64,
    priority: u8,
    effective_at: Instant,
    expires_at: Option<Instant>,
    /// Counts from here: its start, but not before it was made.
    from: Instant,
    /// Its expiry or revocation, whichever is earlier.
    until: Option<Instant>,
    renews: bool,
    given: i64,
    given_before_window: i64,
}

impl Grant {
    fn is_active(&self, at: Instant) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

struct Hold {
    id: u64,
    amount: i64,
    expires_at: Instant,
}

/// The numbers of a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    pub granted: i64,
    pub consumed: i64,
    pub held: i64,
    pub effective: i64,
    pub available: i64,
    pub hard_limit: Option<i64>,
    pub over_limit: bool,
    pub is_locked: bool,
    pub next_change_at: Option<Instant>,
    pub window_start_at: Option<Instant>,
}

/// A window that ended: its start, and what was granted and used in it.
pub type History = (Instant, i64, i64);

/// One limit of one subject.
pub struct Limit {
    pub rules: Rules,
    anchor: Instant,
    now: Instant,
    /// Whether there is a balance at all: since the first grant, or the first use of a limit that only warns.
    is_open: bool,
    window: Option<(Instant, Instant)>,
    /// Whether anything was due, asked or done in the window. One that nobody ever saw leaves no row.
    was_seen: bool,
    grants: Vec<Grant>,
    holds: Vec<Hold>,
    /// `A`
    allotment_given: i64,
    overage: i64,
    /// A rolling window's: when each comes back, and how much.
    uses: VecDeque<(Instant, i64)>,
    /// A capacity's.
    count: i64,
    pub history: Vec<History>,
}

impl Limit {
    /// A limit that was never granted, of a subject whose billing began at `anchor`.
    pub fn new(rules: Rules, anchor: Instant) -> Limit {
        Limit {
            rules,
            anchor,
            now: 0,
            is_open: false,
            window: None,
            was_seen: false,
            grants: Vec::new(),
            holds: Vec::new(),
            allotment_given: 0,
            overage: 0,
            uses: VecDeque::new(),
            count: 0,
            history: Vec::new(),
        }
    }

    /// Lets the clock run up to `now`, boundary by boundary.
    pub fn advance(&mut self, now: Instant) {
        while let Some(at) = self.next_change().filter(|at| *at <= now) {
            let is_window_end = self.window.is_some_and(|(_, end)| end == at);
            if is_window_end {
                self.end_window(at);
            }
            let is_other_boundary = self.boundaries_but_window().any(|boundary| boundary == at);
            self.was_seen |= is_other_boundary;
            self.now = at;
            self.holds.retain(|hold| hold.expires_at > at);
            while self.uses.front().is_some_and(|(back_at, _)| *back_at <= at) {
                self.uses.pop_front();
            }
            self.pay_overage();
        }
        self.now = now;
        self.was_seen = true;
    }

    /// Begins a balance, if there is none.
    pub fn open(&mut self) {
        if !self.is_open {
            self.is_open = true;
            self.window = self.rules.window_at(self.anchor, self.now);
        }
    }

    /// Makes a grant, now.
    #[allow(clippy::too_many_arguments)] // the columns of a grant
    pub fn grant(
        &mut self,
        id: u64,
        kind: &str,
        amount: i64,
        priority: u8,
        effective_at: Instant,
        expires_at: Option<Instant>,
    ) {
        self.open();
        self.grants.push(Grant {
            id,
            amount,
            priority,
            effective_at,
            expires_at,
            from: effective_at.max(self.now),
            until: expires_at,
            renews: self.rules.renews(kind),
            given: 0,
            given_before_window: 0,
        });
        self.pay_overage();
    }

    /// Ends a grant at an instant; false: it has ended before, or ends by itself before that.
    pub fn revoke(&mut self, id: u64, at: Instant) -> bool {
        let grant = self.grants.iter_mut().find(|grant| grant.id == id).unwrap();
        let may = grant.until == grant.expires_at && grant.until.is_none_or(|until| until > at);
        if may {
            grant.until = Some(at);
        }
        may
    }

    /// Whether there is room.
    pub fn allows(&self, amount: i64) -> bool {
        self.rules.enforcement == Enforcement::Warn || amount <= self.figures().available
    }

    /// Posts a use, now.
    pub fn consume(&mut self, amount: i64) {
        if self.rules.kind == Type::Capacity {
            self.count += amount;
        } else if let Some((interval, Anchor::Rolling)) = self.rules.window {
            let back_at = match interval {
                Interval::Day => self.now + DAY,
                Interval::Week => self.now + 7 * DAY,
                Interval::Month => (date(self.now) + Months::new(1)).timestamp_millis(),
                Interval::Year => (date(self.now) + Months::new(12)).timestamp_millis(),
            };
            // In their order, also where the clamp at a month's end would let a later use overtake an earlier one.
            let not_before = self.uses.back().map_or(back_at, |(back_at, _)| *back_at);
            self.uses.push_back((back_at.max(not_before), amount));
        } else {
            self.share_out(amount);
        }
    }

    /// Says how many of a capacity's resource there are.
    pub fn recount(&mut self, count: i64) {
        self.open();
        self.count = count;
    }

    /// Sets an amount aside.
    pub fn hold(&mut self, id: u64, amount: i64, expires_at: Instant) {
        self.holds.push(Hold { id, amount, expires_at });
    }

    /// Takes a hold away, and says how much it was; none: it has expired or was resolved.
    pub fn end_hold(&mut self, id: u64) -> Option<i64> {
        let position = self.holds.iter().position(|hold| hold.id == id)?;
        Some(self.holds.remove(position).amount)
    }

    /// What a pending hold set aside.
    pub fn held_by(&self, id: u64) -> Option<i64> {
        self.holds.iter().find(|hold| hold.id == id).map(|hold| hold.amount)
    }

    /// What each once-grant gave so far.
    pub fn given(&self) -> impl Iterator<Item = (u64, i64)> {
        self.grants.iter().map(|grant| (grant.id, grant.given))
    }

    /// What the limit says now.
    pub fn figures(&self) -> Figures {
        let active = || self.active().filter(|grant| !grant.renews);
        let allotment = self.allotment();
        let (granted, consumed, left, over_limit) = if self.rules.counts_whole() {
            let consumed = self.count + self.uses.iter().map(|(_, amount)| amount).sum::<i64>();
            (allotment, consumed, allotment - consumed, consumed > allotment)
        } else {
            let granted: i64 = active().map(|grant| grant.amount - grant.given_before_window).sum();
            let given: i64 = active().map(|grant| grant.given - grant.given_before_window).sum();
            let rest: i64 = active().map(|grant| grant.amount - grant.given).sum();
            (
                allotment + granted,
                self.allotment_given + given + self.overage,
                (allotment - self.allotment_given).max(0) + rest - self.overage,
                self.allotment_given > allotment || self.overage > 0,
            )
        };
        let held = self.holds.iter().map(|hold| hold.amount).sum::<i64>();
        Figures {
            granted,
            consumed,
            held,
            effective: granted - consumed,
            available: (left - held).max(0),
            hard_limit: matches!(self.rules.kind, Type::Capacity | Type::Quota).then_some(granted),
            over_limit,
            is_locked: over_limit && self.rules.enforcement == Enforcement::Lock
                || self.rules.kind == Type::State && granted == 0,
            next_change_at: self.next_change(),
            window_start_at: self.window.map(|(start, _)| start),
        }
    }

    /// The next boundary.
    pub fn next_change(&self) -> Option<Instant> {
        self.boundaries_but_window()
            .chain(self.window.map(|(_, end)| end))
            .min()
    }

    fn boundaries_but_window(&self) -> impl Iterator<Item = Instant> {
        let grants = self
            .grants
            .iter()
            .filter(|grant| grant.until.is_none_or(|until| until > self.now))
            .flat_map(|grant| [Some(grant.from), grant.until])
            .flatten();
        let holds = self.holds.iter().map(|hold| hold.expires_at);
        let uses = self.uses.front().map(|(back_at, _)| *back_at);
        grants.chain(holds).chain(uses).filter(|at| *at > self.now)
    }

    fn active(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| grant.is_active(self.now))
    }

    /// `P`, a cap, or a state's 0 or 1.
    fn allotment(&self) -> i64 {
        let counts_whole = self.rules.counts_whole();
        let amounts = self
            .active()
            .filter(|grant| grant.renews || counts_whole)
            .map(|grant| grant.amount);
        match self.rules.kind {
            Type::State => i64::from(amounts.count() > 0),
            _ if self.rules.largest_counts => amounts.max().unwrap_or(0),
            _ => amounts.sum(),
        }
    }

    fn end_window(&mut self, at: Instant) {
        let ended = self.figures();
        if self.was_seen {
            self.history
                .push((ended.window_start_at.unwrap(), ended.granted, ended.consumed));
        }
        self.window = self.rules.window_at(self.anchor, at);
        self.was_seen = false;
        self.allotment_given = 0;
        self.overage = 0;
        for grant in &mut self.grants {
            grant.given_before_window = grant.given;
        }
    }

    fn pay_overage(&mut self) {
        let open = std::mem::take(&mut self.overage);
        self.share_out(open);
    }

    fn share_out(&mut self, amount: i64) {
        let from_allotment = amount.min((self.allotment() - self.allotment_given).max(0));
        self.allotment_given += from_allotment;
        let mut rest = amount - from_allotment;
        let now = self.now;
        let mut once: Vec<&mut Grant> = self
            .grants
            .iter_mut()
            .filter(|grant| !grant.renews && grant.is_active(now))
            .collect();
        once.sort_by_key(|grant| {
            (
                grant.priority,
                grant.expires_at.is_none(),
                grant.expires_at,
                grant.effective_at,
                grant.id,
            )
        });
        for grant in once {
            let gave = rest.min(grant.amount - grant.given);
            grant.given += gave;
            rest -= gave;
        }
        self.overage += rest;
    }
}
