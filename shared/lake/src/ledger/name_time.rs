//! The time that the name of an object tells.

/// When Firehose began the object `key`, in milliseconds since 1970: its names are
/// `<prefix><stream>-<version>-<YYYY-MM-DD-HH-MM-SS>-<random>` with the time in UTC (Amazon Data Firehose Developer Guide,
/// "Understand data delivery in Amazon Data Firehose", "Amazon S3 object names"). None if it has another name.
///
/// Unlike the time of a message or of the object itself, it stays when the object is copied onto itself or announced
/// again.
pub(crate) fn name_time(key: &str) -> Option<i64> {
    let name = key.rsplit('/').next()?;
    let parts: Vec<&str> = name.split('-').collect();
    let digits = |part: &str, count: usize| -> Option<i64> {
        (part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let times: Vec<i64> = parts
        .windows(7)
        .filter_map(|window| {
            // Behind the time there is a UUID, of five parts.
            let [year, month, day, hour, minute, second, random] = *window else { return None };
            let numbers = [
                digits(year, 4)?,
                digits(month, 2)?,
                digits(day, 2)?,
                digits(hour, 2)?,
                digits(minute, 2)?,
                digits(second, 2)?,
            ];
            let is_random = random.len() >= 8 && random.bytes().take(8).all(|byte| byte.is_ascii_hexdigit());
            is_random.then(|| millis(numbers))?
        })
        .collect();
    // A name with two times tells none.
    match times[..] {
        [time] => Some(time),
        _ => None,
    }
}

fn millis([year, month, day, hour, minute, second]: [i64; 6]) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days of the proleptic Gregorian calendar, in years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_firehose_tell_their_time() {
        let random = "6c5a4b3e-9d1f-4f5e-8b7a-0c1d2e3f4a5b";
        for (key, expected) in [
            (format!("raw/2026/11/27/02/events-1-2026-11-27-02-08-00-{random}"), Some(1_795_745_280_000)),
            (format!("raw/my-2nd-stream-12-1970-01-01-00-00-01-{random}.gz"), Some(1000)),
            (format!("events-1-2024-02-29-23-59-59-{random}.json.gz"), Some(1_709_251_199_000)),
            (format!("events-1-2026-13-27-02-08-00-{random}"), None),
            (format!("events-1-2026-11-27-02-08-{random}"), None),
            ("2026-11-27-02-08-00.gz".to_owned(), None),
            (format!("a-2026-11-27-02-08-00-{random}-2026-11-27-02-08-00-{random}"), None),
            ("raw/2026/11/27/a.json".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(name_time(&key), expected, "{key}");
        }
    }
}
