//! Whether the values of a column come again.
//!
//! In: the first values of a column. Out: whether nearly all of them are new. Then a dictionary only takes time: it grows until
//! the writer gives it up, and what it has found until then stays larger than the values themselves.
//!
//! Most values are told apart by a few of their bytes, and not surely: what looks alike counts as seen, so that in doubt there
//! is a dictionary, as the writer would have it.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef};

/// A bit for each value that was seen, by what it is told apart by: some for each value of the 256 KiB that a column holds at most.
const BITS: usize = 1 << 19;
/// Of ten values of the second half, so many are new at least.
const NEW_OF_TEN: usize = 9;

/// Whether the second half of the values in `pieces`, none of which is null, is new.
pub(super) fn are_new(pieces: &[ArrayRef]) -> bool {
    let count: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut seen = Seen { bits: vec![0; BITS / 64], count: 0, half: count / 2, new: 0 };
    for piece in pieces {
        if let Some(strings) = piece.as_string_opt::<i32>() {
            // None of them is null.
            strings.iter().flatten().for_each(|text| seen.add(digest(text.as_bytes())));
        } else if let Some(numbers) = piece.as_primitive_opt::<Int64Type>() {
            numbers.values().iter().for_each(|number| seen.add(*number as u64));
        } else if let Some(instants) = piece.as_primitive_opt::<TimestampMicrosecondType>() {
            instants.values().iter().for_each(|instant| seen.add(*instant as u64));
        } else {
            return false;
        }
    }
    count > 0 && seen.new * 10 >= (count - count / 2) * NEW_OF_TEN
}

struct Seen {
    bits: Vec<u64>,
    count: usize,
    /// Values from which on it counts whether they are new.
    half: usize,
    new: usize,
}

impl Seen {
    fn add(&mut self, value: u64) {
        // Multiplied by an odd number whose bits look random (2^64 by the golden ratio), the high bits depend on all others.
        let place = (value.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % BITS;
        let Some(word) = self.bits.get_mut(place / 64) else { return };
        let bit = 1 << (place % 64);
        self.new += usize::from(*word & bit == 0 && self.count >= self.half);
        *word |= bit;
        self.count += 1;
    }
}

/// A number of the length, of the first and last bytes of `text`, and of some in the middle.
fn digest(text: &[u8]) -> u64 {
    let middle = text.len() / 2;
    let parts = [
        text,
        text.get(middle..).unwrap_or_default(),
        text.get(text.len().saturating_sub(8)..).unwrap_or_default(),
    ];
    parts.into_iter().fold(text.len() as u64, |digest, part| {
        let mut word = [0; 8];
        word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
        (digest ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Int64Array, StringArray};

    use super::*;

    fn strings(texts: impl Iterator<Item = String>) -> Vec<ArrayRef> {
        let texts: Vec<String> = texts.collect();
        texts.chunks(1000).map(|chunk| Arc::new(StringArray::from(chunk.to_vec())) as ArrayRef).collect()
    }

    #[test]
    fn ids_and_instants_are_new_and_names_are_not() {
        let mut random = fastrand::Rng::with_seed(7);
        let ids = strings((0..8000).map(|_| format!("{:032x}", random.u128(..))));
        assert!(are_new(&ids));
        assert!(are_new(&strings((0..8000).map(|at| format!("/articles/{at}")))));
        let names = strings((0..20_000).map(|_| format!("user {}", random.u32(..5000))));
        assert!(!are_new(&names));
        let instants: ArrayRef = Arc::new(Int64Array::from_iter_values((0..32_000).map(|at| at * 1000)));
        assert!(are_new(&[instants]));
        let counts: ArrayRef = Arc::new(Int64Array::from_iter_values((0..32_000).map(|at| at % 2000)));
        assert!(!are_new(&[counts]));
    }

    #[test]
    fn in_doubt_there_is_a_dictionary() {
        assert!(!are_new(&[]));
        assert!(!are_new(&[Arc::new(BooleanArray::from(vec![true, false]))]));
        // Alike but for bytes that are not looked at.
        let texts = strings((0..8000).map(|at| format!("{}{at:06}{}", "x".repeat(12), "y".repeat(40))));
        assert!(!are_new(&texts));
    }
}
