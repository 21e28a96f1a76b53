//! The maintain function: the upkeep of Iceberg tables, on a schedule.
//!
//! In: an event, which only says that it is time, or asks how fresh a table is. Out: small data files made few, and how many
//! delivered objects no table has; or the age of a table's newest row. Refused: configurations that cannot be right.

pub mod config;
pub mod event;
mod freshness;
pub mod handler;
mod report;
