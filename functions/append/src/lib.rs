//! The append function: raw objects that S3 announces become rows of an Iceberg table.
//!
//! In: object notifications in every shape in which they arrive. Out: one commit, and for SQS the messages to be
//! delivered again. Refused: an event of no known shape; a message that cannot be read, alone.

pub mod config;
pub mod handler;
mod report;
pub mod routes;
