//! Measurements of one thing, and what is said of them.

/// Measurements of one thing, at least one, in ascending order.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// `None` where nothing was measured.
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Option<Samples> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Samples(values))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The middle one; of an even number the mean of the middle two.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            return self.0[middle];
        }
        f64::midpoint(self.0[middle - 1], self.0[middle])
    }

    /// The smallest measurement that `percent` of all don't exceed (nearest rank).
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn nothing_measured_is_no_sample() {
        assert!(Samples::new([]).is_none());
    }

    #[test]
    fn order_does_not_matter() {
        let samples = Samples::new([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((samples.count(), samples.median(), samples.max()), (3, 2.0, 3.0));
    }

    #[test]
    fn an_even_number_has_a_middle_between() {
        assert_eq!(Samples::new([4.0, 1.0, 2.0, 10.0]).unwrap().median(), 3.0);
    }

    #[test]
    fn percentiles_are_measurements() {
        let samples = Samples::new((1..=200).map(f64::from)).unwrap();
        assert_eq!([1, 50, 99, 100].map(|p| samples.percentile(p)), [2.0, 100.0, 198.0, 200.0]);
        assert_eq!(Samples::new([7.0]).unwrap().percentile(99), 7.0);
    }
}
