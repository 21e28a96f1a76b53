//! The audit: proof that nothing is lost and nothing is twice.
//!
//! In: where the objects of a stream lie, and the tables that they went to. Out: a [`Report`] of counts and findings. Objects
//! are listed first ([`Audit::of_objects`]), then the tables are read ([`Audit::add_table`]), then the quarantine
//! ([`Audit::finish`]): what is delivered meanwhile is not taken for missing. Nothing is changed.
//!
//! Memory follows neither the objects nor the rows: what is known of them goes through files without a name
//! (`spill`, `ids`). What does grow is small: some hundred bytes for each file of a table and for each object that its
//! ledger remembers.

mod content;
mod ids;
mod number;
mod objects;
mod quarantine;
mod reconcile;
mod report;
mod rows;
mod spill;
mod table;
mod topics;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use iceberg::Result;
use records::unpack;

use self::reconcile::Books;
pub use self::report::{Counts, Finding, Kind, Report, TableCounts};
use self::spill::Spill;
use self::table::{Facts, Looking, examine};
pub use self::topics::{PartitionCounts, TopicCounts};
use crate::files::Files;
use crate::job::Limits;
use crate::layout::Layout;
use crate::quarantine::{FileName, TOPICS};

/// No name of a part of a key that is not longer, in bytes, stands as a digest in names of the quarantine.
const VERBATIM_BYTES: usize = 150;

/// A table of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTable {
    /// `NAMESPACE.NAME`.
    pub name: String,
    /// Its current metadata file.
    pub metadata_location: String,
}

/// What an audit is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Objects were read.
    Objects,
    /// Files of a table were compared with their manifests.
    Files,
    /// Rows of a table were read.
    Rows,
    /// Files of the quarantine were read.
    Quarantine,
    /// Parts of the books were closed.
    Parts,
}

/// Told after each step how many there were so far.
pub type Progress = Arc<dyn Fn(Step, u64) + Send + Sync>;

/// What counts, and how objects are read.
#[derive(Clone)]
pub struct Options {
    /// As append reads them.
    pub limits: Limits,
    /// As append takes records for events.
    pub unpack: unpack::Options,
    /// Whether the records of one object may go to several tables.
    pub is_routed: bool,
    /// Objects whose key begins so count alone.
    pub prefix: Option<String>,
    /// Objects that were last written at that time or later count alone.
    pub since: Option<SystemTime>,
    /// Who is told.
    pub progress: Progress,
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Options").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Options {
    /// Whether all objects count.
    fn is_whole(&self) -> bool {
        self.prefix.is_none() && self.since.is_none()
    }

    /// Whether the key of the object at `place` is one that counts.
    fn has(&self, place: &str) -> bool {
        let Some(prefix) = &self.prefix else { return true };
        place.split_once('/').is_some_and(|(_, key)| key.starts_with(prefix.as_str()))
    }

    /// The part of `folder` in which objects may count. None if there is none.
    fn narrowed(&self, layout: &Layout, folder: &str) -> Option<String> {
        let Some(prefix) = &self.prefix else { return Some(folder.to_owned()) };
        let place = folder.strip_prefix(&layout.source_root)?;
        let (_, key) = place.split_once('/')?;
        match prefix.strip_prefix(key) {
            Some(below) => Some(format!("{folder}{}", below.rsplit_once('/').map_or("", |(below, _)| below))),
            None => key.starts_with(prefix.as_str()).then(|| folder.to_owned()),
        }
    }

