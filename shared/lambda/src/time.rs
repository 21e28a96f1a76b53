//! The time that an invocation has.

use std::time::{Duration, Instant};

/// Of the time that Lambda gives, the part that is kept for the answer: a twentieth, within these bounds.
const ANSWER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// The longest that Lambda lets a function run ("Configure Lambda function timeout").
const LONGEST_TIMEOUT: Duration = Duration::from_secs(900);
/// What an invocation has whose deadline nobody told.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(300);

/// Until when work may go on: the deadline that Lambda tells, `deadline_ms` in milliseconds since the Unix epoch, less what
/// the answer takes. `now` is the time since the Unix epoch. A deadline that has just passed leaves no time. One that passed
/// longer ago than any invocation lasts is none: local emulators tell 0, or the time of their own start.
pub fn until_answer(deadline_ms: u64, now: Duration) -> Instant {
    let deadline = Duration::from_millis(deadline_ms);
    let left = match now.checked_sub(deadline) {
        Some(passed) if passed > LONGEST_TIMEOUT => UNKNOWN_DEADLINE,
        _ => deadline.saturating_sub(now),
    };
    Instant::now() + left.saturating_sub((left / 20).clamp(ANSWER.0, ANSWER.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_just_passed_leaves_no_time() {
        let now = Duration::from_secs(1_800_000_000);
        let left = |deadline: Duration| {
            let before = Instant::now();
            let until = until_answer(deadline.as_millis() as u64, now);
            until.saturating_duration_since(before).as_secs()
        };
        for passed in [Duration::ZERO, Duration::from_millis(1), LONGEST_TIMEOUT] {
            assert_eq!(left(now - passed), 0, "{passed:?}");
        }
        assert_eq!(left(now - LONGEST_TIMEOUT - Duration::from_millis(1)), 298);
        assert_eq!(left(Duration::ZERO), 298);
        assert_eq!(left(now + Duration::from_secs(20)), 19);
    }
}
