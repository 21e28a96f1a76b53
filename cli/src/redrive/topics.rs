//! Quarantine files of records of Kafka topics -> their table once more.
//!
//! In: a file whose lines are about records of a topic. Out: what the table takes of them by now, put back under its own
//! identity; these lines under `errors/redriven`. What is put back is marked in the commit as put back for so many times, so
//! that a redrive that is killed can be run again. What the table still refuses stays where it is, with the reason.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use append::config::branch;
use chrono::{DateTime, SecondsFormat};
use iceberg::TableIdent;
use iceberg::spec::TableMetadata;
use lake::quarantine::{self, Ledger, Line, Standing, TOPICS};
use lake::{AppendOptions, Files, Lake, Layout, Limits, TopicOptions, TopicRecord, TopicStatus};
use lambda::env::Environment;
use lambda::unpack::topic_options;
use records::unpack::Options;

use super::lot::Lines;
use super::quarantine::{QuarantineFile, shown};
use super::summary::Summary;

/// Longest time for the records of one file.
const PATIENCE: Duration = Duration::from_secs(600);
/// Where msk keeps the records that no rule names a table for.
pub(super) const NO_TABLE: &str = "frazil.no_table";

/// What the records are put back into.
pub(super) struct Into<'a> {
    pub(super) files: &'a Files,
    pub(super) layout: &'a Layout,
    pub(super) lake: &'a Lake,
    pub(super) table: &'a TableIdent,
    pub(super) metadata: &'a TableMetadata,
    pub(super) ledger: &'a Ledger,
    pub(super) limits: Limits,
    /// Whether files count of which the snapshots have expired.
    pub(super) expired: bool,
}

/// Whether the file is about records of a topic.
pub(super) fn is_of_topic(file: &QuarantineFile) -> bool {
    file.name.object.strip_prefix(TOPICS).is_some_and(|rest| rest.starts_with('/'))
}

impl Into<'_> {
    /// Puts back what can be.
    ///
    /// # Errors
    /// The file is damaged, or cannot be read or written; the table or its storage failed. Running the command again does
    /// the rest.
    pub(super) async fn put_back(&self, file: &QuarantineFile, summary: &mut Summary) -> anyhow::Result<()> {
        let Some(content) = file.open(self.files).await? else { return Ok(()) };
        let (mut records, mut rows, mut left) = (Vec::new(), HashSet::new(), BTreeMap::<String, u64>::new());
        // As the function reads values.
        let (unpack, unwrap) = topic_options(&Environment::of_process())?;
        let options = TopicOptions { unwrap };
        let mut bytes = Vec::new();
        file.lines(content, |_, _, line| {
            let record = self.counts(file, line).and_then(|()| {
                line.decode(&mut bytes)?;
                let record = quarantine::record_of(line, bytes.clone());
                let record = record.ok_or("it does not say which record of a topic it is about")?;
                match lake::refusal(self.metadata, self.limits, &unpack, options, record.clone()) {
                    Ok(None) => Ok(record),
                    Ok(Some(refusal)) => Err(format!("the table still refuses it: {}", refusal.reason)),
                    Err(error) => Err(error.to_string()),
                }
            });
            match record {
                Ok(record) => {
                    rows.insert((line.offset, line.row));
                    records.push(record);
                }
                Err(why) => *left.entry(why).or_default() += 1,
            }
            Ok(())
        })?;
        for (why, count) in &left {
            summary.leave(file, why, *count);
        }
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len() as u64;
        let appended = self.append(records, unpack, options, summary).await;
        appended.with_context(|| format!("{} was not put back", shown(&file.uri)))?;
        self.move_lines(file, &rows).await?;
        summary.files += 1;
        summary.records += count;
        Ok(())
    }

    async fn append(
        &self,
        records: Vec<TopicRecord>,
        unpack: Options,
        topic_options: TopicOptions,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now =
            DateTime::from_timestamp_micros(now.as_micros() as i64).context("the clock is out of range")?;
        let options = AppendOptions {
            table: self.table.clone(),
            branch: branch(&Environment::of_process())?,
            definition: None,
            errors_uri: self.layout.errors.clone(),
            processing_time: now.to_rfc3339_opts(SecondsFormat::Micros, true),
            deadline: (Instant::now() + PATIENCE).into(),
            limits: self.limits,
            unpack,
        };
        let outcome = lake::append_records(self.lake, &options, topic_options, records).await?;
        summary.add_records(&outcome);
        for status in &outcome.records {
            match status {
                TopicStatus::Committed | TopicStatus::AlreadyCommitted => {}
                TopicStatus::Failed(error) => anyhow::bail!("{error}"),
                TopicStatus::NotReached => anyhow::bail!("there was no time for its records"),
            }
        }
        Ok(())
    }

    /// Moves the lines of `rows` out of the quarantine.
    async fn move_lines(&self, file: &QuarantineFile, rows: &HashSet<(u64, u64)>) -> anyhow::Result<()> {
        let files = self.files;
        let Some(content) = file.open(files).await? else { return Ok(()) };
        let uri = format!("{}/redriven/{}", self.layout.errors, file.place);
        let (mut redriven, mut quarantine) = (Lines::create(files, &uri)?, Lines::create(files, &file.uri)?);
        let (mut known, mut left) = (HashSet::new(), 0_u64);
        let before = QuarantineFile { uri, ..file.clone() };
        if let Some(content) = before.open(files).await? {
            before.lines(content, |_, text, line| {
                known.insert((line.offset, line.row));
                redriven.add(text)
            })?;
        }
        file.lines(content, |_, text, line| match rows.contains(&(line.offset, line.row)) {
            true if known.contains(&(line.offset, line.row)) => Ok(()),
            true => redriven.add(text),
            false => {
                left += 1;
                quarantine.add(text)
            }
        })?;
        redriven.file()?.finish_as(files, &before.uri).await?;
        if left > 0 {
            return Ok(quarantine.file()?.finish_dated(files, &file.uri, file.written).await?);
        }
        Ok(files.delete(&file.uri).await?)
    }

    /// Whether the line may be put back; if not, why.
    fn counts(&self, file: &QuarantineFile, line: &Line<'_>) -> Result<(), String> {
        if file.name.table == NO_TABLE {
            return Ok(());
        }
        let key = line.topic_key().unwrap_or_default();
        let why = match self.ledger.standing(&file.name, TOPICS, &key, file.written) {
            Standing::Counts => return Ok(()),
            Standing::Expired if self.expired => return Ok(()),
            Standing::Stale => {
                "an attempt left it behind that was never committed: another commit accounts for the record; frazil \
                 sweep --delete removes it"
            }
            Standing::Pending => "its record is not in the table yet; deliver that again first",
            Standing::Expired => {
                "the snapshots have expired that say whether the table has accounted for it; put it back with --expired"
            }
        };
        Err(why.to_owned())
    }
}
