//! From scores of frames to verdicts of windows and records. Arithmetic only.

use crate::config::Tiers;
use crate::model::Score;

/// `virus` or `others`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Class 1.
    Virus,
    /// Class 0.
    Others,
}

impl Verdict {
    /// As it stands in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Virus => "virus",
            Self::Others => "others",
        }
    }

    /// Label of one frame: the larger score; `others` where they are equal, as argmax has it.
    pub fn of_frame(score: Score) -> Self {
        if score.virus > score.others { Self::Virus } else { Self::Others }
    }
}

/// The largest score of each class among the frames of a window; they may come from different frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowScore {
    best: Score,
}

impl WindowScore {
    /// Of the first frame.
    pub fn of(score: Score) -> Self {
        Self { best: score }
    }

    /// With one more frame.
    pub fn with(self, score: Score) -> Self {
        let best = Score { others: self.best.others.max(score.others), virus: self.best.virus.max(score.virus) };
        Self { best }
    }

    /// The two maxima.
    pub fn best(self) -> Score {
        self.best
    }

    /// Verdict of the window; `virus` where the maxima are equal, as the original has it.
    pub fn verdict(self) -> Verdict {
        if self.best.virus >= self.best.others { Verdict::Virus } else { Verdict::Others }
    }
}

/// What the windows of one record say together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SequenceTally {
    /// Windows.
    pub windows: u64,
    /// Windows with a score.
    pub called: u64,
    /// Windows called viral.
    pub viral: u64,
    /// Largest probability of a virus.
    pub best_p_virus: f32,
    sum_p_virus: f64,
}

/// Verdict of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// At least the `viral` share of its scored windows is viral.
    Viral,
    /// At least the `mixed` share: a prophage, a chimera, or chance.
    Mixed,
    /// Less than that.
    NonViral,
    /// No window could be scored.
    NoCall,
}

impl Tier {
    /// As it stands in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viral => "viral",
            Self::Mixed => "mixed",
            Self::NonViral => "non-viral",
            Self::NoCall => "no-call",
        }
    }
}

impl SequenceTally {
    /// Counts a window, with its score if it has one.
    pub fn add(&mut self, score: Option<WindowScore>) {
        self.windows += 1;
        let Some(score) = score else { return };
        self.called += 1;
        self.viral += u64::from(score.verdict() == Verdict::Virus);
        self.best_p_virus = self.best_p_virus.max(score.best().virus);
        self.sum_p_virus += f64::from(score.best().virus);
    }

    /// Viral among scored windows; `None` where none was scored.
    pub fn viral_share(&self) -> Option<f64> {
        (self.called > 0).then(|| self.viral as f64 / self.called as f64)
    }

    /// Mean of the windows' largest probability of a virus; `None` where none was scored.
    pub fn mean_p_virus(&self) -> Option<f64> {
        (self.called > 0).then(|| self.sum_p_virus / self.called as f64)
    }

    /// Verdict of the record.
    pub fn tier(&self, cut_offs: Tiers) -> Tier {
        match self.viral_share() {
            None => Tier::NoCall,
            Some(share) if share >= cut_offs.viral => Tier::Viral,
            Some(share) if share >= cut_offs.mixed => Tier::Mixed,
            Some(_) => Tier::NonViral,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(virus: f32) -> Score {
        Score { others: 1.0 - virus, virus }
    }

    #[test]
    fn a_tie_is_others_for_a_frame_and_virus_for_a_window() {
        assert_eq!(Verdict::of_frame(score(0.5)), Verdict::Others);
        assert_eq!(WindowScore::of(score(0.5)).verdict(), Verdict::Virus);
    }

    #[test]
    fn the_maxima_may_come_from_different_frames() {
        let window = WindowScore::of(score(0.55)).with(score(0.05));
        assert_eq!(window.best(), Score { others: 0.95, virus: 0.55 });
        assert_eq!(window.verdict(), Verdict::Others);
    }

    #[test]
    fn tiers_follow_the_share_of_scored_windows() {
        let tally = |scores: &[Option<f32>]| {
            let mut tally = SequenceTally::default();
            scores.iter().for_each(|p| tally.add(p.map(|p| WindowScore::of(score(p)))));
            tally
        };
        let tier = |scores: &[Option<f32>]| tally(scores).tier(Tiers::default());
        assert_eq!(tier(&[]), Tier::NoCall);
        assert_eq!(tier(&[None, None]), Tier::NoCall);
        assert_eq!(tier(&[Some(0.9), Some(0.1), None]), Tier::Viral);
        assert_eq!(tier(&[Some(0.9), Some(0.1), Some(0.2)]), Tier::Mixed);
        assert_eq!(tier(&[Some(0.1)]), Tier::NonViral);
        let tally = tally(&[Some(0.75), None, Some(0.25)]);
        assert_eq!((tally.windows, tally.called, tally.viral, tally.best_p_virus), (3, 2, 1, 0.75));
        assert_eq!((tally.viral_share(), tally.mean_p_virus()), (Some(0.5), Some(0.5)));
    }
}
