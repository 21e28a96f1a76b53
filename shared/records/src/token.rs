//! The tokens of JSON: strings, numbers and literals (RFC 8259 sections 3, 6 and 7).
//!
//! In: text and the position of a token's first byte, which the caller has looked at. Out: the token's end.
//! Refused: the first byte that breaks the token's grammar.

use crate::scan::Fault;
use crate::special::Specials;

/// The end (exclusive) of the string whose opening quote is at `start`, and whether it has escapes.
#[inline(always)]
pub(crate) fn string_end(specials: &mut Specials<'_>, start: usize) -> Result<(usize, bool), Fault> {
    let text = specials.text();
    let (mut at, mut has_escapes) = (start + 1, false);
    loop {
        at = specials.first_from(at).ok_or(Fault::Incomplete)?;
        match text.get(at) {
            Some(b'"') => return Ok((at + 1, has_escapes)),
            Some(b'\\') => at = escape_end(text, at)?,
            _ => {
                return Err(Fault::Invalid {
                    at,
                    expected: "a character (control characters must be escaped)",
                });
            }
        }
        has_escapes = true;
    }
}

/// The end (exclusive) of the escape whose backslash is at `start`.
fn escape_end(text: &[u8], start: usize) -> Result<usize, Fault> {
    match text.get(start + 1) {
        None => Err(Fault::Incomplete),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(start + 2),
        Some(b'u') => {
            for at in start + 2..start + 6 {
                match text.get(at) {
                    None => return Err(Fault::Incomplete),
                    Some(byte) if byte.is_ascii_hexdigit() => {}
                    Some(_) => return Err(Fault::Invalid { at, expected: "a hexadecimal digit" }),
                }
            }
            Ok(start + 6)
        }
        Some(_) => Err(Fault::Invalid { at: start + 1, expected: "one of \"\\/bfnrtu" }),
    }
}

/// The end (exclusive) of the number that starts at `start` with a minus or a digit.
#[inline]
pub(crate) fn number_end(text: &[u8], start: usize) -> Result<usize, Fault> {
    let integer = if text[start] == b'-' { start + 1 } else { start };
    let mut at = digits_end(text, integer)?;
    if text[integer] == b'0' && at > integer + 1 {
        return Err(Fault::Invalid { at: integer + 1, expected: "no digit after a leading zero" });
    }
    if text.get(at) == Some(&b'.') {
        at = digits_end(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = text.get(at) {
            at += 1;
        }
        at = digits_end(text, at)?;
    }
    Ok(at)
}

/// The end of a run of digits, at least one.
fn digits_end(text: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start;
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    match text.get(start) {
        None => Err(Fault::Incomplete),
        Some(_) if at == start => Err(Fault::Invalid { at, expected: "a digit" }),
        Some(_) => Ok(at),
    }
}

/// The end (exclusive) of `literal`, which starts at `start`.
#[inline]
pub(crate) fn literal_end<const N: usize>(
    text: &[u8],
    start: usize,
    literal: &[u8; N],
    expected: &'static str,
) -> Result<usize, Fault> {
    if text.get(start..).and_then(<[u8]>::first_chunk) == Some(literal) {
        return Ok(start + N);
    }
    for (offset, wanted) in literal.iter().enumerate() {
        match text.get(start + offset) {
            None => return Err(Fault::Incomplete),
            Some(byte) if byte == wanted => {}
            Some(_) => return Err(Fault::Invalid { at: start + offset, expected }),
        }
    }
    Ok(start + literal.len())
}
