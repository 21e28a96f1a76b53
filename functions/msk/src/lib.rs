//! The msk function: records of Kafka topics become rows of Iceberg tables.
//!
//! In: events of Lambda's event source mappings for Amazon MSK and self-managed Kafka, and batches that such a mapping gave
//! up. Out: one commit for each table, and the records to be delivered again. Refused: an event of no known shape.

pub mod config;
mod event;
pub mod handler;
mod report;
mod routes;
