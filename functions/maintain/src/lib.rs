//! The maintain function: the upkeep of Iceberg tables, on a schedule.
//!
//! In: any event, which only says that it is time. Out: small data files made few, and how many delivered objects no table
//! has. Refused: configurations that cannot be right.

pub mod config;
pub mod handler;
mod report;
