//! SQL over the tables of a lake, to read them: DataFusion, with tables of our own.
//!
//! In: a [`lake::Lake`] and the text of one query. Out: a stream of record batches, and [`output`] to write them. Refused:
//! whatever is no query, and what DataFusion would pass over in silence. The files to read are planned by Iceberg's library, by
//! partitions and bounds; they are read here, since the library's reader gives wrong or no rows where a struct has
//! grown or a column has one of the names that it keeps for itself.

#![cfg(feature = "datafusion")]

mod checked;
mod count_if;
mod filter;
mod metadata;
mod names;
mod namespaces;
pub mod output;
mod publication;
mod read;
mod scalar;
mod scan;
mod session;
mod snapshot;
mod table;
mod versions;

pub use self::publication::SqlChecks;
pub use self::session::{Limits, Session};

use datafusion::error::DataFusionError;

/// An error of Iceberg's library as one of DataFusion's.
fn external(error: iceberg::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
