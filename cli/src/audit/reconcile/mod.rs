//! The books against each other: objects, tables, quarantine.
//!
//! In: the records of every object, the rows and tokens of every table, and what was rejected. Out: counts, and a
//! finding for every object where they disagree. For each object that a table has,
//! records = rows + quarantined + redriven. Where the records of a stream name their tables, that holds of all tables
//! together: of each one, the records are those that no other has.
//!
//! A table has an object if a snapshot lists its token, if rows name it, or if all of its records were rejected: tokens
//! go with their snapshots, rows and rejections stay.

mod table;

use std::collections::{BTreeMap, HashMap, HashSet};

use indicatif::HumanCount;
use lake::Token;
use lake::quarantine::Ledger;

use super::objects::{Object, Objects};
use super::quarantine::{Account, Accounts, check_copy};
use super::report::{Counts, Kind, Report, TableCounts};
use super::table::Facts;
use crate::warehouse::{Folders, local_path};

/// What a table has, by the places of objects.
pub(super) struct Holdings {
    facts: Facts,
    rows: BTreeMap<String, u64>,
    /// Rows that name no object of this warehouse.
    other_rows: u64,
}

impl Holdings {
    pub(super) fn new(folders: &Folders, objects: &mut Objects, facts: Facts) -> Self {
        let (mut rows, mut other_rows) = (BTreeMap::new(), 0);
        for (name, count) in &facts.rows.by_file_name {
            match name.as_ref().and_then(|name| objects.place_of(folders, name)) {
                // The same object may have been named in two ways.
                Some(place) => *rows.entry(place).or_default() += count,
                None => other_rows += count,
            }
        }
        other_rows -= facts.topics.as_ref().map_or(0, |topics| topics.rows).min(other_rows);
        Self { facts, rows, other_rows }
    }

    /// The table's name, and what it says of quarantine files.
    pub(super) fn ledger(&self) -> (&str, &Ledger) {
        (&self.facts.name, &self.facts.ledger)
    }
}

/// What is to be reconciled.
pub(super) struct Books<'a> {
    pub(super) folders: &'a Folders,
    pub(super) objects: &'a Objects,
    pub(super) accounts: &'a Accounts,
    /// Tables that are in the catalog, but whose metadata cannot be read.
    pub(super) unreadable_tables: &'a [String],
    /// Whether the records of one object may go to several tables.
    pub(super) is_routed: bool,
}

/// What is known of the objects once all tables were asked.
#[derive(Default)]
struct Known<'a> {
    committed: HashSet<&'a str>,
    /// Objects that a table has rejected records of and nothing else: an append did not come to its end.
    begun: BTreeMap<&'a str, Vec<&'a str>>,
    /// Tables of which nothing tells whether they have an object: rows are without names, and snapshots have expired.
    untold: Vec<&'a str>,
}

impl<'a> Books<'a> {
    pub(super) fn reconcile(&self, tables: &'a [Holdings], report: &mut Report) {
        let mut known = Known::default();
        let shared = if self.is_routed { self.in_all_tables(tables) } else { HashMap::new() };
        for table in tables {
            self.reconcile_table(table, &shared, &mut known, report);
        }
        self.reconcile_rejected(tables, &mut known, report);
        self.check_copies(tables, report);
        for (place, object) in &self.objects.by_place {
            self.conclude(place, object, &known, report);
        }
    }

