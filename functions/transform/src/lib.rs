//! The Firehose transformation function: enriches every record of an event.
//!
//! In: a transformation event. Out: one answer per record, in order. Refused: an event of another kind;
//! single records that are no JSON object, which Firehose then keeps under its error prefix.

pub mod config;
pub mod destination;
pub mod handler;
