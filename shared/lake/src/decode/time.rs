//! Text -> dates, times of day and instants.
//!
//! In: `YYYY-MM-DD`, `HH:MM[:SS[.fraction]]` and the two joined by `T` or a space with an optional zone (RFC 3339, and
//! of ISO 8601 what encoders write: no seconds, a comma as decimal mark, zones `+HHMM` and `+HH`; also ` UTC`; without a
//! zone UTC is meant). Out: days since 1970-01-01, microseconds since midnight, and nanoseconds since
//! 1970-01-01T00:00:00Z. Refused: impossible dates, leap seconds, the basic format without separators. Fractions may have
//! any number of digits; what is finer than a nanosecond is cut.

/// Days since 1970-01-01 of a `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    (bytes.len() == 10).then(|| days(bytes)).flatten()
}

/// Microseconds since midnight of an `HH:MM[:SS[.fraction]]`.
pub(super) fn time_of_day(text: &str) -> Option<i64> {
    let (nanos, rest) = nanos_of_day(text.as_bytes())?;
    rest.is_empty().then_some(nanos / 1000)
}

/// Nanoseconds since the epoch of a date-time (RFC 3339, sections 5.6 and 5.7, and the spellings above), UTC where it names
/// no zone.
pub(crate) fn instant(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let days = days(bytes.get(..10)?)?;
    if !matches!(bytes.get(10)?, b'T' | b't' | b' ') {
        return None;
    }
    let (nanos, zone) = nanos_of_day(&bytes[11..])?;
    let seconds = i128::from(days) * 86_400 - i128::from(zone_seconds(zone)?);
    Some(seconds * 1_000_000_000 + i128::from(nanos))
}

/// Seconds that local time is ahead of UTC.
fn zone_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone.strip_prefix(b" ").unwrap_or(zone) {
        [] if zone.is_empty() => return Some(0),
        [b'Z' | b'z'] if zone.len() == 1 => return Some(0),
        b"UTC" if zone.len() == 4 => return Some(0),
        [sign @ (b'+' | b'-'), h1, h2] => (sign, two(*h1, *h2)?, 0),
        [sign @ (b'+' | b'-'), h1, h2, m1, m2] | [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            (sign, two(*h1, *h2)?, two(*m1, *m2)?)
        }
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    Some(if *sign == b'-' { -seconds } else { seconds })
}

/// Days since 1970-01-01 of exactly `YYYY-MM-DD`, in the proleptic Gregorian calendar.
fn days(text: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month_days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day < 1 || day > month_days {
        return None;
    }
    // Years that start in March end with the leap day, and 153 days are always the five months from March or August.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some((year * 365 + leap_days + day_of_year - 719_468) as i32)
}

/// Nanoseconds since midnight of the `HH:MM[:SS[.fraction]]` that `text` starts with, and what follows it.
fn nanos_of_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let (&[h1, h2, b':', m1, m2], mut rest) = text.split_first_chunk::<5>()? else { return None };
    let (hours, minutes, mut seconds) = (two(h1, h2)?, two(m1, m2)?, 0);
    let mut nanos = 0;
    if let [b':', after @ ..] = rest {
        let &[s1, s2, ref after @ ..] = after else { return None };
        (seconds, rest) = (two(s1, s2)?, after);
        if let [b'.' | b',', fraction @ ..] = rest {
            let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if count == 0 {
                return None;
            }
            for digit in fraction[..count].iter().chain([b'0'; 9].iter()).take(9) {
                nanos = nanos * 10 + i64::from(digit - b'0');
            }
            rest = &fraction[count..];
        }
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some((((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + nanos, rest))
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};

    use super::*;

    #[test]
    fn every_day_of_a_thousand_years_agrees_with_chrono() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        let mut day = NaiveDate::from_ymd_opt(1600, 1, 1).unwrap();
        while day < NaiveDate::from_ymd_opt(2600, 1, 1).unwrap() {
            assert_eq!(date(&day.to_string()), Some((day - epoch).num_days() as i32), "{day}");
            day = day.succ_opt().unwrap();
        }
        assert_eq!(date("0000-01-01"), Some(-719_528));
        assert_eq!(date("9999-12-31"), Some(2_932_896));
    }

    #[test]
    fn instants_agree_with_chrono() {
        for text in [
            "2015-09-12T00:46:58.771Z",
            "1969-12-31T23:59:59.999999999Z",
            "2026-01-02 03:04:05+05:30",
            "2026-01-02t03:04:05.1-11:59",
            "0001-01-01T00:00:00+00:00",
        ] {
            let expected = DateTime::parse_from_rfc3339(&text.replace(' ', "T")).unwrap();
            let nanos = i128::from(expected.timestamp()) * 1_000_000_000
                + i128::from(expected.timestamp_subsec_nanos());
            assert_eq!(instant(text), Some(nanos), "{text}");
        }
        assert_eq!(instant("1970-01-01T00:00:01"), Some(1_000_000_000));
        // Not RFC 3339, but written by many an encoder.
        for (text, same) in [
            ("2026-01-02T03:04:05+0530", "2026-01-02T03:04:05+05:30"),
            ("2026-01-02T03:04:05.5-0000", "2026-01-02T03:04:05.5Z"),
            ("2026-01-02T03:04:05+00", "2026-01-02T03:04:05Z"),
            ("2026-01-02 03:04:05,678", "2026-01-02T03:04:05.678Z"),
            ("2026-01-02T03:04Z", "2026-01-02T03:04:00Z"),
            ("2026-01-02 03:04-01", "2026-01-02T03:04:00-01:00"),
            ("2026-01-02 03:04:05 UTC", "2026-01-02T03:04:05Z"),
            ("2026-01-02 03:04:05 +0100", "2026-01-02T03:04:05+01:00"),
        ] {
            assert!(instant(text).is_some() && instant(text) == instant(same), "{text}");
        }
        assert_eq!(instant("1970-01-01T00:00:00.0000000019Z"), Some(1));
    }

    #[test]
    fn what_is_no_date_or_time_is_refused() {
        for text in [
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-01-00T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T23:60:00Z",
            "2025-01-01T23:59:60Z",
            "2025-01-01T10Z",
            "2025-01-01T10:Z",
            "2025-01-01T10:00:Z",
            "2025-01-01T10:00:00.Z",
            "2025-01-01T10:00:00,Z",
            "2025-01-01T10:00:00+24:00",
            "2025-01-01T10:00:00+2400",
            "2025-01-01T10:00:00+1",
            "2025-01-01T10:00:00+01:0",
            "2025-01-01T10:00:00 ",
            "2025-01-01T10:00:00 Z",
            "2025-01-01T10:00:00UTC",
            "2025-01-01T10:00:00 CET",
            "2025-01-01",
            "2025-01-01T",
            "20250101T100000Z",
            "2025-01-01T10:00:00Zx",
            "２025-01-01T10:00:00Z",
            "",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
        assert_eq!(date("2025-1-1"), None);
        assert_eq!(time_of_day("12:34:56.5"), Some(45_296_500_000));
        assert_eq!(time_of_day("12:34:56,5"), Some(45_296_500_000));
        assert_eq!(time_of_day("12:34"), Some(45_240_000_000));
        assert_eq!(time_of_day("12"), None);
        assert_eq!(time_of_day("12:34:56Z"), None);
    }
}
