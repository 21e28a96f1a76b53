//! Batches of Kafka records that an event source mapping gave up -> msk once more.
//!
//! In: files as the mapping writes them to its on-failure destination in S3. Out: each delivered to the msk handler, which
//! takes the records under their own identity: a batch that is delivered twice adds nothing. The files stay.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use msk::handler::Consumer;

use super::summary::Summary;
use crate::consumer;
use crate::warehouse::{Folders, files};

/// Longest time for one batch.
const PATIENCE: Duration = Duration::from_secs(600);

/// Delivers the batches in the file or folder `path`.
///
/// # Errors
/// A variable is wrong; the first batch that could not be delivered, after the others were tried.
pub(super) async fn deliver(
    folders: &Folders,
    path: &Path,
    table: Option<&str>,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let consumer = consumer::open(folders, &[("FRAZIL_TABLE", table.unwrap_or_default())]).await?;
    let mut failed = None;
    for file in batches(path)? {
        match deliver_one(&consumer, &file, summary).await {
            Ok(()) => summary.failed_batches += 1,
            Err(error) => _ = failed.get_or_insert(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn batches(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !path.is_dir() {
        anyhow::bail!("--failed-batches {}: there is no such file or folder", path.display());
    }
    files(path)
}

async fn deliver_one(consumer: &Consumer, file: &Path, summary: &mut Summary) -> anyhow::Result<()> {
    let name = || format!("cannot deliver {}", file.display());
    let event = fs::read_to_string(file).with_context(name)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
    let handled = consumer.handle(&event, now, Instant::now() + PATIENCE).await.with_context(name)?;
    handled.outcomes.iter().for_each(|(_, outcome)| summary.add_records(outcome));
    Ok(())
}
