//! Records as bytes: framed, checked, identified and enriched.
//!
//! In: bytes that producers wrote. Out: spans and texts of whole records, or a [`rejection::Refusal`] that
//! says why not. Pure code: no files or network, no clock, no async, no AWS and no Arrow types.

mod brackets;
pub mod connect;
pub mod enrich;
pub mod failed_batch;
pub mod field_path;
pub mod frame;
pub mod identity;
mod kpl;
mod members;
mod nesting;
pub mod registry;
pub mod rejection;
pub mod scan;
mod special;
mod token;
pub mod unpack;
mod unwrap;
