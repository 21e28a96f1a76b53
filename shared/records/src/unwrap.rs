//! An envelope -> the array of events in it, and its other fields.
//!
//! In: an object, or its beginning, and the path of the array. Out: where the array is, and an object of the other fields.
//! Refused: what has no array of objects there; it is an event itself.

use crate::members::{push_member, push_separator};
use crate::scan;
use crate::special::Specials;
use crate::token::string_end;

/// What is beside the events of an array at most, in bytes: it comes again with each of them.
const MAX_BESIDE_BYTES: usize = 64 * 1024;

/// An envelope in memory.
pub(crate) struct Wrapped<'a> {
    /// The array, whose first element is an object; or an empty one.
    pub(crate) array: &'a [u8],
    /// The other fields, as an object.
    pub(crate) beside: Vec<u8>,
}

/// Takes `object` for an envelope of the array at `path`, unless it has other contents.
pub(crate) fn wrapped<'a>(object: &'a [u8], path: &[String]) -> Option<Wrapped<'a>> {
    let mut beside = Vec::new();
    let array = others(object, path, &mut beside)?;
    let first = array.get(scan::skip_whitespace(array, 1));
    let is_envelope = matches!(first, Some(b'{' | b']')) && beside.len() <= MAX_BESIDE_BYTES;
    is_envelope.then_some(Wrapped { array, beside })
}

/// Appends an object of the members of `object` but the array at `path`, and gives back the array.
fn others<'a>(object: &'a [u8], path: &[String], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (name, path) = path.split_first()?;
    let mut array = None;
    out.push(b'{');
    for member in scan::members(object, 0).flatten() {
        let (key, value) = (&object[member.key], &object[member.value]);
        if array.is_some() || !is_key(key, name) {
            push_member(out, key, value);
        } else if path.is_empty() {
            array = Some(value).filter(|value| value.starts_with(b"["));
            array?;
        } else {
            let before = out.len();
            open_member(out, key);
            let inner = out.len();
            array = others(value, path, out);
            array?;
            if out.len() == inner + 2 {
                out.truncate(before);
            }
        }
    }
    out.push(b'}');
    array
}

/// Where the first element of the array at `path` starts, in the object that begins with `text`, and an object of the other
/// fields before it. None if there is no array of objects in what is there of the object.
pub(crate) fn first_element(text: &[u8], path: &[String]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut beside) = (0, Vec::new());
    // How much of `beside` there is without the objects that are open and have nothing but the array.
    let mut kept = Vec::new();
    for name in path {
        if text.get(at) != Some(&b'{') {
            return None;
        }
        beside.push(b'{');
        at = scan::skip_whitespace(text, at + 1);
        loop {
            let (key_end, _) = (text.get(at) == Some(&b'"'))
                .then(|| string_end(&mut Specials::of(text), at).ok())
                .flatten()?;
            let key = text.get(at..key_end)?;
            let colon = scan::skip_whitespace(text, key_end);
            let value = (text.get(colon) == Some(&b':')).then(|| scan::skip_whitespace(text, colon + 1))?;
            if is_key(key, name) {
                kept.push(beside.len());
                open_member(&mut beside, key);
                at = value;
                break;
            }
            let end = scan::value_end(text, value).ok()?;
            push_member(&mut beside, key, text.get(value..end)?);
            let comma = scan::skip_whitespace(text, end);
            at = (text.get(comma) == Some(&b',')).then(|| scan::skip_whitespace(text, comma + 1))?;
        }
    }
    let first = (text.get(at) == Some(&b'[')).then(|| scan::skip_whitespace(text, at + 1))?;
    if text.get(first) != Some(&b'{') || beside.len() > MAX_BESIDE_BYTES {
        return None;
    }
    // Closes the objects from the innermost, without those that have nothing but what is left out.
    let mut is_empty = true;
    for length in kept.into_iter().rev() {
        if is_empty {
            beside.truncate(length);
        }
        is_empty &= beside.last() == Some(&b'{');
        beside.push(b'}');
    }
    if beside.is_empty() {
        beside.extend_from_slice(b"{}");
    }
    Some((first, beside))
}

fn is_key(key: &[u8], name: &str) -> bool {
    key.get(1..key.len() - 1) == Some(name.as_bytes())
}

/// Appends a member without its value.
fn open_member(text: &mut Vec<u8>, key: &[u8]) {
    push_separator(text);
    text.extend_from_slice(key);
    text.push(b':');
}
