//! Objects put together of members as they are spelled.
//!
//! In: keys and values as JSON text. Out: an object's text, which grows at its end.

use crate::scan;

/// Stands before the name of a field of an envelope where the event in it has a field of that name.
const ENVELOPE_PREFIX: &[u8] = b"envelope_";

/// Appends a member to the object that is open at the end of `text`. `key` has its quotes.
pub(crate) fn push_member(text: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    push_separator(text);
    text.extend_from_slice(key);
    text.push(b':');
    text.extend_from_slice(value);
}

/// Appends what stands before the next member.
pub(crate) fn push_separator(text: &mut Vec<u8>) {
    if text.last() != Some(&b'{') {
        text.push(b',');
    }
}

/// Replaces `out` by the object `event` with `beside`, the members of its envelope, behind its own. Those of a name that the
/// event has too, in whatever case, are called `envelope_<name>`.
pub(crate) fn put_beside<'a>(
    event: &[u8],
    beside: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) {
    out.clear();
    let (mut names, mut last_end) = (Vec::new(), 1);
    for member in scan::members(event, 0).flatten() {
        names.push(&event[member.key]);
        last_end = member.value.end;
    }
    out.extend_from_slice(&event[..last_end]);
    for (key, value) in beside {
        if names.iter().any(|name| name.eq_ignore_ascii_case(key)) {
            push_separator(out);
            out.push(b'"');
            out.extend_from_slice(ENVELOPE_PREFIX);
            out.extend_from_slice(&key[1..]);
            out.push(b':');
            out.extend_from_slice(value);
        } else {
            push_member(out, key, value);
        }
    }
    out.push(b'}');
}
