//! What holds for any input, as property tests. A failure prints the smallest input that shows it.
//!
//! `PROPTEST_CASES` says how many inputs each law is tried on.

#![allow(clippy::expect_used, clippy::panic, reason = "test helpers fail by panicking")]

mod elements;
mod framing;
mod inputs;
mod offering;
mod splicing;

use proptest::prelude::*;
use records::enrich::{Stamp, enrich};
use uuid::Uuid;

use self::inputs::{added, content, payload};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_do_not_depend_on_chunks_and_account_for_every_byte(
        content in content(),
        // 0 is an interruption.
        sizes in prop_oneof![Just(vec![1]), prop::collection::vec(0_u8..12, 1..5)],
        max_record_bytes in prop_oneof![0_usize..64, Just(1 << 20)],
        fails in any::<bool>(),
    ) {
        framing::check(&content.0, &sizes, max_record_bytes, fails);
    }

    #[test]
    fn an_offer_that_is_taken_is_the_record_that_would_have_come(
        start in prop::sample::select(vec!["", "[{},{", "[{}{}\u{1e}{}", "{\"d\":{\"R\":[{}", "{\"a\":1}"]),
        content in content(),
        sizes in prop::collection::vec(0_u8..12, 0..5),
        max_record_bytes in prop_oneof![0_usize..64, Just(1 << 20)],
        elements in any::<bool>(),
        fails in any::<bool>(),
        wanted in any::<u64>(),
    ) {
        let reading = offering::Reading { sizes: &sizes, max_record_bytes, elements, fails };
        offering::check(&[start.as_bytes(), &content.0].concat(), reading, wanted);
    }

    #[test]
    fn elements_do_not_depend_on_chunks(
        start in prop::sample::select(vec!["", "[{", "[{},{\"a\":", "{\"d\":{\"R\":[{", "{\"h\":1,\"d\":{\"k\":2,\"R\":[{},{\"a\":1}"]),
        content in content(),
        piece in 1_usize..6,
        max_record_bytes in 0_usize..40,
    ) {
        elements::check_chunks(&[start.as_bytes(), &content.0].concat(), piece, max_record_bytes);
    }

    #[test]
    fn elements_do_not_depend_on_the_ceiling(
        head in prop::sample::subsequence(vec!["\"h\":[1]", "\"k\":{\"R\":[{}]}", "\"s\":\"]}\\\"\""], 0..3),
        elements in prop::collection::vec(
            prop::sample::select(vec!["{}", "{\"a\":1}", "{\"h\":\"},{\"}", "{\"b\":[{\"c\":[]}]}", "3"]),
            0..6,
        ),
        space in prop::sample::select(vec!["", " ", "\n"]),
    ) {
        let elements: Vec<&str> = std::iter::once("{\"first\":1}").chain(elements).collect();
        elements::check_ceilings(&head, &elements, space);
    }

    #[test]
    fn a_spliced_record_is_the_record_and_the_four_fields(
        payload in payload(),
        id in any::<u128>(),
        micros in inputs::MICROS,
    ) {
        let id = Uuid::from_u128(id);
        let stamp = Stamp::from_epoch_micros(micros).expect("a year of four digits");
        let mut out = Vec::new();
        match enrich(&payload.0, id, &stamp, &mut out) {
            Ok(()) => splicing::check_accepted(&payload.0, &added(id, micros), &out),
            Err(refusal) => splicing::check_refused(&payload.0, refusal.reason),
        }
    }
}
