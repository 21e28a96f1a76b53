//! The books against each other: objects, tables, quarantine.
//!
//! In: the records of every object, the rows and tokens of every table, and what was rejected. Out: counts, and a
//! finding for every object where they disagree. For each object that a table has,
//! records = rows + quarantined + redriven. Where the records of a stream name their tables, that holds of all tables
//! together: of each one, the records are those that no other has.
//!
//! All of this is done for one part of the objects after the other. What is told by all objects of a commit, or by the sum of
//! a table, comes of a first look at every part, or at the end.
//!
//! A table has an object if a snapshot lists its token, if rows name it, or if all of its records were rejected: tokens
//! go with their snapshots, rows and rejections stay.

mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use iceberg::Result;

use self::table::Sums;
use super::Step;
use super::number::HumanCount;
use super::objects::{Object, Objects, look_for};
use super::quarantine::{Account, Accounts, Rejections, accounts, check_copy};
use super::report::{Counts, Kind, Report, TableCounts};
use super::spill::{Entry, Spill};
use super::table::{Facts, Looking};
use crate::quarantine::TOPICS;
use crate::token::Token;

/// What is to be reconciled.
pub(super) struct Books<'a> {
    pub(super) looking: Looking<'a>,
    pub(super) tables: &'a [Facts],
    /// Tables that are in the catalog, but whose metadata cannot be read.
    pub(super) unreadable_tables: &'a [String],
}

/// What one part of the spill says.
struct Part {
    objects: Objects,
    /// The rows of each table, by the places of objects.
    rows: Vec<BTreeMap<String, u64>>,
    /// The tokens of each table.
    tokens: Vec<Vec<(Token, i64)>>,
    accounts: Accounts,
}

/// What is known of the objects of a part once all tables were asked.
#[derive(Default)]
struct Known<'a> {
    committed: HashSet<&'a str>,
    /// Objects that a table has rejected records of and nothing else: an append did not come to its end.
    begun: BTreeMap<&'a str, Vec<&'a str>>,
    /// Tables of which nothing tells whether they have an object: rows are without names, and snapshots have expired.
    untold: Vec<&'a str>,
}

impl<'a> Books<'a> {
    pub(super) async fn reconcile(&self, spill: &mut Spill, report: &mut Report) -> Result<()> {
        let mut sums: Vec<Sums> = self.tables.iter().map(|_| Sums::default()).collect();
        for at in 0..spill.parts() {
            let part = self.part(spill, at, true).await?;
            for (number, sums) in sums.iter_mut().enumerate() {
                self.expect(&part, number, sums);
            }
        }
        for (facts, sums) in self.tables.iter().zip(&mut sums) {
            sums.find_whole(facts);
        }
        let mut unlisted = BTreeMap::new();
        for at in 0..spill.parts() {
            let part = self.part(spill, at, false).await?;
            self.reconcile_part(&part, &mut sums, &mut unlisted, report).await;
            (self.looking.options.progress)(Step::Parts, at as u64 + 1);
        }
        for (facts, sums) in self.tables.iter().zip(sums) {
            self.conclude_table(facts, sums, report);
        }
        unlisted.into_values().for_each(|counts| report.add_table(counts));
        Ok(())
    }

    /// The part of the number `at`. With `looks`, the storage is asked for objects that are named, but were not listed.
    async fn part(&self, spill: &mut Spill, at: usize, looks: bool) -> Result<Part> {
        let Looking { files, layout, options } = self.looking;
        let mut objects = Objects::default();
        let mut rows: Vec<BTreeMap<String, u64>> = self.tables.iter().map(|_| BTreeMap::new()).collect();
        let mut rejections: BTreeMap<(String, String), Vec<Rejections>> = BTreeMap::new();
        let mut named = BTreeSet::new();
        spill.read(at, |entry| match entry {
            Entry::Object { place, records, dropped } => objects.add(layout, place, records, dropped),
            Entry::Rows { table, place, named: name, rows: count } => {
                objects.name(layout, &place, name.as_deref());
                named.insert(place.clone());
                if let Some(rows) = rows.get_mut(table) {
                    *rows.entry(place).or_default() += count;
                }
            }
            Entry::Rejected { table, place, named: name, rejections: of_file } => {
                if !place.starts_with(TOPICS) {
                    objects.name(layout, &place, name.as_deref());
                    named.insert(place.clone());
                }
                rejections.entry((table, place)).or_default().push(of_file);
            }
        })?;
        // Which of those that are not listed are older is not known.
        if looks && options.since.is_none() {
            named.retain(|place| !objects.by_place.contains_key(place));
            for entry in look_for(files, layout, options, named.into_iter().collect()).await? {
                spill.add(&entry)?;
                if let Entry::Object { place, records, dropped } = entry {
                    objects.add(layout, place, records, dropped);
                }
            }
        }
        let in_part = |facts: &Facts| {
            let tokens = facts.tokens.iter().filter(|(token, _)| spill.part_of(token.key()) == at);
            tokens.copied().collect()
        };
        let tokens = self.tables.iter().map(in_part).collect();
        Ok(Part { objects, rows, tokens, accounts: accounts(rejections) })
    }

