//! Memory of a device in numbers: what a batch needs, how many tokens it may have.

use crate::runtime::machine::Derived;
use crate::runtime::picture::MemoryPicture;
use crate::units::{Bytes, Precision, Tokens};

/// Sizes of an encoder that decide what a token needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Width D of a hidden state.
    pub width: u64,
    /// Attention heads H.
    pub heads: u64,
    /// Values of a token that the first product of the feed-forward half gives: F, or 2F with a gate.
    pub expanded: u64,
    /// Values of a token that its second product takes: F.
    pub inner: u64,
    /// Whether queries and keys are rotated, which is done in f32.
    pub rotary: bool,
}

/// What the device needs besides weights and batches: workspaces of the matrix products and small tensors.
pub const WORKSPACE: u64 = 256 << 20;

impl Sizes {
    /// Bytes that a token takes at the most crowded place of a layer, b bytes being a value of `precision`:
    ///
    /// - always 8 D: the residual and its LayerNorm, in f32;
    /// - in the attention half 7 D b: input, q, k, v, q and k once more, and the mixed values; 8 D while halves of q and k are
    ///   rotated in f32; H T (4 + b) for the scores where a kernel keeps them (`scores_of` T tokens);
    /// - in the feed-forward half (D + E + 2 F) b: its input, the expanded, the activated and the gated values.
    ///
    /// The larger half counts. Nothing is kept from layer to layer, so their number does not matter.
    pub fn bytes_per_token(&self, precision: Precision, scores_of: Option<u64>) -> u64 {
        let value = precision.bytes();
        let scores = scores_of.map_or(0, |length| self.heads * length * (4 + value));
        let rotation = if self.rotary { 8 * self.width } else { 0 };
        let attention = 7 * self.width * value + rotation + scores;
        let feed_forward = (self.width + self.expanded + 2 * self.inner) * value;
        8 * self.width + attention.max(feed_forward)
    }
}

/// Least and most tokens of an automatic batch of a GPU: below, it waits for launches; above, nothing is gained.
const TOKENS: (u64, u64) = (1 << 10, 1 << 16);
/// Share of the available memory that batches may take, in tenths: the formula is an estimate, and others use the GPU too.
const USABLE_TENTHS: u64 = 8;

/// Tokens of an automatic batch of a GPU: as many as fit into what is left beside `weights` bytes that are still to come, in
/// multiples of 1024; divided by 2^(attempt - 1).
pub fn batch_tokens(picture: &MemoryPicture, weights: u64, per_token: u64, attempt: u32) -> Derived {
    let (least, most) = TOKENS;
    let (tokens, reason) = match picture.available() {
        None => (16 * least, "free memory of the GPU is not known".to_owned()),
        Some(available) => {
            let left = available.saturating_sub(weights + WORKSPACE) / 10 * USABLE_TENTHS;
            let fitting = left / per_token.max(1);
            let reason = match fitting {
                _ if fitting < least => "the least, which may not fit",
                _ if fitting >= most => "the most that gains anything",
                _ => "as many as fit",
            };
            let beside = if weights > 0 { format!(" beside weights of {}", Bytes(weights)) } else { String::new() };
            let reason = format!("{reason}: {} available{beside}, {} per token", Bytes(available), Bytes(per_token));
            ((fitting / least * least).clamp(least, most), reason)
        }
    };
    let halvings = attempt.max(1) - 1;
    let reason = if halvings > 0 { format!("{reason}; halved {halvings} times for attempt {attempt}") } else { reason };
    let Tokens(value) = Tokens((tokens >> halvings.min(20)).max(1) as usize);
    Derived { value, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;
    const ESM_3B: Sizes = Sizes { width: 2560, heads: 40, expanded: 10_240, inner: 10_240, rotary: true };
    const ESM_650M: Sizes = Sizes { width: 1280, heads: 20, expanded: 5120, inner: 5120, rotary: true };
    const DNABERT: Sizes = Sizes { width: 768, heads: 12, expanded: 6144, inner: 3072, rotary: false };

    fn picture(free: u64) -> MemoryPicture {
        MemoryPicture { free: Some(free), ..MemoryPicture::default() }
    }

    #[test]
    fn the_need_of_a_token_is_that_of_the_larger_half_of_a_layer() {
        // residual 8 x 2560 = 20480; attention 14 x 2560 + 8 x 2560 = 56320; feed-forward 2 (2560 + 3 x 10240) = 66560
        assert_eq!(ESM_3B.bytes_per_token(Precision::F16, None), 87_040);
        // residual 8 x 1280 = 10240; attention 28 x 1280 + 8 x 1280 = 46080; feed-forward 4 (1280 + 3 x 5120) = 66560
        assert_eq!(ESM_650M.bytes_per_token(Precision::F32, None), 76_800);
        // residual 8 x 768 = 6144; attention 14 x 768 = 10752; feed-forward 2 (768 + 6144 + 2 x 3072) = 26112
        assert_eq!(DNABERT.bytes_per_token(Precision::Bf16, None), 32_256);
        // Scores of 512 tokens: 12 x 512 x 6 = 36864 more in the attention half, which is the larger one then.
        assert_eq!(DNABERT.bytes_per_token(Precision::Bf16, Some(512)), 6144 + 10_752 + 36_864);
    }

    #[test]
    fn a_batch_is_what_fits_beside_the_weights() {
        let per_token = ESM_3B.bytes_per_token(Precision::F16, None);
        // (8 GB - 5.7 GB - 268435456) x 0.8 = 1625251632 (in whole tenths); / 87040 = 18672 tokens, 18 x 1024
        let fitting = batch_tokens(&picture(8 * GB), 5_700_000_000, per_token, 1);
        assert_eq!(fitting.value, 18 * 1024, "{fitting}");
        assert!(fitting.reason.contains("5.7 GB") && fitting.reason.contains("87.0 kB"), "{fitting}");
        let halved = batch_tokens(&picture(8 * GB), 5_700_000_000, per_token, 3);
        assert_eq!(halved.value, 18 * 1024 / 4);
        assert!(halved.reason.contains("attempt 3"), "{halved}");
    }

    #[test]
    fn a_batch_stays_within_its_bounds() {
        let per_token = DNABERT.bytes_per_token(Precision::F16, None);
        let of = |free, attempt| batch_tokens(&picture(free), 0, per_token, attempt).value;
        assert_eq!(of(140 * GB, 1), 65_536);
        assert_eq!(of(0, 1), 1024);
        assert_eq!(of(0, 2), 512);
        assert_eq!(of(0, u32::MAX), 1);
        assert_eq!(batch_tokens(&MemoryPicture::default(), 0, per_token, 1).value, 16_384);
        assert_eq!(batch_tokens(&picture(u64::MAX), 0, 0, 1).value, 65_536);
        for free in (0..3000).map(|step| step * 1_000_000) {
            let tokens = of(free, 1);
            assert!(tokens % 1024 == 0 && (1024..=65_536).contains(&tokens), "{free}: {tokens}");
        }
    }
}
