//! One table against the objects: its rows, its tokens and what was rejected of each object.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::number::HumanCount;
use super::super::quarantine::Account;
use super::super::report::{Counts, Kind, Report, TableCounts};
use super::super::table::Facts;
use super::{Books, Known, Part};
use crate::token::Token;

/// What is summed up of a table over all parts.
#[derive(Default)]
pub(super) struct Sums {
    held: u64,
    counts: Counts,
    /// Records that should have rows without a name.
    lacking_names: u64,
    /// Records of topics of which there are rejections alone.
    quarantined_alone: u64,
    /// How many rows the objects of each commit should have; None if that cannot be told of one.
    expected: HashMap<i64, Option<u64>>,
    /// The commits of which the summary says that they added every row that their objects have: each with all of its objects
    /// still there, in the only version that the table has.
    whole: HashSet<i64>,
}

impl Sums {
    pub(super) fn find_whole(&mut self, facts: &Facts) {
        let added = |snapshot: &i64| facts.commits.get(snapshot).and_then(|commit| commit.added);
        let expected = std::mem::take(&mut self.expected);
        let whole = expected.into_iter().filter(|(snapshot, sum)| sum.is_some() && *sum == added(snapshot));
        self.whole = whole.map(|(snapshot, _)| snapshot).collect();
    }
}

