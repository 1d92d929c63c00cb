//! From scores of frames to verdicts of windows and records. Arithmetic only.

use crate::calibration::{Calibration, probability, window_logit};
use crate::config::CutOffs;
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

/// The scores of the frames of a window together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowScore {
    /// Largest probability of class 0; it and that of class 1 may come from different frames.
    pub others: f32,
    /// Largest probability of class 1.
    pub virus: f32,
    /// The smallest and the largest logit.
    logits: [f32; 2],
}

impl WindowScore {
    /// Of the first frame.
    pub fn of(score: Score) -> Self {
        Self { others: score.others, virus: score.virus, logits: [score.logit; 2] }
    }

    /// With one more frame.
    pub fn with(self, score: Score) -> Self {
        let [least, most] = self.logits;
        Self {
            others: self.others.max(score.others),
            virus: self.virus.max(score.virus),
            logits: [least.min(score.logit), most.max(score.logit)],
        }
    }

    /// Verdict by the scores alone; `virus` where the maxima are equal, as the original has it.
    pub fn verdict(self) -> Verdict {
        if self.virus >= self.others { Verdict::Virus } else { Verdict::Others }
    }

    /// The logit of the window, for calibration.
    pub fn logit(self) -> f32 {
        window_logit(self.logits).unwrap_or_default()
    }
}

/// How scores become verdicts.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// What makes probabilities of logits; none for a bundle without one.
    pub calibration: Option<&'a Calibration>,
    /// When a record is viral.
    pub cut_offs: CutOffs,
}

/// A window with its verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgedWindow {
    /// Its scores.
    pub score: WindowScore,
    /// By its probability where the bundle is calibrated, else by its scores.
    pub verdict: Verdict,
    /// Calibrated logit at even odds.
    calibrated: Option<f64>,
    /// Calibrated probability of a virus.
    pub p_virus: Option<f64>,
}

impl JudgedWindow {
    /// What it says of a virus, at even odds: the calibrated logit where the bundle is calibrated, else the head's.
    pub fn logit(&self) -> f64 {
        self.calibrated.unwrap_or_else(|| self.score.logit().into())
    }

    /// Probability of a virus: the calibrated one where the bundle is calibrated, else the score.
    pub fn p(&self) -> f64 {
        self.p_virus.unwrap_or_else(|| self.score.virus.into())
    }
}

/// A record with its verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgedSequence {
    /// The verdict.
    pub verdict: SequenceVerdict,
    /// Calibrated probability of a virus.
    pub p_virus: Option<f64>,
    /// How sure that is.
    pub tier: Option<Tier>,
}

impl Judge<'_> {
    /// Verdict of a window of `length` bases.
    pub fn window(&self, score: WindowScore, length: u64) -> JudgedWindow {
        let calibrated = self.calibration.map(|calibration| calibration.window(length, score.logit()));
        let p_virus = calibrated.map(|logit| self.probability(logit));
        let verdict = match p_virus {
            Some(p_virus) => {
                if p_virus >= 0.5 {
                    Verdict::Virus
                } else {
                    Verdict::Others
                }
            }
            None => score.verdict(),
        };
        JudgedWindow { score, verdict, calibrated, p_virus }
    }

    /// Verdict of a record. Without a calibration it comes from the share of viral windows as it is printed: a reader of the
    /// table comes to the same.
    pub fn sequence(&self, tally: &SequenceTally) -> JudgedSequence {
        let p_virus = self.calibration.zip(tally.mean_calibrated());
        let p_virus =
            p_virus.map(|(calibration, mean)| self.probability(calibration.sequence(tally.n_scored_windows, mean)));
        let CutOffs { viral_share, mixed_share, .. } = self.cut_offs;
        let verdict = match (p_virus, tally.viral_share().map(Share::value)) {
            (Some(p_virus), _) => self.by_probability(p_virus),
            (None, None) => SequenceVerdict::NoCall,
            (None, Some(share)) if share >= viral_share => SequenceVerdict::Viral,
            (None, Some(share)) if share >= mixed_share => SequenceVerdict::Mixed,
            (None, Some(_)) => SequenceVerdict::NonViral,
        };
        JudgedSequence { verdict, p_virus, tier: p_virus.and_then(Tier::of) }
    }

    /// Verdict of a record by its probability.
    pub fn by_probability(&self, p_virus: f64) -> SequenceVerdict {
        if p_virus >= self.cut_offs.min_p { SequenceVerdict::Viral } else { SequenceVerdict::NonViral }
    }

    /// At the share of viruses that is expected: calibration is for one half.
    fn probability(&self, logit: f64) -> f64 {
        let prior = self.cut_offs.prior;
        probability(logit + (prior / (1.0 - prior)).ln())
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
    pub best_score_virus: f32,
    sum_score_virus: f64,
    sum_calibrated: Option<f64>,
}

