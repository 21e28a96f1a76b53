//! A record -> the same record and the four fields.
//!
//! In: the payload of a record. The law is the one that the property tests hold.
#![no_main]

#[path = "../../shared/records/tests/laws/splicing.rs"]
mod splicing;

use libfuzzer_sys::fuzz_target;
use records::enrich::{Stamp, enrich};
use uuid::Uuid;

const ADDED: &str = "\"record_id\":\"00000000-0000-0000-0000-000000000001\",\
    \"ingestion_timestamp\":\"2026-01-02T03:04:05.678000Z\",\
    \"partition_date\":\"2026-01-02\",\"partition_hour\":\"03\"";

fuzz_target!(|payload: &[u8]| {
    let stamp = Stamp::from_epoch_micros(1_767_323_045_678_000).expect("an instant of 2026");
    let mut out = b"before".to_vec();
    match enrich(payload, Uuid::from_u128(1), &stamp, &mut out) {
        Ok(()) => {
            let out = out.strip_prefix(b"before").expect("what was there stays");
            splicing::check_accepted(payload, ADDED, out);
        }
        Err(refusal) => {
            assert_eq!(out, b"before");
            splicing::check_refused(payload, refusal.reason);
        }
    }
});
