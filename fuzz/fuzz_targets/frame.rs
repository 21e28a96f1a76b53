//! Bytes in any chunks -> the same frames, and every byte accounted for.
//!
//! In: the longest record, how the reader ends and how many chunk sizes follow, these sizes, and the content of an
//! object. The law is the one that the property tests hold.
#![no_main]

#[path = "../../shared/records/tests/laws/framing.rs"]
mod framing;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [limit, options, rest @ ..] = data else { return };
    let max_record_bytes = if *limit < 0x80 { usize::from(*limit) } else { 1 << 20 };
    let fails = options & 0x80 != 0;
    let Some((sizes, text)) = rest.split_at_checked(usize::from(options & 7)) else { return };
    framing::check(text, sizes, max_record_bytes, fails);
});