/// Verdict of a record: the column `verdict` of `sequences.tsv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SequenceVerdict {
    /// Its probability reaches the cut-off; without a calibration, the viral share of its scored windows does.
    Viral,
    /// Without a calibration: the smaller cut-off is reached. A prophage, a chimera, or chance.
    Mixed,
    /// Less than that.
    NonViral,
    /// No window could be scored.
    NoCall,
}

impl SequenceVerdict {
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

/// How sure a calibrated probability is: the column `tier` of `sequences.tsv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// At least 0.95.
    High,
    /// At least 0.80.
    Medium,
    /// At least 0.50.
    Low,
}

impl Tier {
    /// That of a probability; none where others are more likely.
    pub fn of(p_virus: f64) -> Option<Self> {
        match p_virus {
            0.95.. => Some(Self::High),
            0.80.. => Some(Self::Medium),
            0.50.. => Some(Self::Low),
            _ => None,
        }
    }

    /// As it stands in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl SequenceTally {
    /// Counts a window, with its verdict if it has a score.
    pub fn add(&mut self, window: Option<JudgedWindow>) {
        self.n_windows += 1;
        let Some(window) = window else { return };
        self.n_scored_windows += 1;
        self.n_viral_windows += u64::from(window.verdict == Verdict::Virus);
        self.best_score_virus = self.best_score_virus.max(window.score.virus);
        self.sum_score_virus += f64::from(window.score.virus);
        if let Some(calibrated) = window.calibrated {
            *self.sum_calibrated.get_or_insert(0.0) += calibrated;
        }
    }

    /// Viral among scored windows; `None` where none was scored.
    pub fn viral_share(&self) -> Option<Share> {
        Share::of(self.n_viral_windows, self.n_scored_windows)
    }

    /// Mean of the windows' largest probability of a virus; `None` where none was scored.
    pub fn mean_score_virus(&self) -> Option<f64> {
        (self.n_scored_windows > 0).then(|| self.sum_score_virus / self.n_scored_windows as f64)
    }

