//! Bytes in any chunks, some records taken before they are framed -> the same records.
//!
//! In: the longest record; how the reader ends, whether elements are asked for and how many chunk sizes follow; which offers
//! are taken, a bit each; these sizes; and the content of an object. The law is the one that the property tests hold.
#![no_main]

// The law of framing itself is another target's.
#[allow(dead_code)]
#[path = "../../shared/records/tests/laws/framing.rs"]
mod framing;
#[path = "../../shared/records/tests/laws/offering.rs"]
mod offering;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [limit, options, rest @ ..] = data else { return };
    let Some((wanted, rest)) = rest.split_first_chunk() else { return };
    let max_record_bytes = if *limit < 0x80 { usize::from(*limit) } else { 1 << 20 };
    let Some((sizes, text)) = rest.split_at_checked(usize::from(options & 7)) else { return };
    let (fails, elements) = (options & 0x80 != 0, options & 0x40 != 0);
    let reading = offering::Reading { sizes, max_record_bytes, elements, fails };
    offering::check(text, reading, u64::from_le_bytes(*wanted));
});
