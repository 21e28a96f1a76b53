//! Tells what Lambda writes of a batch of Kafka records that it gave up from data (AWS: "Capturing discarded batches for Amazon
//! MSK and self-managed Apache Kafka event sources").
//!
//! In: one JSON value. Out: whether it is such an object. What is in it is `lambda::failed_batch`'s to read.

use memchr::memmem;

use crate::rejection::{Reason, Refusal};
use crate::scan;

const INFO: &[u8] = b"\"KafkaBatchInfo\"";
const CONTEXT: &[u8] = b"\"requestContext\"";

/// Why `object` is no event, if it is a batch that Lambda gave up: its records have an identity of their own.
pub fn refusal(object: &[u8]) -> Option<Refusal> {
    memmem::find(object, INFO)?;
    let (mut has_info, mut has_context) = (false, false);
    for member in scan::members(object, scan::skip_whitespace(object, 0)) {
        match object.get(member.ok()?.key)? {
            INFO => has_info = true,
            CONTEXT => has_context = true,
            _ => {}
        }
    }
    let what = "a batch of Kafka records that an event source mapping gave up, and no event";
    (has_info && has_context).then(|| Refusal::new(Reason::FailedBatch, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lambda_writes_is_no_event() {
        for (json, is_batch) in [
            (
                r#"{"requestContext":{"functionArn":"f"},"KafkaBatchInfo":{"batchSize":5},"payload":"{}"}"#,
                true,
            ),
            (r#" { "KafkaBatchInfo" : {} , "requestContext" : {} } "#, true),
            (r#"{"event":{"requestContext":{},"KafkaBatchInfo":{}}}"#, false),
            (r#"{"KafkaBatchInfo":{}}"#, false),
            (r#"{"text":"\"KafkaBatchInfo\"","requestContext":{}}"#, false),
            (r#"[{"requestContext":{},"KafkaBatchInfo":{}}]"#, false),
            (r#"{"requestContext":{},"KafkaBatchInfo":{"#, false),
            ("", false),
        ] {
            assert_eq!(refusal(json.as_bytes()).is_some(), is_batch, "{json}");
        }
    }
}