impl Books<'_> {
    /// Adds up what the objects of a part should have brought to the table of the number `at`.
    pub(super) fn expect(&self, part: &Part, at: usize, sums: &mut Sums) {
        let (Some(facts), Some(tokens)) = (self.tables.get(at), part.tokens.get(at)) else { return };
        let mut versions: HashMap<[u8; 16], HashSet<Token>> = HashMap::new();
        for (token, _) in tokens {
            versions.entry(token.key()).or_default().insert(*token);
        }
        for (token, snapshot) in tokens {
            let rows = || {
                let place = part.objects.place_of_token(token)?;
                let records = *part.objects.by_place.get(place)?.records.as_ref().ok()?;
                let account = part.account(&facts.name, place);
                let rejected = account.map_or(0, |account| account.quarantined + account.redriven);
                (versions.get(&token.key())?.len() == 1).then_some(records.checked_sub(rejected)?)
            };
            let sum = sums.expected.entry(*snapshot).or_insert(Some(0));
            *sum = sum.zip(rows()).map(|(sum, rows)| sum + rows);
        }
    }

    /// `shared` says what all tables together have of each object, where an object's records go to several.
    pub(super) fn reconcile_table<'b>(
        &'b self,
        part: &'b Part,
        at: usize,
        sums: &mut Sums,
        shared: &HashMap<&str, u64>,
        known: &mut Known<'b>,
        report: &mut Report,
    ) {
        let (Some(facts), Some(rows_of)) = (self.tables.get(at), part.rows.get(at)) else { return };
        let tokens = self.reconcile_tokens(part, at, report);
        let layout = self.looking.layout;
        let counts = &mut sums.counts;
        for (place, object) in &part.objects.by_place {
            let rows = rows_of.get(place).copied().unwrap_or_default();
            let account = part.account(&facts.name, place);
            let rejected = account.map_or(0, |account| account.quarantined + account.redriven);
            let is_all_rejected = object.records.as_ref().is_ok_and(|all| *all > 0 && rejected >= *all);
            if !tokens.contains_key(place.as_str()) && rows == 0 && !is_all_rejected {
                if rejected > 0 || account.is_some_and(|account| account.pending > 0) {
                    known.begun.entry(place).or_default().push(&facts.name);
                }
                continue;
            }
            known.committed.insert(place);
            sums.held += 1;
            counts.rows_in_tables += rows;
            counts.rows_quarantined += account.map_or(0, |account| account.quarantined);
            counts.rows_redriven += account.map_or(0, |account| account.redriven);
            let Ok(records) = object.records else { continue };
            let elsewhere = shared.get(place.as_str()).map_or(0, |all| all - (rows + rejected));
            let records = records.saturating_sub(elsewhere);
            counts.rows_in_objects += records;
            counts.messages_dropped += object.dropped;
            let lacks = records.saturating_sub(rows + rejected);
            let commits = tokens.get(place.as_str());
            if lacks > 0 && !commits.is_some_and(|commits| is_named(facts, commits)) {
                sums.lacking_names += lacks;
            } else if facts.rows.have_file_name
                && let Some((snapshot, operation)) =
                    commits.filter(|_| lacks > 0).and_then(|of| deleted_by(facts, &sums.whole, of))
            {
                let detail = format!(
                    "{}: {} of its {} records were in the table and are not any more; snapshot {snapshot}, of the \
                     operation {operation}, or one before it has deleted them: if nobody meant to, roll the table \
                     back to before it",
                    facts.name,
                    HumanCount(lacks),
                    HumanCount(records)
                );
                report.find(Kind::RowsDeleted, layout.uri(place), detail);
            } else if facts.rows.have_file_name && records != rows + rejected {
                let found = Found { records, rows, account };
                let (kind, detail) = found.disagreement(facts);
                report.find(kind, layout.uri(place), detail);
            }
        }
        for (place, rows) in rows_of {
            if part.objects.by_place.contains_key(place) {
                continue;
            }
            // It may be older than what counts.
            if self.looking.options.since.is_some() {
                counts.rows_of_other_origin += rows;
                continue;
            }
            counts.rows_in_tables += rows;
            let detail = format!(
                "{}: {} rows name it, but the object is gone; restore it, or take the table for its only copy",
                facts.name,
                HumanCount(*rows)
            );
            report.find(Kind::MissingObject, layout.uri(place), detail);
        }
        let topics = facts.topics.as_ref();
        sums.quarantined_alone +=
            topics.map_or(0, |topics| topics.quarantined_alone(&facts.name, &part.accounts));
    }

    /// What is told by the sums of a table.
    pub(super) fn conclude_table(&self, facts: &Facts, sums: Sums, report: &mut Report) {
        let Sums { held, mut counts, lacking_names, quarantined_alone, .. } = sums;
        counts.rows_of_other_origin += facts.other_rows;
        if facts.rows.have_file_name && lacking_names > 0 {
            // Rows that came before the column have no name, and nothing but their number tells whether they are all there.
            let unnamed_rows = facts.unnamed_rows();
            let found = lacking_names.min(unnamed_rows);
            counts.rows_in_tables += found;
            counts.rows_of_other_origin -= found;
            if lacking_names > unnamed_rows {
                let detail = format!(
                    "objects from before the column file_name have {} rows in it, but the table has {} rows without \
                     a name; if no rows were deleted on purpose, roll back to the snapshot before they went",
                    HumanCount(lacking_names),
                    HumanCount(unnamed_rows)
                );
                report.find(Kind::RowsMissing, facts.name.clone(), detail);
            }
        }
        if !facts.rows.have_file_name && self.looking.options.is_whole() {
            reconcile_total(facts, &mut counts, report);
        }
        counts.record_ids_twice = facts.rows.ids_twice;
        counts.data_files_checked = facts.files_checked;
        counts.snapshots = facts.snapshots;
        let topics = facts.topics.as_ref();
        let kafka = topics.map(|topics| topics.reconcile(&facts.name, quarantined_alone, report));
        report.add_table(TableCounts {
            table: facts.name.clone(),
            objects: held,
            names_objects: facts.rows.have_file_name || (held == 0 && topics.is_some()),
            counts,
            kafka,
        });
    }

    /// The places of the objects whose tokens the table of the number `at` has, and the snapshots that have them.
    fn reconcile_tokens<'b>(
        &self,
        part: &'b Part,
        at: usize,
        report: &mut Report,
    ) -> HashMap<&'b str, Vec<i64>> {
        let mut places = HashMap::<&str, Vec<i64>>::new();
        let (Some(facts), Some(tokens), Some(rows)) =
            (self.tables.get(at), part.tokens.get(at), part.rows.get(at))
        else {
            return places;
        };
        let mut by_token: BTreeMap<Token, Vec<i64>> = BTreeMap::new();
        for (token, snapshot) in tokens {
            by_token.entry(*token).or_default().push(*snapshot);
        }
        let (mut missing, options) = (HashSet::new(), self.looking.options);
        for (token, snapshots) in by_token {
            let place = part.objects.place_of_token(&token);
            // Whether one that nothing names is among those that count cannot be told.
            if place.is_none() && !options.is_whole() {
                continue;
            }
            let name = place.map_or_else(|| format!("token {token}"), |place| self.looking.layout.uri(place));
            if let [first, second, ..] = &snapshots[..] {
                let detail = format!(
                    "{}: committed by the snapshots {first} and {second}; roll back the later one, or delete its rows",
                    facts.name
                );
                report.find(Kind::TokenTwice, name.clone(), detail);
            }
            match place {
                Some(place) if part.objects.by_place.contains_key(place) => {
                    places.entry(place.as_str()).or_default().extend(snapshots);
                }
                // Its rows say so already, or it is older than what counts.
                Some(place) if rows.contains_key(place) || options.since.is_some() => {}
                _ if !missing.insert(token.key()) => {}
                _ => {
                    let snapshots: Vec<String> = snapshots.iter().map(i64::to_string).collect();
                    let detail = format!(
                        "{}: snapshot {} lists it, but the object is gone and no row names it; restore it",
                        facts.name,
                        snapshots.join(", ")
                    );
                    report.find(Kind::MissingObject, name, detail);
                }
            }
        }
        places
    }
}

