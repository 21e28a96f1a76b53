//! Raw objects -> a stream of records, each with its origin.
//!
//! In: objects by URI. Out: their records one after the other, or what is refused of them before a table is asked. An
//! object is found ([`find()`]), fetched in ranges (`fetch`), decompressed (`compression`) and cut into records
//! ([`Records`]); a [`Pass`] does so for many objects, in the time that there is. Two things that go wrong are told apart:
//! the storage failed (the object may be read later) or the content is damaged (it never will be, and is refused).

mod ahead;
mod compression;
mod count;
mod fetch;
mod find;
mod firehose_errors;
mod origin;
mod pass;
mod records;
#[cfg(test)]
pub(crate) mod testing;
mod zip;

pub use self::compression::{Content, content};
pub use self::count::{RecordCounts, count_records};
pub(crate) use self::find::{FoundObject, find, place};
pub use self::firehose_errors::{REDRIVEN_PREFIX, holds_failed_records};
pub(crate) use self::origin::Origin;
pub(crate) use self::pass::{Closed, End, Pass, PassTime, Sink};
pub(crate) use self::records::{Record, Records, Refused};
