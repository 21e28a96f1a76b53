//! Times and shares in words.

use chrono::{DateTime, SecondsFormat};
use indicatif::HumanDuration;

/// `2026-03-01T10:00:00Z`.
pub(super) fn clock(time_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(time_ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A time in milliseconds as `5 minutes`.
pub(super) fn ago(ms: i64) -> String {
    HumanDuration(std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0))).to_string()
}

/// `12 %`; nothing of nothing is nothing.
pub(super) fn percent(part: u64, whole: u64) -> String {
    format!("{:.0} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// A number with at most four digits, as `1.2 M`.
pub(super) fn short(number: f64) -> String {
    let (number, unit) = match number.abs() {
        size if size >= 1e12 => (number / 1e12, " T"),
        size if size >= 1e9 => (number / 1e9, " G"),
        size if size >= 1e6 => (number / 1e6, " M"),
        size if size >= 1e4 => (number / 1e3, " k"),
        _ => (number, ""),
    };
    match number.fract() == 0.0 || number.abs() >= 100.0 {
        true => format!("{number:.0}{unit}"),
        false => format!("{number:.1}{unit}"),
    }
}

/// `text` for HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (1234.0, "1234"),
            (12_345.0, "12.3 k"),
            (2.5e6, "2.5 M"),
            (999e9, "999 G"),
            (7e13, "70 T"),
        ] {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn what_a_name_holds_is_no_markup() {
        assert_eq!(escaped("<b>\"a\" & b"), "&lt;b&gt;&quot;a&quot; &amp; b");
    }
}