/// What was found of an object in one table.
struct Found<'a> {
    records: u64,
    rows: u64,
    account: Option<&'a Account>,
}

impl Found<'_> {
    /// The finding about it, where the numbers differ.
    fn disagreement(&self, facts: &Facts) -> (Kind, String) {
        let (quarantined, redriven) =
            self.account.map_or((0, 0), |account| (account.quarantined, account.redriven));
        let found = self.rows + quarantined + redriven;
        let mut equation = format!(
            "{}: {} records, but {} rows + {} quarantined",
            facts.name,
            HumanCount(self.records),
            HumanCount(self.rows),
            HumanCount(quarantined)
        );
        if redriven > 0 {
            equation.push_str(&format!(" + {} redriven", HumanCount(redriven)));
        }
        if let Some(account) = self.account {
            equation.push_str(&format!(" (in {})", account.files.join(", ")));
        }
        if found > self.records {
            let more = HumanCount(found - self.records);
            let remedy = "delete what was appended twice, or restore the object if it was damaged since";
            return (Kind::RowsSurplus, format!("{equation}: {more} too many; {remedy}"));
        }
        let few = HumanCount(self.records - found);
        let remedy = match (facts.incomplete, self.account) {
            (true, _) => "files of the table cannot be read; restore them",
            (false, None) => {
                "if no rows were deleted on purpose, roll the table back to the snapshot before they went, or put them in again"
            }
            (false, Some(_)) => {
                "if no rows were deleted, that file was cut; restore it, or roll back and deliver the object again"
            }
        };
        (Kind::RowsMissing, format!("{equation}: {few} missing; {remedy}"))
    }
}

/// Whether rows of all these commits name their objects. Of commits that have expired that is known only where rows always
/// did.
fn is_named(facts: &Facts, commits: &[i64]) -> bool {
    let named = |snapshot: &i64| facts.commits.get(snapshot).is_some_and(|commit| commit.is_named);
    !facts.was_unnamed || (!commits.is_empty() && commits.iter().all(named))
}

/// The last snapshot that deleted rows after `commits`, if all of these had brought every row.
fn deleted_by(facts: &Facts, whole: &HashSet<i64>, commits: &[i64]) -> Option<(i64, &'static str)> {
    let mut of_all = commits.iter().map(|snapshot| match whole.contains(snapshot) {
        true => facts.commits.get(snapshot).and_then(|commit| commit.deleted_by),
        false => None,
    });
    let first = of_all.next()??;
    of_all.all(|other| other.is_some()).then_some(first)
}

/// Of a table whose rows do not name their objects only the sum can be told.
fn reconcile_total(facts: &Facts, counts: &mut Counts, report: &mut Report) {
    let rejected = counts.rows_quarantined + counts.rows_redriven;
    let of_topics = facts.topics.as_ref().map_or(0, |topics| topics.rows);
    let total = facts.rows.total.saturating_sub(of_topics);
    let expected = counts.rows_in_objects.saturating_sub(rejected);
    (counts.rows_in_tables, counts.rows_of_other_origin) = (total, 0);
    if total > expected && !facts.ours_alone {
        // They may be of other writers, or of objects whose tokens have expired.
        (counts.rows_in_tables, counts.rows_of_other_origin) = (expected, total - expected);
        return;
    }
    let (kind, remedy) = match total.cmp(&expected) {
        std::cmp::Ordering::Equal => return,
        std::cmp::Ordering::Less => (
            Kind::RowsMissing,
            "if no rows were deleted on purpose, roll back to the snapshot before they went",
        ),
        std::cmp::Ordering::Greater => (Kind::RowsSurplus, "delete what was appended twice"),
    };
    let (expected, total) = (HumanCount(expected), HumanCount(total));
    let detail =
        format!("the table has {total} rows, its objects have {expected} that were not rejected; {remedy}");
    report.find(kind, facts.name.clone(), detail);
}