    /// How many rows and rejections of each object all tables have together, those that were never made included.
    fn in_all_tables(&self, tables: &'a [Holdings]) -> HashMap<&'a str, u64> {
        let mut all: HashMap<&str, u64> = HashMap::new();
        for (place, rows) in tables.iter().flat_map(|table| &table.rows) {
            *all.entry(place).or_default() += rows;
        }
        for ((_, place), account) in self.accounts {
            *all.entry(place).or_default() += account.quarantined + account.redriven;
        }
        all
    }

    /// Objects of which nothing was fit for a table: there may be no such table at all.
    fn reconcile_rejected(&self, tables: &[Holdings], known: &mut Known<'a>, report: &mut Report) {
        let listed: HashSet<&str> = tables.iter().map(|table| table.facts.name.as_str()).collect();
        let mut unlisted: BTreeMap<&str, TableCounts> = BTreeMap::new();
        for ((table, place), account) in self.accounts {
            let Some((place, object)) = self.objects.by_place.get_key_value(place) else { continue };
            let rejected = account.quarantined + account.redriven;
            let is_all = object.records.as_ref().is_ok_and(|all| *all > 0 && rejected >= *all);
            if listed.contains(table.as_str()) || !is_all {
                continue;
            }
            known.committed.insert(place);
            let counts = unlisted.entry(table).or_insert_with(|| TableCounts {
                table: table.clone(),
                objects: 0,
                names_objects: true,
                counts: Counts::default(),
                kafka: None,
            });
            counts.objects += 1;
            counts.counts.rows_in_objects += object.records.as_ref().copied().unwrap_or_default();
            counts.counts.rows_quarantined += account.quarantined;
            counts.counts.rows_redriven += account.redriven;
        }
        unlisted.into_values().for_each(|counts| report.add_table(counts));
    }

    fn check_copies(&self, tables: &[Holdings], report: &mut Report) {
        let mut versions: HashMap<[u8; 16], HashSet<Token>> = HashMap::new();
        for (token, _) in tables.iter().flat_map(|table| &table.facts.tokens) {
            versions.entry(token.key()).or_default().insert(*token);
        }
        for ((_, place), account) in self.accounts {
            let object = self.objects.by_place.get(place);
            // The copy is of the version that was rejected, and the object may be another by now.
            let is_only_version = |object: &&Object| {
                account.files.len() == 1
                    && versions.get(&object.source.token.key()).is_none_or(|versions| versions.len() == 1)
            };
            let original = object.filter(is_only_version).and_then(|object| local_path(&object.source.uri));
            for (copy, file) in &account.copies {
                if let Some(what) = check_copy(copy, original.as_deref()) {
                    report.find(Kind::DamagedQuarantine, file.clone(), what);
                }
            }
        }
    }

    /// Whether an object is in, after all tables were asked.
    fn conclude(&self, place: &str, object: &Object, known: &Known<'_>, report: &mut Report) {
        let records = match &object.records {
            Ok(records) => *records,
            Err(error) => {
                let detail = format!("cannot be read: {error}; make it readable and audit again");
                report.find(Kind::MissingObject, object.source.uri.clone(), detail);
                0
            }
        };
        // Of an object without records nothing can be lost.
        let is_committed =
            known.committed.contains(place) || object.records.as_ref().is_ok_and(|all| *all == 0);
        if object.processing_failed && !known.committed.contains(place) {
            report.processing_failed_objects += 1;
            report.processing_failed_records += records;
            return;
        }
        report.objects += 1;
        let begun = known.begun.get(place).filter(|_| !object.processing_failed);
        if is_committed && begun.is_none() {
            report.objects_committed += 1;
            return;
        }
        if !is_committed && !known.untold.is_empty() {
            report.objects_untold += 1;
            let tables = known.untold.join(", ");
            let detail = format!(
                "whether its {} records are in {tables} cannot be told: rows there do not name their objects, and the \
                 snapshots have expired that would. Do not deliver it again as it is, which may bring every row twice; \
                 look there for the record_id of some of its records, and deliver it only if none is there",
                HumanCount(records)
            );
            report.find(Kind::CannotTell, object.source.uri.clone(), detail);
            return;
        }
        report.objects_pending += 1;
        if !is_committed {
            report.rows_pending += records;
            report.counts.rows_in_objects += records;
        }
        let records = HumanCount(records);
        let what = match begun {
            Some(tables) => format!(
                "rejected records of it are in the quarantine of {}, but its rows were never committed there",
                tables.join(", ")
            ),
            None if self.unreadable_tables.is_empty() => format!("its {records} records are in no table"),
            None => format!(
                "its {records} records are in no table that can be read; {} cannot be",
                self.unreadable_tables.join(", ")
            ),
        };
        let detail = format!("{what}; deliver it again: replay its input, or send its message once more");
        report.find(Kind::PendingObject, object.source.uri.clone(), detail);
    }

    fn account(&self, table: &str, place: &str) -> Option<&'a Account> {
        self.accounts.get(&(table.to_owned(), place.to_owned()))
    }

    fn uri(&self, place: &str) -> String {
        format!("{}/{place}", self.folders.root_uri)
    }
}
