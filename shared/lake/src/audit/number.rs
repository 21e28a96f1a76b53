//! A number for people: its digits in groups of three.

use std::fmt;

/// `1,234,567`.
pub(super) struct HumanCount(pub(super) u64);

impl fmt::Display for HumanCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                formatter.write_str(",")?;
            }
            write!(formatter, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups() {
        let shown = [0, 999, 1_000, 1_234_567].map(|number| HumanCount(number).to_string());
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
