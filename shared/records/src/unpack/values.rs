//! A text -> the JSON values in it.
//!
//! In: bytes. Out: where the values are. Nothing is refused here: what is broken is said, or left.

use crate::scan::{self, Fault};

/// The object that `text` starts with, and what is behind it and behind white space. None if it starts otherwise, or the
/// object is broken.
pub(super) fn first_object(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = scan::skip_whitespace(text, 0);
    let end = match text.get(start) {
        Some(b'{') => scan::value_end(text, start).ok()?,
        _ => return None,
    };
    Some((text.get(start..end)?, text.get(scan::skip_whitespace(text, end)..)?))
}

/// The elements of an array that starts with `array` and is sound by grammar.
pub(super) fn elements(array: &[u8]) -> impl Iterator<Item = Result<&[u8], Fault>> {
    let mut at = scan::skip_whitespace(array, 1);
    std::iter::from_fn(move || {
        if matches!(array.get(at), None | Some(b']')) {
            return None;
        }
        let end = match scan::value_end(array, at) {
            Ok(end) => end,
            Err(fault) => {
                at = array.len();
                return Some(Err(fault));
            }
        };
        let element = &array[at..end];
        at = scan::skip_whitespace(array, end);
        if array.get(at) == Some(&b',') {
            at = scan::skip_whitespace(array, at + 1);
        }
        Some(Ok(element))
    })
}
