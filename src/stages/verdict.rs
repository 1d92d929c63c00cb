//! From scores of frames to verdicts of windows and records. Arithmetic only.

use crate::config::Tiers;
use crate::model::Score;
use crate::units::Share;

/// Verdict of a frame or a window: `virus` or `others`.
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
    pub n_windows: u64,
    /// Windows with a score.
    pub n_scored_windows: u64,
    /// Windows whose verdict is `virus`.
    pub n_viral_windows: u64,
    /// Largest probability of a virus.
    pub best_p_virus: f32,
    sum_p_virus: f64,
}

/// Verdict of a record: the column `verdict` of `sequences.tsv`.
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
    /// Every verdict.
    pub const ALL: [Self; 4] = [Self::Viral, Self::Mixed, Self::NonViral, Self::NoCall];

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
        self.n_windows += 1;
        let Some(score) = score else { return };
        self.n_scored_windows += 1;
        self.n_viral_windows += u64::from(score.verdict() == Verdict::Virus);
        self.best_p_virus = self.best_p_virus.max(score.best().virus);
        self.sum_p_virus += f64::from(score.best().virus);
    }

    /// Viral among scored windows; `None` where none was scored.
    pub fn viral_share(&self) -> Option<Share> {
        Share::of(self.n_viral_windows, self.n_scored_windows)
    }

    /// Mean of the windows' largest probability of a virus; `None` where none was scored.
    pub fn mean_p_virus(&self) -> Option<f64> {
        (self.n_scored_windows > 0).then(|| self.sum_p_virus / self.n_scored_windows as f64)
    }

    /// Verdict of the record, from its share as it is printed: a reader of the table comes to the same.
    pub fn verdict(&self, cut_offs: Tiers) -> Tier {
        match self.viral_share().map(Share::value) {
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
    fn the_verdict_of_a_record_follows_the_share_of_scored_windows() {
        let tally = |scores: &[Option<f32>]| {
            let mut tally = SequenceTally::default();
            scores.iter().for_each(|p| tally.add(p.map(|p| WindowScore::of(score(p)))));
            tally
        };
        let verdict = |scores: &[Option<f32>]| tally(scores).verdict(Tiers::default());
        assert_eq!(verdict(&[]), Tier::NoCall);
        assert_eq!(verdict(&[None, None]), Tier::NoCall);
        assert_eq!(verdict(&[Some(0.9), Some(0.1), None]), Tier::Viral);
        assert_eq!(verdict(&[Some(0.9), Some(0.1), Some(0.2)]), Tier::Mixed);
        assert_eq!(verdict(&[Some(0.1)]), Tier::NonViral);
        let tally = tally(&[Some(0.75), None, Some(0.25)]);
        assert_eq!((tally.n_windows, tally.n_scored_windows, tally.n_viral_windows), (3, 2, 1));
        assert_eq!((tally.best_p_virus, tally.viral_share(), tally.mean_p_virus()), (0.75, Share::of(1, 2), Some(0.5)));
    }

    #[test]
    fn a_share_that_is_printed_as_its_cut_off_reaches_it() {
        for n_scored_windows in 1..=300 {
            for n_viral_windows in 0..=n_scored_windows {
                let tally = SequenceTally { n_viral_windows, n_scored_windows, ..SequenceTally::default() };
                let printed = tally.viral_share().unwrap().to_string();
                let cut_off: f64 = printed.parse().unwrap();
                let (at, above) = (Tiers { viral: cut_off, mixed: 0.0 }, Tiers { viral: cut_off + 1e-4, mixed: 0.0 });
                assert_eq!(tally.verdict(at), Tier::Viral, "{n_viral_windows} of {n_scored_windows}, {printed}");
                assert_eq!(tally.verdict(above), Tier::Mixed, "{n_viral_windows} of {n_scored_windows}, {printed}");
                let exact = n_viral_windows as f64 / n_scored_windows as f64;
                assert!(printed == format!("{exact:.4}"), "{printed} is not {exact}");
            }
        }
    }
}
