//! Arithmetic and words for figures.

/// Order statistics of samples.
#[derive(Debug, Clone)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// In any order; must not be empty for the figures to mean anything (0 then).
    #[must_use]
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that `share` (0 to 1) of the samples do not exceed, by nearest rank.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The middle one, or the mean of the two in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        let at = |n: usize| self.0.get(n).copied().unwrap_or_default();
        let half = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            at(half)
        } else {
            f64::midpoint(at(half.saturating_sub(1)), at(half))
        }
    }

    #[must_use]
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or_default()
    }

    #[must_use]
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }
}

/// ` (aim: at most 8 us: met)`
#[must_use]
pub fn against(aim: &str, met: bool) -> String {
    format!("aim: {aim}: {}", if met { "met" } else { "MISSED" })
}

/// Bytes in the MB of the memory figures, 1,000,000 bytes as the reference counts.
#[must_use]
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples = Samples::new((1..=100).rev().map(f64::from).collect());
        assert_eq!(
            [samples.quantile(0.5), samples.quantile(0.99), samples.quantile(1.0)],
            [50.0, 99.0, 100.0]
        );
        assert_eq!((samples.median(), samples.min(), samples.max()), (50.5, 1.0, 100.0));
        assert_eq!(Samples::new(vec![3.0, 1.0, 2.0]).median(), 2.0);
    }

    #[test]
    fn no_samples_are_no_panic() {
        let none = Samples::new(Vec::new());
        assert_eq!((none.median(), none.quantile(0.99), none.max()), (0.0, 0.0, 0.0));
    }
}
