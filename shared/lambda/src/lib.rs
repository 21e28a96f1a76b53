//! The edges towards AWS Lambda: environment, logging, metrics, failures and event envelopes.
//!
//! In: variables and event JSON as AWS hands them over. Out: typed values that borrow from that JSON, and the
//! response types that AWS expects. Refused: events of no known shape, with what was found instead. No Arrow,
//! no Iceberg, no AWS SDK.

pub mod base64;
pub mod env;
pub mod failed_batch;
pub mod failure;
pub mod firehose;
mod json;
pub mod kafka;
pub mod log;
pub mod metrics;
pub mod notification;
pub mod time;
pub mod unpack;
