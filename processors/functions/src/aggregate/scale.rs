//! DDSketch's buckets: every finite double has one, and its value is known from it to a relative accuracy.
//!
//! Bucket boundaries lie where a quadratic that stands in for the logarithm is a whole number ("quadratically
//! interpolated mapping": 8 % more buckets than a true logarithm). It takes sums, products and square roots alone,
//! which every machine rounds alike; a logarithm it does not.
//!
//! Limits: 0.001 to 0.2 of accuracy. Magnitudes below the smallest normal double (2e-308) count as zero.

/// Moves bucket numbers above zero; beyond the greatest magnitude at the best accuracy.
const BIAS: i32 = 1 << 20;
const INFINITE: i32 = 1 << 30;

/// Values this many powers of two smaller than a group's greatest share a bucket.
const OCTAVES: f64 = 54.0;

pub const ACCURACY_MIN: f64 = 0.001;
pub const ACCURACY_MAX: f64 = 0.2;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    buckets_per_octave: f64,
    /// Buckets of one sign, from the greatest magnitude down.
    pub buckets_max: i32,
}

impl Scale {
    /// `accuracy` within [`ACCURACY_MIN`] and [`ACCURACY_MAX`].
    pub fn new(accuracy: f64) -> Self {
        // A bucket may span ln((1 + a) / (1 - a)) = 2 (a + a³/3 + a⁵/5 + …) of the logarithm. It spans most just above a
        // power of two, where the quadratic grows by 4/3 of what the logarithm does.
        let mut span = 0.0;
        let mut power = accuracy;
        for odd in (1..60).step_by(2) {
            span += 2.0 * power / f64::from(odd);
            power *= accuracy * accuracy;
        }
        let buckets_per_octave = 0.75 / span;
        Self { buckets_per_octave, buckets_max: (OCTAVES * buckets_per_octave).ceil() as i32 }
    }

    /// The bucket of a value that is a number; buckets are ordered as their values are.
    pub fn bucket(&self, value: f64) -> i32 {
        const MANTISSA: u64 = (1 << 52) - 1;
        const ONE: u64 = 1023 << 52;
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as i32;
        let part = f64::from_bits(bits & MANTISSA | ONE) - 1.0;
        let octaves = f64::from(exponent - 1023) + part * (4.0 - part) / 3.0;
        let magnitude = match exponent {
            0 => 0,
            0x7ff => INFINITE,
            _ => (self.buckets_per_octave * octaves + f64::from(BIAS)) as i32,
        };
        if value < 0.0 { -magnitude } else { magnitude }
    }

    /// A value that is within the accuracy of every value of the bucket.
    pub fn value(&self, bucket: i32) -> f64 {
        let magnitude = match bucket.abs() {
            0 => 0.0,
            INFINITE => f64::INFINITY,
            number => {
                let low = self.boundary(number);
                let high = self.boundary(number + 1).min(f64::MAX);
                low * (2.0 / (1.0 + low / high))
            }
        };
        if bucket < 0 { -magnitude } else { magnitude }
    }

    /// The least magnitude of a bucket.
    fn boundary(&self, number: i32) -> f64 {
        let octaves = f64::from(number - BIAS) / self.buckets_per_octave;
        let exponent = octaves.floor().clamp(-1022.0, 1023.0);
        let part = 2.0 - (4.0 - 3.0 * (octaves - exponent).clamp(0.0, 1.0)).sqrt();
        (1.0 + part) * f64::from_bits(((exponent as i64 + 1023) as u64) << 52)
    }

    /// The bucket that takes in all of smaller magnitude, when `greatest` is the greatest magnitude's.
    pub fn floor(&self, greatest: i32) -> i32 {
        greatest - self.buckets_max
    }
}

/// Whether a number is that of a bucket, at some accuracy.
pub fn is_bucket(number: i32) -> bool {
    matches!(number.unsigned_abs(), 0..=0x1f_ffff | 0x4000_0000)
}

pub fn is_infinite(bucket: i32) -> bool {
    bucket.abs() == INFINITE
}

/// A bucket as an item of a tally: ordered alike.
pub fn to_item(bucket: i32) -> u32 {
    bucket as u32 ^ 1 << 31
}

pub fn from_item(item: u32) -> i32 {
    (item ^ 1 << 31) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn every_normal_double_is_known_to_the_accuracy(
            value in any::<f64>().prop_filter("normal", |value| value.is_normal()),
            accuracy in ACCURACY_MIN..ACCURACY_MAX,
        ) {
            let scale = Scale::new(accuracy);
            let bucket = scale.bucket(value);
            let error = (scale.value(bucket) / value - 1.0).abs();
            prop_assert!(error <= accuracy + 1e-11, "{value} is told as {}: {error}", scale.value(bucket));
            prop_assert!(scale.bucket(value * 1.5) >= bucket || value < 0.0);
            prop_assert_eq!(from_item(to_item(bucket)), bucket);
        }

        #[test]
        fn buckets_are_ordered_as_their_values(one in any::<f64>(), other in any::<f64>()) {
            let (low, high) = if one < other { (one, other) } else { (other, one) };
            let scale = Scale::new(0.01);
            if low <= high {
                prop_assert!(scale.bucket(low) <= scale.bucket(high));
                prop_assert!(to_item(scale.bucket(low)) <= to_item(scale.bucket(high)));
            }
        }
    }

    #[test]
    fn what_is_not_normal() {
        let scale = Scale::new(0.01);
        for (value, told) in [
            (0.0, 0.0),
            (-0.0, 0.0),
            (f64::MIN_POSITIVE / 2.0, 0.0),
            (f64::INFINITY, f64::INFINITY),
            (f64::NEG_INFINITY, f64::NEG_INFINITY),
        ] {
            assert_eq!(scale.value(scale.bucket(value)), told, "{value}");
        }
        assert!([0, scale.bucket(f64::MIN), scale.bucket(f64::NEG_INFINITY)].into_iter().all(is_bucket));
        assert!(![i32::MIN, i32::MAX, 1 << 21].into_iter().any(is_bucket));
        assert_eq!(scale.buckets_max, 2025);
        // Pinned: a bucket is what is stored, so it may not move from machine to machine or version to version.
        assert_eq!([1.0, 2.0, 200.0, 1e9, 1e-9, -3.5].map(|value| scale.bucket(value) - BIAS), PINNED);
    }

    const PINNED: [i32; 6] = [0, 37, 286, 1121, -1122, -2097219];

    #[test]
    fn the_ends_of_the_range() {
        for accuracy in [ACCURACY_MIN, 0.01, ACCURACY_MAX] {
            let scale = Scale::new(accuracy);
            for value in [f64::MAX, f64::MIN_POSITIVE, 1.0, 1.0f64.next_up(), 2.0f64.next_down()] {
                let told = scale.value(scale.bucket(value));
                assert!((told / value - 1.0).abs() <= accuracy + 1e-11, "{value} is told as {told}");
            }
        }
    }
}
