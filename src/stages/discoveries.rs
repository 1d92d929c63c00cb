//! The cut-off at which an expected share of what is called viral is not: the false discovery rate. Calibrated probabilities
//! say what to expect, so that no labels are needed. Arithmetic only.

/// Steps between 0 and 1.
const STEPS: usize = 100_000;

/// The probabilities of all records, counted.
pub struct Discoveries {
    /// Records whose probability lies in each step, and how many others to expect among them.
    steps: Vec<(u64, f64)>,
}

impl Discoveries {
    /// Of no record yet.
    pub fn new() -> Self {
        Self { steps: vec![(0, 0.0); STEPS + 1] }
    }

    /// Counts a record.
    pub fn add(&mut self, p_virus: f64) {
        let (count, others) = &mut self.steps[(p_virus.clamp(0.0, 1.0) * STEPS as f64) as usize];
        *count += 1;
        *others += 1.0 - p_virus;
    }

    /// The least probability such that at most the share `fdr` of the records from there on is expected not to be viral; none
    /// where not even the surest records reach it. Exact to 1e-5.
    pub fn cut_off(&self, fdr: f64) -> Option<f64> {
        let (mut count, mut others, mut cut_off) = (0, 0.0, None);
        for (step, (more, expected)) in self.steps.iter().enumerate().rev().filter(|(_, (more, _))| *more > 0) {
            (count, others) = (count + more, others + expected);
            if others > fdr * count as f64 {
                break;
            }
            cut_off = Some(step as f64 / STEPS as f64);
        }
        cut_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_off(probabilities: &[f64], fdr: f64) -> Option<f64> {
        let mut discoveries = Discoveries::new();
        probabilities.iter().for_each(|&p| discoveries.add(p));
        discoveries.cut_off(fdr)
    }

    #[test]
    fn as_many_are_called_as_the_expected_share_of_others_allows() {
        let probabilities = [0.99, 0.9, 0.8, 0.5, 0.2];
        // Expected others among the first one, two, three ...: .01, .055, .103, .2025, .322.
        for (fdr, expected) in [
            (0.0, None),
            (0.005, None),
            (0.02, Some(0.99)),
            (0.06, Some(0.9)),
            (0.11, Some(0.8)),
            (0.21, Some(0.5)),
            (0.5, Some(0.2)),
        ] {
            let found = cut_off(&probabilities, fdr);
            assert_eq!(found.is_some(), expected.is_some(), "{fdr}");
            assert!(
                found.zip(expected).is_none_or(|(found, expected)| (found - expected).abs() < 2e-5),
                "{fdr}: {found:?}"
            );
        }
        assert_eq!(cut_off(&[], 0.5), None);
        assert_eq!(cut_off(&[1.0], 0.0), Some(1.0));
        assert_eq!(cut_off(&[0.0], 1.0), Some(0.0));
    }
}
