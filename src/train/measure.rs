//! How well logits tell the classes apart.

/// Area under the receiver operating characteristic, ties counted by half; none unless both classes are there.
pub fn auroc(logits: &[f32], viral: &[bool]) -> Option<f64> {
    let mut order: Vec<(f32, bool)> = logits.iter().copied().zip(viral.iter().copied()).collect();
    order.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let (mut below, mut pairs) = (0.0, 0.0);
    for tied in order.chunk_by(|one, other| one.0 == other.0) {
        let viruses = tied.iter().filter(|(_, is_viral)| *is_viral).count() as f64;
        let others = tied.len() as f64 - viruses;
        pairs += viruses * (below + others / 2.0);
        below += others;
    }
    let viruses = order.len() as f64 - below;
    (viruses > 0.0 && below > 0.0).then(|| pairs / (viruses * below))
}

/// Mean cross-entropy in nats; 0 of no rows.
pub fn loss(logits: &[f32], viral: &[bool]) -> f64 {
    let of_row = |(logit, is_viral): (&f32, &bool)| {
        let wrong = f64::from(if *is_viral { -*logit } else { *logit });
        wrong.max(0.0) + (-wrong.abs()).exp().ln_1p()
    };
    logits.iter().zip(viral).map(of_row).sum::<f64>() / logits.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_pairs_in_the_right_order() {
        assert_eq!(auroc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), Some(0.75));
        assert_eq!(auroc(&[1.0, 1.0, 1.0], &[false, true, true]), Some(0.5));
        assert_eq!(auroc(&[-1.0, 2.0], &[true, false]), Some(0.0));
        assert_eq!((auroc(&[1.0], &[true]), auroc(&[], &[])), (None, None));
    }

    #[test]
    fn the_loss_of_knowing_nothing_is_that_of_a_coin() {
        assert!((loss(&[0.0, 0.0], &[true, false]) - std::f64::consts::LN_2).abs() < 1e-12);
        assert!(loss(&[100.0, -100.0], &[true, false]) < 1e-12);
        assert!((loss(&[1000.0], &[false]) - 1000.0).abs() < 1e-9);
    }
}
