//! JSON number text -> exact integers, decimals and floats.
//!
//! In: the text of a number as the producer spelled it. Out: its exact value, or why the column's type cannot hold
//! it. Nothing is rounded but binary floating point (IEEE 754), and nothing overflows to infinity.

use records::scan;

/// Why a number does not fit its column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Not a number by the JSON grammar (RFC 8259 section 6).
    NotANumber,
    /// More digits behind the point than the type holds.
    Fraction,
    /// Too large for the type.
    Range,
}

/// `text` times 10^`scale` as an integer: with scale 0 the whole number that `text` spells (`42`, `1.0`, `1e3`).
pub(crate) fn scaled(text: &str, scale: u32) -> Result<i128, Misfit> {
    match floored(text, scale)? {
        (value, true) => Ok(value),
        (_, false) => Err(Misfit::Fraction),
    }
}

/// The largest integer that is not above `text` times 10^`scale`, and whether it is exactly that.
pub(super) fn floored(text: &str, scale: u32) -> Result<(i128, bool), Misfit> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    // The usual case: a plain integer that no 64-bit arithmetic can overflow.
    if scale == 0 && (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
        if digits[0] == b'0' && digits.len() > 1 {
            return Err(Misfit::NotANumber);
        }
        let value = digits.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        return Ok((i128::from(if negative { -value } else { value }), true));
    }
    if !is_number(text) {
        return Err(Misfit::NotANumber);
    }
    let (mantissa, exponent) = match digits.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&digits[..at], parse_exponent(&digits[at + 1..])),
        None => (digits, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let count = whole.len() + fraction.len();
    let digit_at = |at: usize| if at < whole.len() { whole[at] } else { fraction[at - whole.len()] };
    let Some(first) = (0..count).find(|at| digit_at(*at) != b'0') else { return Ok((0, true)) };
    let last = (first..count).rfind(|at| digit_at(*at) != b'0').unwrap_or(first);
    // The digits first..=last, times ten to this power, are the result.
    let power = exponent + i64::from(scale) + whole.len() as i64 - 1 - last as i64;
    // Digits behind the point are left out, and zeros are put in front of it.
    let (left_out, zeros) = ((-power).max(0), power.max(0));
    let kept = (last + 1 - first) as i64 - left_out;
    if kept + zeros > 39 {
        return Err(Misfit::Range);
    }
    let mut value: i128 = 0;
    for at in (first..=last).take(kept.max(0) as usize) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit_at(at) - b'0')))
            .ok_or(Misfit::Range)?;
    }
    let value = value.checked_mul(10_i128.pow(zeros as u32)).ok_or(Misfit::Range)?;
    let exact = left_out == 0;
    Ok((if negative { -value - i128::from(!exact) } else { value }, exact))
}

/// The nearest double.
pub(crate) fn double(text: &str) -> Result<f64, Misfit> {
    if !is_number(text) {
        return Err(Misfit::NotANumber);
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or(Misfit::Range)
}

/// The nearest single-precision float.
pub(super) fn float(text: &str) -> Result<f32, Misfit> {
    if !is_number(text) {
        return Err(Misfit::NotANumber);
    }
    text.parse().ok().filter(|value: &f32| value.is_finite()).ok_or(Misfit::Range)
}

fn is_number(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-' | b'0'..=b'9', ..])
        && scan::value_end(text.as_bytes(), 0).is_ok_and(|end| end == text.len())
}

/// The exponent behind `e`, held within a range far outside any type's.
fn parse_exponent(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = digits.iter().fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 40));
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_in_every_spelling() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("0.000", 0),
            ("0e99999999999999999999", 0),
            ("42", 42),
            ("-42", -42),
            ("1.0", 1),
            ("1e3", 1000),
            ("1.50e1", 15),
            ("-1200E-2", -12),
            ("123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890),
        ] {
            assert_eq!(scaled(text, 0), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_whole_or_not_a_number_is_refused() {
        for text in ["1.5", "1e-1", "0.1", "1.0000000001"] {
            assert_eq!(scaled(text, 0), Err(Misfit::Fraction), "{text}");
        }
        for text in ["", "-", "007", "+1", " 1", "1 ", "0x10", "1e", "NaN", "Infinity", "1,0", "１"] {
            assert_eq!(scaled(text, 0), Err(Misfit::NotANumber), "{text}");
            assert_eq!(double(text), Err(Misfit::NotANumber), "{text}");
        }
        for text in ["1e39", "1e99999999999999999999", "999999999999999999999999999999999999999999"] {
            assert_eq!(scaled(text, 0), Err(Misfit::Range), "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(scaled("12.34", 2), Ok(1234));
        assert_eq!(scaled("12.3", 2), Ok(1230));
        assert_eq!(scaled("12.340", 2), Ok(1234));
        assert_eq!(scaled("1.234e1", 2), Ok(1234));
        assert_eq!(scaled("12.345", 2), Err(Misfit::Fraction));
    }

    #[test]
    fn what_lies_between_two_integers_is_cut_to_the_lower() {
        for (text, scale, floor) in [
            ("1.5", 0, 1),
            ("-1.5", 0, -2),
            ("0.9999999999", 3, 999),
            ("-0.0001", 3, -1),
            ("1e-400", 9, 0),
            ("-1e-99999999999999999999", 9, -1),
            ("1772000000.1234567899", 9, 1_772_000_000_123_456_789),
            ("1.7720000001234567e9", 6, 1_772_000_000_123_456),
        ] {
            assert_eq!(floored(text, scale), Ok((floor, false)), "{text}");
        }
        assert_eq!(floored("-1.50", 1), Ok((-15, true)));
        assert_eq!(floored("1e39", 0), Err(Misfit::Range));
    }

    #[test]
    fn floats_never_become_infinite() {
        assert_eq!(double("1e400"), Err(Misfit::Range));
        assert_eq!(float("1e39"), Err(Misfit::Range));
        assert_eq!(double("1e-400"), Ok(0.0));
        assert_eq!(double("-12.5e-1"), Ok(-1.25));
    }
}
