//! Damaged and hostile objects -> bounded content.
//!
//! In: a name and a ceiling, and the bytes of an object. The laws: nothing panics; compressed content never exceeds the
//! ceiling, plain content is the object itself; what comes out does not depend on the sizes in which it is read. That
//! memory is bounded is the fuzzer's to watch, by its limit on single allocations.
#![no_main]

use std::io::{self, Read};

use lake::content;
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 4] = ["object", "object.hsnappy", "object.SNAPPY", "object.gz"];

/// Gives its bytes in small pieces, as a storage may.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(self.bytes.len() - self.at).min(out.len());
        out[..count].copy_from_slice(&self.bytes[self.at..][..count]);
        self.at += count;
        Ok(count)
    }
}

/// The content, and whether it was read to its end.
fn read(raw: &[u8], piece: usize, name: &str, ceiling: u64, out_bytes: usize) -> (Vec<u8>, bool) {
    let raw = Pieces { bytes: raw.to_vec(), at: 0, piece };
    let mut found = Vec::new();
    let Ok(mut reader) = content(raw, name, ceiling, 8 << 20) else { return (found, false) };
    let mut out = vec![0; out_bytes];
    loop {
        match reader.read(&mut out) {
            Ok(0) => return (found, true),
            Ok(count) => found.extend_from_slice(&out[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return (found, false),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [options, raw @ ..] = data else { return };
    let name = NAMES[usize::from(options & 3)];
    let ceiling = 1 << (options >> 2 & 0x1F).min(20);

    let (found, whole) = read(raw, usize::MAX, name, ceiling, 256 * 1024);
    assert!(found.len() as u64 <= ceiling || found == raw, "{} bytes", found.len());
    let (again, again_whole) = read(raw, 7, name, ceiling, 61);
    assert_eq!(whole, again_whole);
    if whole {
        assert_eq!(found, again);
    } else {
        // Decoders keep what they have of the piece in which they meet the damage, or not.
        assert!(found.starts_with(&again) || again.starts_with(&found));
    }
});