    async fn reconcile_part(
        &self,
        part: &Part,
        sums: &mut [Sums],
        unlisted: &mut BTreeMap<String, TableCounts>,
        report: &mut Report,
    ) {
        let mut known = Known { untold: self.untold(), ..Known::default() };
        let shared = if self.looking.options.is_routed { part.in_all_tables() } else { HashMap::new() };
        for (at, sums) in sums.iter_mut().enumerate() {
            self.reconcile_table(part, at, sums, &shared, &mut known, report);
        }
        self.reconcile_rejected(part, &mut known, unlisted);
        self.check_copies(part, report).await;
        for (place, object) in &part.objects.by_place {
            self.conclude(place, object, &known, report);
        }
    }

    fn untold(&self) -> Vec<&'a str> {
        let is_untold = |facts: &&Facts| facts.was_unnamed && facts.unnamed_rows() > 0 && !facts.reaches_back;
        self.tables.iter().filter(is_untold).map(|facts| facts.name.as_str()).collect()
    }

    /// Objects of which nothing was fit for a table: there may be no such table at all.
    fn reconcile_rejected<'b>(
        &self,
        part: &'b Part,
        known: &mut Known<'b>,
        unlisted: &mut BTreeMap<String, TableCounts>,
    ) {
        let listed: HashSet<&str> = self.tables.iter().map(|facts| facts.name.as_str()).collect();
        for ((table, place), account) in &part.accounts {
            let Some((place, object)) = part.objects.by_place.get_key_value(place) else { continue };
            let rejected = account.quarantined + account.redriven;
            let is_all = object.records.as_ref().is_ok_and(|all| *all > 0 && rejected >= *all);
            if listed.contains(table.as_str()) || !is_all {
                continue;
            }
            known.committed.insert(place);
            let counts = unlisted.entry(table.clone()).or_insert_with(|| TableCounts {
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
    }

    async fn check_copies(&self, part: &Part, report: &mut Report) {
        let Looking { files, layout, .. } = self.looking;
        let mut versions: HashMap<[u8; 16], HashSet<Token>> = HashMap::new();
        for (token, _) in part.tokens.iter().flatten() {
            versions.entry(token.key()).or_default().insert(*token);
        }
        for ((_, place), account) in &part.accounts {
            let object = part.objects.by_place.get(place);
            // The copy is of the version that was rejected, and the object may be another by now.
            let is_only_version = |object: &&Object| {
                account.files.len() == 1
                    && versions.get(&object.token.key()).is_none_or(|versions| versions.len() == 1)
            };
            let original = object.filter(is_only_version).map(|_| layout.uri(place));
            for (copy, file) in &account.copies {
                if let Some(what) = check_copy(files, copy, original.as_deref()).await {
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
                report.find(Kind::MissingObject, self.looking.layout.uri(place), detail);
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
            report.find(Kind::CannotTell, self.looking.layout.uri(place), detail);
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
        report.find(Kind::PendingObject, self.looking.layout.uri(place), detail);
    }
}

impl Part {
    /// How many rows and rejections of each object all tables have together, those that were never made included.
    fn in_all_tables(&self) -> HashMap<&str, u64> {
        let mut all: HashMap<&str, u64> = HashMap::new();
        for (place, rows) in self.rows.iter().flatten() {
            *all.entry(place).or_default() += rows;
        }
        for ((_, place), account) in &self.accounts {
            *all.entry(place).or_default() += account.quarantined + account.redriven;
        }
        all
    }

    fn account(&self, table: &str, place: &str) -> Option<&Account> {
        self.accounts.get(&(table.to_owned(), place.to_owned()))
    }
}
