//! Where a JSON string stops being plain: its end, an escape, or a byte that it must not hold.
//!
//! In: text, and positions in it that only grow. Out: the first quote, backslash or control character (below 0x20) from each on.
//! Blocks of 64 bytes are looked at once, by the vector instructions that every processor of the architecture has (SSE2,
//! NEON); what is found is kept as a bit for each byte, so that a short string costs a few instructions.

use wide::u8x16;

const BLOCK: usize = 64;

/// The special bytes of a text.
#[derive(Clone, Debug)]
pub(crate) struct Specials<'a> {
    text: &'a [u8],
    /// Where the block starts that was looked at last: a multiple of [`BLOCK`].
    block: usize,
    /// Its special bytes, the lowest bit first.
    bits: u64,
}

impl<'a> Specials<'a> {
    #[inline]
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self { text, block: usize::MAX, bits: 0 }
    }

    #[inline]
    pub(crate) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The first quote, backslash or control character at or after `start`.
    #[inline(always)]
    pub(crate) fn first_from(&mut self, start: usize) -> Option<usize> {
        let mut block = start - start % BLOCK;
        if block != self.block {
            self.look_at(block)?;
        }
        let mut bits = self.bits & (u64::MAX << (start % BLOCK));
        while bits == 0 {
            block += BLOCK;
            self.look_at(block)?;
            bits = self.bits;
        }
        Some(block + bits.trailing_zeros() as usize)
    }

    /// None where the text has ended before.
    #[inline]
    fn look_at(&mut self, block: usize) -> Option<()> {
        let rest = self.text.get(block..).filter(|rest| !rest.is_empty())?;
        self.bits = match rest.first_chunk() {
            Some(whole) => bits(whole),
            None => {
                let mut padded = [b' '; BLOCK];
                padded.iter_mut().zip(rest).for_each(|(padding, byte)| *padding = *byte);
                bits(&padded)
            }
        };
        self.block = block;
        Some(())
    }
}

#[inline]
fn bits(block: &[u8; BLOCK]) -> u64 {
    let [quote, backslash, last_control] = [b'"', b'\\', 0x1F].map(u8x16::splat);
    let mut bits = 0;
    for chunk in block.as_chunks().0.iter().rev() {
        let bytes = u8x16::new(*chunk);
        let special =
            bytes.simd_eq(quote) | bytes.simd_eq(backslash) | bytes.min(last_control).simd_eq(bytes);
        bits = bits << chunk.len() | u64::from(special.to_bitmask());
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one_by_one(text: &[u8], start: usize) -> Option<usize> {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        text.get(start..)?.iter().position(is_special).map(|offset| start + offset)
    }

    #[test]
    fn every_byte_is_judged_alike_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..150 {
                let mut text = [b'a'; 150];
                text[at] = byte;
                assert_eq!(Specials::of(&text).first_from(0), one_by_one(&text, 0), "byte {byte} at {at}");
            }
        }
        for start in [0, 1, 64, 65] {
            assert_eq!(Specials::of(b"").first_from(start), None);
            assert_eq!(Specials::of(&[b'"'; 64]).first_from(start), (start < 64).then_some(start));
        }
    }

    proptest! {
        #[test]
        fn the_first_one_is_found_from_everywhere(
            text in prop::collection::vec(prop_oneof![9 => 0x20_u8..=0xFF, 1 => any::<u8>()], 0..300),
            mut starts in prop::collection::vec(0..310_usize, 0..10),
        ) {
            starts.sort_unstable();
            let mut specials = Specials::of(&text);
            for start in starts {
                prop_assert_eq!(specials.first_from(start), one_by_one(&text, start));
            }
        }
    }
}
