//! The digest that tells contents, keys and rows apart: SHA-256, shortened where 128 bits are enough.
//!
//! In: bytes, in any number of parts. Out: the first bytes of their digest.

use std::io;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest of what has been put into it so far.
///
/// Parts are simply joined: where `("ab", "c")` and `("a", "bc")` must differ, put a separator or a length between.
#[derive(Clone, Debug, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// The digest of `content`; more may follow.
    pub fn of(content: impl AsRef<[u8]>) -> Self {
        Self::default().and(content)
    }

    /// The same, followed by `content`.
    #[must_use]
    pub fn and(mut self, content: impl AsRef<[u8]>) -> Self {
        self.update(content);
        self
    }

    /// Adds `content`.
    pub fn update(&mut self, content: impl AsRef<[u8]>) {
        self.0.update(content);
    }

    /// The first `N` bytes of the digest, which has 32. 16 are enough to tell any number of things apart.
    pub fn bytes<const N: usize>(self) -> [u8; N] {
        const { assert!(N <= 32, "SHA-256 has 32 bytes") };
        let whole: [u8; 32] = self.0.finalize().into();
        std::array::from_fn(|index| whole[index])
    }

    /// The first 128 bits of the digest, as a number.
    pub fn number(self) -> u128 {
        u128::from_be_bytes(self.bytes())
    }

    /// The first 128 bits of the digest in hexadecimal: 32 characters, as long as S3's ETags.
    pub fn hex(self) -> String {
        hex::encode(self.bytes::<16>())
    }
}

/// Adds what is written.
impl io::Write for Digest {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.update(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// FIPS 180-4's example "abc". Tokens of committed tables and names of redriven objects rest on it.
    #[test]
    fn it_is_sha_256_from_its_start() {
        assert_eq!(Digest::of("abc").hex(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(Digest::of("abc").number(), 0xba78_16bf_8f01_cfea_4141_40de_5dae_2223);
        assert_eq!(Digest::of("abc").bytes(), [0xba, 0x78, 0x16]);
        assert_eq!(Digest::of("abc").bytes::<32>()[31], 0xad);
    }

    #[test]
    fn parts_add_up() {
        let mut written = Digest::default();
        written.write_all(b"ab").unwrap();
        written.update("c");
        assert_eq!(written.hex(), Digest::of("a").and("bc").hex());
    }
}