    fn mean_calibrated(&self) -> Option<f64> {
        self.sum_calibrated.map(|sum| sum / self.n_scored_windows as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{SequenceCalibration, WindowCalibration};

    const RAW: Judge<'_> = Judge { calibration: None, cut_offs: CutOffs::DEFAULT };

    fn score(virus: f32) -> Score {
        Score::of((virus / (1.0 - virus)).ln())
    }

    fn window(judge: &Judge<'_>, virus: f32) -> JudgedWindow {
        judge.window(WindowScore::of(score(virus)), 500)
    }

    fn tally(judge: &Judge<'_>, scores: &[Option<f32>]) -> SequenceTally {
        let mut tally = SequenceTally::default();
        scores.iter().for_each(|p| tally.add(p.map(|p| window(judge, p))));
        tally
    }

    #[test]
    fn a_tie_is_others_for_a_frame_and_virus_for_a_window() {
        assert_eq!(Verdict::of_frame(score(0.5)), Verdict::Others);
        assert_eq!(window(&RAW, 0.5).verdict, Verdict::Virus);
    }

    #[test]
    fn the_maxima_may_come_from_different_frames() {
        let window = WindowScore::of(score(0.55)).with(score(0.05));
        assert!((window.others - 0.95).abs() < 1e-6 && (window.virus - 0.55).abs() < 1e-6);
        assert_eq!((window.verdict(), window.logit() < 0.0), (Verdict::Others, true));
    }

    #[test]
    fn the_verdict_of_a_record_follows_the_share_of_scored_windows() {
        let verdict = |scores: &[Option<f32>]| RAW.sequence(&tally(&RAW, scores)).verdict;
        assert_eq!(verdict(&[]), SequenceVerdict::NoCall);
        assert_eq!(verdict(&[None, None]), SequenceVerdict::NoCall);
        assert_eq!(verdict(&[Some(0.9), Some(0.1), None]), SequenceVerdict::Viral);
        assert_eq!(verdict(&[Some(0.9), Some(0.1), Some(0.2)]), SequenceVerdict::Mixed);
        assert_eq!(verdict(&[Some(0.1)]), SequenceVerdict::NonViral);
        let tally = tally(&RAW, &[Some(0.75), None, Some(0.25)]);
        assert_eq!((tally.n_windows, tally.n_scored_windows, tally.n_viral_windows), (3, 2, 1));
        assert_eq!(
            (tally.best_score_virus, tally.viral_share(), tally.mean_score_virus()),
            (0.75, Share::of(1, 2), Some(0.5))
        );
        assert_eq!(RAW.sequence(&tally).p_virus, None);
    }

    #[test]
    fn with_a_calibration_the_verdict_follows_the_probability_and_the_expected_share_of_viruses() {
        let windows = vec![WindowCalibration { length: 500, slope: 0.5, intercept: 0.0 }];
        let sequences = SequenceCalibration { slope_per_ln: 1.0, intercept_per_ln: 0.0 };
        let calibration = Calibration { windows, sequences };
        let judge = |min_p, prior| Judge {
            calibration: Some(&calibration),
            cut_offs: CutOffs { min_p, prior, ..CutOffs::DEFAULT },
        };
        let even = judge(0.5, 0.5);
        let one = window(&even, 0.9);
        assert!((one.p_virus.unwrap() - 0.75).abs() < 1e-6);
        let alone = even.sequence(&tally(&even, &[Some(0.9), None]));
        assert_eq!((alone.verdict, alone.p_virus, alone.tier), (SequenceVerdict::Viral, one.p_virus, Some(Tier::Low)));
        let ten = even.sequence(&tally(&even, &[Some(0.9); 10]));
        assert_eq!((ten.verdict, ten.tier), (SequenceVerdict::Viral, Some(Tier::High)));
        let strict = judge(0.8, 0.5);
        assert_eq!(strict.sequence(&tally(&strict, &[Some(0.9)])).verdict, SequenceVerdict::NonViral);
        let rare = judge(0.5, 0.1);
        let found = rare.sequence(&tally(&rare, &[Some(0.9)]));
        assert!((found.p_virus.unwrap() - 0.25).abs() < 1e-6);
        assert_eq!((found.verdict, found.tier), (SequenceVerdict::NonViral, None));
        assert_eq!(even.sequence(&tally(&even, &[None])).verdict, SequenceVerdict::NoCall);
    }

    #[test]
    fn a_share_that_is_printed_as_its_cut_off_reaches_it() {
        for n_scored_windows in 1..=300 {
            for n_viral_windows in 0..=n_scored_windows {
                let tally = SequenceTally { n_viral_windows, n_scored_windows, ..SequenceTally::default() };
                let printed = tally.viral_share().unwrap().to_string();
                let cut_off: f64 = printed.parse().unwrap();
                let at = |viral_share| Judge {
                    calibration: None,
                    cut_offs: CutOffs { viral_share, mixed_share: 0.0, ..CutOffs::DEFAULT },
                };
                let verdict = |cut_off| at(cut_off).sequence(&tally).verdict;
                assert_eq!(verdict(cut_off), SequenceVerdict::Viral, "{n_viral_windows} of {n_scored_windows}");
                assert_eq!(verdict(cut_off + 1e-4), SequenceVerdict::Mixed, "{n_viral_windows} of {n_scored_windows}");
                let exact = n_viral_windows as f64 / n_scored_windows as f64;
                assert!(printed == format!("{exact:.4}"), "{printed} is not {exact}");
            }
        }
    }
}