    /// Whether the name of a file of the quarantine alone tells that its object does not count.
    fn passes_over(&self, name: &FileName) -> bool {
        let folder = self.prefix.as_ref().and_then(|prefix| prefix.rsplit_once('/'));
        let (Some((folder, _)), Some((bucket, key))) = (folder, name.object.split_once('/')) else {
            return false;
        };
        let is_verbatim = |part: &str| {
            !part.is_empty() && part.len() <= VERBATIM_BYTES && !part.contains(['%', '#', '?', '.'])
        };
        bucket != TOPICS
            && key.contains('/')
            && folder.split('/').all(is_verbatim)
            && !key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// An audit that has begun.
pub struct Audit {
    files: Files,
    layout: Layout,
    options: Options,
    spill: Spill,
    tables: Vec<Facts>,
    unreadable_tables: Vec<String>,
    report: Report,
}

impl Audit {
    /// Lists and reads the objects.
    ///
    /// # Errors
    /// They cannot be listed; the disk for temporary files is full.
    pub async fn of_objects(files: Files, layout: Layout, options: Options) -> Result<Self> {
        let mut spill = Spill::new(layout.is_local())?;
        let mut report = Report::default();
        report.prefix.clone_from(&options.prefix);
        report.unfinished_files += objects::list(&files, &layout, &options, &mut spill).await?;
        let (tables, unreadable_tables) = (Vec::new(), Vec::new());
        Ok(Self { files, layout, options, spill, tables, unreadable_tables, report })
    }

    /// Notes what is wrong with the catalog itself, which is at `uri`.
    pub fn add_damage(&mut self, uri: &str, damage: &str) {
        let detail = format!("{damage}; restore it from a backup, or register the tables in a new one");
        self.report.find(Kind::DamagedCatalog, uri, detail);
        let catalog = "the catalog".to_owned();
        if !self.unreadable_tables.contains(&catalog) {
            self.unreadable_tables.push(catalog);
        }
    }

    /// Reads a table: what it refers to, and its rows.
    ///
    /// # Errors
    /// The disk for temporary files is full. What is wrong with the table is a finding.
    pub async fn add_table(&mut self, table: &ListedTable) -> Result<()> {
        let Self { files, layout, options, spill, tables, report, .. } = self;
        let looking = Looking { files, layout, options };
        match examine(&looking, table, tables.len(), spill, report).await? {
            Some(facts) => self.tables.push(facts),
            None => self.unreadable_tables.push(table.name.clone()),
        }
        Ok(())
    }

    /// Reads the quarantine, and closes the books.
    ///
    /// # Errors
    /// The quarantine cannot be listed; the disk for temporary files is full.
    pub async fn finish(self) -> Result<Report> {
        let Self { files, layout, options, mut spill, tables, unreadable_tables, mut report } = self;
        let ledgers = tables.iter().map(|facts| (facts.name.as_str(), &facts.ledger)).collect();
        quarantine::read(&files, &layout, &options, &ledgers, &mut spill, &mut report).await?;
        let looking = Looking { files: &files, layout: &layout, options: &options };
        let books = Books { looking, tables: &tables, unreadable_tables: &unreadable_tables };
        books.reconcile(&mut spill, &mut report).await?;
        report.findings.sort();
        Ok(report)
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Audit").field("layout", &self.layout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_prefix(prefix: &str) -> Options {
        Options {
            limits: Limits::for_memory(512 << 20),
            unpack: unpack::Options::default(),
            is_routed: false,
            prefix: Some(prefix.to_owned()),
            since: None,
            progress: Arc::new(|_, _| {}),
        }
    }

    #[test]
    fn a_prefix_narrows_what_is_listed_and_what_is_read() {
        let layout = Layout::of_bucket("s3://", "s3://in", "s3://lake/errors");
        let listed = |prefix: &str| -> Vec<String> {
            let options = with_prefix(prefix);
            layout.folders().into_iter().filter_map(|folder| options.narrowed(&layout, folder)).collect()
        };
        assert_eq!(listed("raw/2026/11/2"), ["s3://in/raw/2026/11"]);
        assert_eq!(listed("raw/x"), ["s3://in/raw/"]);
        assert_eq!(listed("r"), ["s3://in/raw/", "s3://in/redrive/"]);
        assert!(listed("other/").is_empty());
        let options = with_prefix("raw/2026/11/2");
        assert!(options.has("in/raw/2026/11/27/x") && !options.has("in/raw/2026/12/2"));
        let name = |object: &str| FileName::parse(&format!("t/{object}.AAAAAAAAAAA.jsonl")).unwrap();
        assert!(options.passes_over(&name("in/raw/2026/12/2/x")));
        for read in ["in/raw/2026/11/3/x", "in/0b0e5d4e-8a4c-5d3c-8c64-5d5a8a0a0a0a", "@kafka/a/b/0"] {
            assert!(!options.passes_over(&name(read)), "{read}");
        }
    }
}
