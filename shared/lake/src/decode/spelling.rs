//! Strings and whole numbers as JSON spells them -> characters and integers.
//!
//! In: the inside of a string whose grammar was checked, or text that may begin with a number. Out: what it stands for, or nothing
//! where that takes a second look.

use std::str;

/// Digits of which any number is one of 64 bits.
const DIGITS: usize = 18;

/// Appends `content`, which stands at `start` of `text`.
#[inline]
pub(super) fn append(bytes: &mut Vec<u8>, text: &[u8], start: usize, content: &[u8]) {
    // A copy of a length that is known is a few instructions; most strings are short.
    match text.get(start..).and_then(<[u8]>::first_chunk::<32>) {
        Some(chunk) if content.len() <= chunk.len() => {
            let length = bytes.len() + content.len();
            bytes.extend_from_slice(chunk);
            bytes.truncate(length);
        }
        _ => bytes.extend_from_slice(content),
    }
}

/// The whole number at `start`, if it is one of few digits without fraction and exponent; and its end.
#[inline]
pub(super) fn small_integer(text: &[u8], start: usize) -> Option<(i64, usize)> {
    let is_negative = text.get(start) == Some(&b'-');
    let first = start + usize::from(is_negative);
    let (mut at, mut value) = (first, 0_i64);
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        if at - first >= DIGITS {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
        at += 1;
    }
    let is_plain = match text.get(at) {
        Some(b'.' | b'e' | b'E') | None => false,
        // No digit follows a leading zero.
        Some(_) => at > first && (at == first + 1 || text.get(first) != Some(&b'0')),
    };
    is_plain.then_some((if is_negative { -value } else { value }, at))
}

/// Appends the characters of `content`, the inside of a string by grammar; not if one is half a surrogate pair.
pub(super) fn unescape(content: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    let mut rest = content;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        bytes.extend_from_slice(rest.get(..at)?);
        let escape = *rest.get(at + 1)?;
        rest = rest.get(at + 2..)?;
        bytes.push(match escape {
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, behind) = unescape_unicode(rest)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = behind;
                continue;
            }
            other => other,
        });
    }
    bytes.extend_from_slice(rest);
    Some(())
}

/// The character that is escaped as `text`, behind the `\u`, and what follows (RFC 8259 section 7).
fn unescape_unicode(text: &[u8]) -> Option<(char, &[u8])> {
    let (high, rest) = four_digits(text)?;
    if !(0xD800..0xE000).contains(&high) {
        return Some((char::from_u32(high)?, rest));
    }
    let (low, rest) = four_digits(rest.strip_prefix(b"\\u")?)?;
    let is_pair = high < 0xDC00 && (0xDC00..0xE000).contains(&low);
    let code = 0x1_0000 + ((high & 0x3FF) << 10) + (low & 0x3FF);
    Some((char::from_u32(code).filter(|_| is_pair)?, rest))
}

fn four_digits(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    Some((u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?, rest))
}
