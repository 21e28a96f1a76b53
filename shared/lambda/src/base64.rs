//! The base64 (RFC 4648 section 4, with padding) in which AWS hands over bytes.
//!
//! In: text. Out: its bytes. Refused: what is no base64, with the first byte that is wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Appends what `text` is the base64 of to `bytes`.
///
/// # Errors
/// What is wrong, and where; of the bytes nothing is known then.
pub fn decode(text: &str, bytes: &mut Vec<u8>) -> Result<(), base64::DecodeError> {
    if base64_simd::STANDARD.decode_append(text, bytes).is_ok() {
        return Ok(());
    }
    // It says that something is wrong, not what and where.
    STANDARD.decode_vec(text, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn base64_is_what_the_other_decoder_takes_for_base64(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 0..3),
        ) {
            let mut data = STANDARD.encode(bytes).into_bytes();
            for (index, byte, kind) in edits {
                let at = index.index(data.len() + 1);
                match kind {
                    0 => data.insert(at, byte),
                    1 => data.insert(at, b'='),
                    2 if at < data.len() => data[at] = byte,
                    _ => data.truncate(at),
                }
            }
            let data = String::from_utf8_lossy(&data);
            let theirs = STANDARD.decode(data.as_bytes());
            let mut ours = Vec::new();
            let ours = decode(&data, &mut ours).map(|()| ours);
            prop_assert_eq!(ours, theirs);
            // The fast one alone: it takes nothing that the other does not take.
            let fast = base64_simd::STANDARD.decode_to_vec(data.as_bytes()).ok();
            prop_assert_eq!(&fast, &STANDARD.decode(data.as_bytes()).ok());
            if let Some(bytes) = fast {
                prop_assert_eq!(base64_simd::STANDARD.encode_to_string(bytes), data);
            }
        }
    }
}
