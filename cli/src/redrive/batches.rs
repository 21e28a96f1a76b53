//! Batches of Kafka records that an event source mapping gave up -> msk once more.
//!
//! In: files as the mapping writes them to its on-failure destination in S3. Out: each delivered to the msk handler, which
//! takes the records under their own identity: a batch that is delivered twice adds nothing. The files stay.

use std::io::Read as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use lake::Files;
use msk::config::Config;
use msk::handler::Consumer;

use super::summary::Summary;
use crate::consumer;
use crate::place::Site;

/// Longest time for one batch.
const PATIENCE: Duration = Duration::from_secs(600);

/// Delivers the batches in the file or folder `path`, or at that URI.
///
/// # Errors
/// A variable is wrong; the first batch that could not be delivered, after the others were tried.
pub(super) async fn deliver(
    site: &Site,
    files: &Files,
    path: &str,
    table: Option<&str>,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let table = ("FRAZIL_TABLE", table.unwrap_or_default());
    let consumer = match &site.folders {
        Some(folders) => consumer::open(folders, &[table]).await?,
        None => {
            let environment = site.environment.clone();
            let environment =
                if table.1.is_empty() { environment } else { environment.with(table.0, table.1.to_owned()) };
            Consumer::open(Config::from_env(&environment).await?).await?
        }
    };
    let mut failed = None;
    for file in batches(files, path).await? {
        match deliver_one(&consumer, files, &file, summary).await {
            Ok(()) => summary.failed_batches += 1,
            Err(error) => _ = failed.get_or_insert(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn batches(files: &Files, path: &str) -> anyhow::Result<Vec<String>> {
    let path = match path.contains("://") {
        true => path.to_owned(),
        false => std::path::absolute(path)?.to_str().context("its name is not UTF-8")?.to_owned(),
    };
    // Some servers have an empty object for a folder, by its name with a slash.
    if !path.ends_with('/') && files.size(&path).await?.is_some() {
        return Ok(vec![path]);
    }
    let found: Vec<String> = files.sorted(&path, None).await?.into_iter().map(|file| file.uri).collect();
    if found.is_empty() && !std::path::Path::new(&path).is_dir() {
        bail!("--failed-batches {path}: there is no such file or folder");
    }
    Ok(found)
}

async fn deliver_one(
    consumer: &Consumer,
    files: &Files,
    file: &str,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let name = || format!("cannot deliver {file}");
    let mut event = String::new();
    files.open(file).await.with_context(name)?.read_to_string(&mut event).with_context(name)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
    let handled = consumer.handle(&event, now, Instant::now() + PATIENCE).await.with_context(name)?;
    handled.outcomes.iter().for_each(|(_, outcome)| summary.add_records(outcome));
    // Where the mapping has batch item failures, the answer names what is not committed, and is no error.
    match handled.failure {
        Some(failure) => Err(failure).with_context(name),
        None => Ok(()),
    }
}
