//! How many tokens a lane takes at a time, after what its memory could not hold.

/// Batches that must go well before the budget is raised.
const PATIENCE: u32 = 16;

/// Tokens of a batch: halved when memory runs out, and slowly raised again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    original: usize,
    now: usize,
    went_well: u32,
}

impl Budget {
    /// The budget that a lane starts with.
    pub fn of(tokens: usize) -> Self {
        Self { original: tokens, now: tokens, went_well: 0 }
    }

    /// Most tokens of a batch, unless it is a single sequence.
    pub fn tokens(&self) -> usize {
        self.now
    }

    /// A batch of so many tokens did not fit.
    pub fn lower(&mut self, failed: usize) {
        self.now = self.now.min(failed / 2).max(1);
        self.went_well = 0;
    }

    /// A batch went well.
    pub fn went_well(&mut self) {
        self.went_well += 1;
        if self.went_well >= PATIENCE && self.now < self.original {
            self.now = (self.now + (self.now / 4).max(1)).min(self.original);
            self.went_well = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_half_of_what_failed_and_rises_by_a_quarter_up_to_what_it_was() {
        let mut budget = Budget::of(1000);
        budget.lower(900);
        assert_eq!(budget.tokens(), 450);
        budget.lower(2000);
        assert_eq!(budget.tokens(), 450, "a long sequence alone says nothing of smaller batches");
        let mut seen = vec![];
        for _ in 0..5 * PATIENCE {
            budget.went_well();
            seen.push(budget.tokens());
        }
        seen.dedup();
        assert_eq!(seen, [450, 562, 702, 877, 1000]);
        (0..99).for_each(|_| budget.lower(budget.tokens()));
        assert_eq!(budget.tokens(), 1);
        (0..PATIENCE).for_each(|_| budget.went_well());
        assert_eq!(budget.tokens(), 2);
    }
}
