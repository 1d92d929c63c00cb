//! How many tokens a lane takes at a time, after what its memory could not hold.

/// Batches that must go well before the budget is raised: at first, and at most.
const PATIENCE: u32 = 16;
const MOST_PATIENCE: u32 = 1024;

/// Tokens of a batch: halved when memory runs out, and slowly raised again; the more slowly, the more often a raise was too
/// much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    original: usize,
    now: usize,
    went_well: u32,
    patience: u32,
    /// Whether it was raised since it was lowered.
    raised: bool,
}

impl Budget {
    /// The budget that a lane starts with.
    pub fn of(tokens: usize) -> Self {
        Self { original: tokens, now: tokens, went_well: 0, patience: PATIENCE, raised: false }
    }

    /// Most tokens of a batch, unless it is a single sequence.
    pub fn tokens(&self) -> usize {
        self.now
    }

    /// A batch of so many tokens did not fit.
    pub fn lower(&mut self, failed: usize) {
        self.now = self.now.min(failed / 2).max(1);
        self.went_well = 0;
        if std::mem::take(&mut self.raised) {
            self.patience = (2 * self.patience).min(MOST_PATIENCE);
        }
    }

    /// A batch went well.
    pub fn went_well(&mut self) {
        self.went_well += 1;
        if self.went_well >= self.patience && self.now < self.original {
            self.now = (self.now + (self.now / 4).max(1)).min(self.original);
            self.went_well = 0;
            self.raised = true;
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
        (0..2 * PATIENCE).for_each(|_| budget.went_well());
        assert_eq!(budget.tokens(), 2);
    }

    #[test]
    fn each_raise_that_was_too_much_doubles_the_batches_before_the_next_one() {
        let mut budget = Budget::of(1000);
        let mut waited = vec![];
        for _ in 0..9 {
            // Shortage is met step by step: that counts once.
            budget.lower(800);
            budget.lower(400);
            waited.push((1..).find(|_| {
                budget.went_well();
                budget.tokens() > 200
            }));
        }
        assert_eq!(waited, [16, 32, 64, 128, 256, 512, 1024, 1024, 1024].map(Some));
    }
}
