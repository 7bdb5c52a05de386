//! Quantiles of what was measured.

/// Values in order.
#[derive(Debug, Clone, Default)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The nearest value of them; not a number of none.
    pub fn quantile(&self, quantile: f64) -> f64 {
        let index = (quantile * (self.0.len() as f64 - 1.0)).round();
        self.0.get(index as usize).copied().unwrap_or(f64::NAN)
    }
}
