//! Random numbers of a training, from its seed alone: the same on every machine and device, whatever else runs.

/// xoshiro256++ (Blackman and Vigna, 2019), seeded by SplitMix64.
pub struct Random([u64; 4]);

impl Random {
    /// A sequence of its own for every list of numbers, as seed, member and epoch.
    pub fn of(numbers: &[u64]) -> Self {
        let mut state = numbers.iter().fold(0, |state, number| mix(state ^ *number));
        Self([(); 4].map(|()| {
            state = state.wrapping_add(STEP);
            mix(state)
        }))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let Self(s) = self;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// Nearly normal, mean 0 and deviation 1: the sum of eight random bytes.
    pub fn normal(&mut self) -> f32 {
        const BYTES: u64 = 0x00FF_00FF_00FF_00FF;
        const MEAN: f32 = 8.0 * 127.5;
        const DEVIATION: f32 = 209.021_53; // sqrt(8 (256^2 - 1) / 12)
        let bits = self.bits();
        let pairs = (bits & BYTES) + ((bits >> 8) & BYTES);
        let sum = pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48;
        (sum as f32 - MEAN) / DEVIATION
    }

    /// Puts items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let place = (u128::from(self.bits()) * (last as u128 + 1)) >> 64;
            items.swap(last, place as usize);
        }
    }

    /// Multiplies each value by 0 with probability `share`, and by 1 / (1 - share) otherwise.
    pub fn drop_out(&mut self, share: f32, values: &mut [f32]) {
        let (kept, least) = (1.0 / (1.0 - share), (share * 65536.0).round() as u64);
        for four in values.chunks_mut(4) {
            let mut bits = self.bits();
            for value in four {
                *value = if bits & 0xFFFF < least { 0.0 } else { *value * kept };
                bits >>= 16;
            }
        }
    }
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's last step.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(STEP);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_has_a_sequence_of_its_own_and_the_same_each_time() {
        let first = |numbers: &[u64]| Random::of(numbers).bits();
        assert_eq!(first(&[1, 2, 3]), first(&[1, 2, 3]));
        let seeds: [&[u64]; 6] = [&[], &[0], &[1], &[0, 1], &[1, 0], &[0, 0]];
        let firsts: std::collections::BTreeSet<u64> = seeds.into_iter().map(first).collect();
        assert_eq!(firsts.len(), seeds.len());
    }

    #[test]
    fn numbers_have_the_moments_that_they_should() {
        let mut random = Random::of(&[7]);
        let count = 200_000;
        let mut moments = |mut draw: Box<dyn FnMut(&mut Random) -> f32>| {
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..count {
                let value = f64::from(draw(&mut random));
                sum += value;
                squares += value * value;
            }
            let mean = sum / f64::from(count);
            (mean, squares / f64::from(count) - mean * mean)
        };
        let (mean, variance) = moments(Box::new(Random::normal));
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01, "{mean} {variance}");
        let (mean, variance) = moments(Box::new(Random::unit));
        assert!((mean - 0.5).abs() < 0.005 && (variance - 1.0 / 12.0).abs() < 0.001, "{mean} {variance}");
    }

    #[test]
    fn a_shuffle_keeps_every_item_and_puts_each_anywhere() {
        let mut random = Random::of(&[3]);
        let mut firsts = [0; 5];
        for _ in 0..5000 {
            let mut items = [0, 1, 2, 3, 4];
            random.shuffle(&mut items);
            firsts[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3, 4]);
        }
        assert!(firsts.iter().all(|count| (850..1150).contains(count)), "{firsts:?}");
    }

    #[test]
    fn as_many_values_are_dropped_as_asked_and_their_mean_stays() {
        let mut values = vec![2.0; 100_001];
        Random::of(&[1]).drop_out(0.3, &mut values);
        let dropped = values.iter().filter(|value| **value == 0.0).count();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((29_000..31_000).contains(&dropped) && (mean - 2.0).abs() < 0.03, "{dropped} {mean}");
        let mut none = vec![1.5; 7];
        Random::of(&[1]).drop_out(0.0, &mut none);
        assert_eq!(none, [1.5; 7]);
    }
}
