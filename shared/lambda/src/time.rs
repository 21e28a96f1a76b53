//! The time that an invocation has.

use std::time::{Duration, Instant};

/// Of the time that Lambda gives, the part that is kept for the answer: a twentieth, within these bounds.
const ANSWER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Lambda tells the deadline of every invocation, but local emulators may tell one that has passed long ago.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(300);

/// Until when work may go on: the deadline that Lambda tells, `deadline_ms` in milliseconds since the Unix epoch, less what
/// the answer takes. `now` is the time since the Unix epoch.
pub fn until_answer(deadline_ms: u64, now: Duration) -> Instant {
    let left = deadline_ms.checked_sub(now.as_millis() as u64).map(Duration::from_millis);
    let left = left.unwrap_or(UNKNOWN_DEADLINE);
    Instant::now() + left.saturating_sub((left / 20).clamp(ANSWER.0, ANSWER.1))
}
