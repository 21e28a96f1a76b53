//! Delivered objects -> those that no table has.
//!
//! In: prefixes of raw objects, and the tables that they go into. Out: [`Pending`]: how many objects of the last days have
//! waited longer than they should, and some of them by name. An object is in a table if a commit lists it, be it in this
//! version or another: a listing does not tell versions. What was rejected as a whole is listed as well. One page of the
//! listing is in memory at a time, and of each table what its ledger remembers.
//!
//! Objects older than a ledger reaches back (15 days, unless the table says otherwise) would all be taken for pending.

use std::collections::HashSet;
use std::time::SystemTime;

use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::TableIdent;

use crate::catalog::Lake;
use crate::error::Error;
use crate::ledger::committed;
use crate::storage::{ListedFile, Lister, UNFINISHED};
use crate::token::Token;

/// What to look for, and where.
#[derive(Clone, Debug)]
pub struct PendingOptions {
    /// The tables that the objects go into.
    pub tables: Vec<TableIdent>,
    /// The URI of an object is this, its bucket, `/` and its key.
    pub source_root: String,
    /// URIs below which objects are delivered.
    pub prefixes: Vec<String>,
    /// Objects that were delivered before are left out.
    pub since: SystemTime,
    /// Those that were delivered after may still wait.
    pub until: SystemTime,
    /// How many of the pending ones are named.
    pub names: usize,
}

/// Objects that no table has.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// Objects that were delivered in the time that is asked about.
    pub delivered: u64,
    /// Those that no table has.
    pub pending: u64,
    /// When the oldest of them was delivered.
    pub oldest: Option<SystemTime>,
    /// Some of them.
    pub named: Vec<ListedFile>,
}

/// Looks for delivered objects that no table has.
///
/// # Errors
/// The catalog's; the storage cannot list.
pub async fn pending(lake: &Lake, lister: &Lister, options: &PendingOptions) -> Result<Pending, Error> {
    let mut known: HashSet<[u8; 16]> = HashSet::new();
    for ident in &options.tables {
        let Some(table) = lake.table(ident).await.map_err(Error::of_catalog)? else { continue };
        known.extend(
            committed(table.metadata(), table.file_io()).await.tokens.iter().map(|(token, _)| token.key()),
        );
    }
    let mut found = Pending::default();
    for prefix in &options.prefixes {
        let mut files = lister.list(prefix)?.boxed();
        while let Some(file) = files.try_next().await? {
            let is_asked_for = file.modified >= options.since && file.modified < options.until;
            if !is_asked_for || file.size_bytes == 0 || file.uri.ends_with(UNFINISHED) {
                continue;
            }
            let place = file.uri.strip_prefix(&options.source_root).and_then(|place| place.split_once('/'));
            let Some((bucket, key)) = place else { continue };
            found.delivered += 1;
            if known.contains(&Token::new(bucket, key, "").key()) {
                continue;
            }
            found.pending += 1;
            found.oldest = Some(found.oldest.map_or(file.modified, |oldest| oldest.min(file.modified)));
            if found.named.len() < options.names {
                found.named.push(file);
            }
        }
    }
    Ok(found)
}
