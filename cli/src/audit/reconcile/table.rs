//! One table against the objects: its rows, its tokens and what was rejected of each object.

use std::collections::{BTreeMap, HashMap, HashSet};

use indicatif::HumanCount;
use lake::Token;

use super::super::quarantine::Account;
use super::super::report::{Counts, Kind, Report, TableCounts};
use super::super::table::Facts;
use super::{Books, Holdings, Known};

impl<'a> Books<'a> {
    /// `shared` says what all tables together have of each object, where an object's records go to several.
    pub(super) fn reconcile_table(
        &self,
        table: &'a Holdings,
        shared: &HashMap<&str, u64>,
        known: &mut Known<'a>,
        report: &mut Report,
    ) {
        let facts = &table.facts;
        let tokens = self.reconcile_tokens(table, report);
        let unnamed_rows = facts.rows.by_file_name.get(&None).copied().unwrap_or_default();
        // Rows of records of topics are of no object.
        let unnamed_rows = unnamed_rows.saturating_sub(facts.topics.as_ref().map_or(0, |topics| topics.rows));
        if facts.was_unnamed && unnamed_rows > 0 && !facts.reaches_back {
            known.untold.push(&facts.name);
        }
        let whole = self.whole_commits(table);
        let (mut held, mut counts) = (0, Counts::default());
        let mut lacking_names = 0;
        for (place, object) in &self.objects.by_place {
            let rows = table.rows.get(place).copied().unwrap_or_default();
            let account = self.account(&facts.name, place);
            let rejected = account.map_or(0, |account| account.quarantined + account.redriven);
            let is_all_rejected = object.records.as_ref().is_ok_and(|all| *all > 0 && rejected >= *all);
            if !tokens.contains_key(place.as_str()) && rows == 0 && !is_all_rejected {
                if rejected > 0 || account.is_some_and(|account| account.pending > 0) {
                    known.begun.entry(place).or_default().push(&facts.name);
                }
                continue;
            }
            known.committed.insert(place);
            held += 1;
            counts.rows_in_tables += rows;
            counts.rows_quarantined += account.map_or(0, |account| account.quarantined);
            counts.rows_redriven += account.map_or(0, |account| account.redriven);
            let Ok(records) = object.records else { continue };
            let elsewhere = shared.get(place.as_str()).map_or(0, |all| all - (rows + rejected));
            let records = records.saturating_sub(elsewhere);
            counts.rows_in_objects += records;
            counts.messages_dropped += object.dropped;
            let lacks = records.saturating_sub(rows + rejected);
            if lacks > 0 && !tokens.get(place.as_str()).is_some_and(|commits| is_named(facts, commits)) {
                lacking_names += lacks;
            } else if facts.rows.have_file_name
                && let Some((snapshot, operation)) = tokens
                    .get(place.as_str())
                    .filter(|_| lacks > 0)
                    .and_then(|of| deleted_by(facts, &whole, of))
            {
                let detail = format!(
                    "{}: {} of its {} records were in the table and are not any more; snapshot {snapshot}, of the \
                     operation {operation}, or one before it has deleted them: if nobody meant to, roll the table \
                     back to before it",
                    facts.name,
                    HumanCount(lacks),
                    HumanCount(records)
                );
                report.find(Kind::RowsDeleted, object.source.uri.clone(), detail);
            } else if facts.rows.have_file_name && records != rows + rejected {
                let found = Found { records, rows, account };
                let (kind, detail) = found.disagreement(facts);
                report.find(kind, object.source.uri.clone(), detail);
            }
        }
        for (place, rows) in &table.rows {
            if !self.objects.by_place.contains_key(place) {
                counts.rows_in_tables += rows;
                let detail = format!(
                    "{}: {} rows name it, but the object is gone; restore it, or take the table for its only copy",
                    facts.name,
                    HumanCount(*rows)
                );
                report.find(Kind::MissingObject, self.uri(place), detail);
            }
        }
        counts.rows_of_other_origin = table.other_rows;
        if facts.rows.have_file_name && lacking_names > 0 {
            // Rows that came before the column have no name, and nothing but their number tells whether they are all there.
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
        if !facts.rows.have_file_name {
            reconcile_total(facts, &mut counts, report);
        }
        counts.record_ids_twice = facts.rows.twice.len() as u64;
        counts.data_files_checked = facts.files_checked;
        counts.snapshots = facts.snapshots;
        let names_objects = facts.rows.have_file_name || (held == 0 && facts.topics.is_some());
        let kafka = facts.topics.as_ref().map(|topics| topics.reconcile(&facts.name, self.accounts, report));
        report.add_table(TableCounts {
            table: facts.name.clone(),
            objects: held,
            names_objects,
            counts,
            kafka,
        });
    }

    /// The commits of which the summary says that they added every row that their objects have: each with all of its objects
    /// still there, in the only version that the table has.
    fn whole_commits(&self, table: &Holdings) -> HashSet<i64> {
        let facts = &table.facts;
        let mut versions: HashMap<[u8; 16], HashSet<Token>> = HashMap::new();
        for (token, _) in &facts.tokens {
            versions.entry(token.key()).or_default().insert(*token);
        }
        let mut expected: HashMap<i64, Option<u64>> = HashMap::new();
        for (token, snapshot) in &facts.tokens {
            let rows = || {
                let place = self.objects.place_of_token(token)?;
                let records = *self.objects.by_place.get(place)?.records.as_ref().ok()?;
                let account = self.account(&facts.name, place);
                let rejected = account.map_or(0, |account| account.quarantined + account.redriven);
                (versions.get(&token.key())?.len() == 1).then_some(records.checked_sub(rejected)?)
            };
            let sum = expected.entry(*snapshot).or_insert(Some(0));
            *sum = sum.zip(rows()).map(|(sum, rows)| sum + rows);
        }
        let added = |snapshot: &i64| facts.commits.get(snapshot).and_then(|commit| commit.added);
        let whole = expected.into_iter().filter(|(snapshot, sum)| sum.is_some() && *sum == added(snapshot));
        whole.map(|(snapshot, _)| snapshot).collect()
    }

    /// The places of the objects whose tokens the table has, and the snapshots that have them.
    fn reconcile_tokens(&self, table: &'a Holdings, report: &mut Report) -> HashMap<&'a str, Vec<i64>> {
        let facts = &table.facts;
        let mut by_token: BTreeMap<Token, Vec<i64>> = BTreeMap::new();
        for (token, snapshot) in &facts.tokens {
            by_token.entry(*token).or_default().push(*snapshot);
        }
        let (mut places, mut missing) = (HashMap::<&str, Vec<i64>>::new(), HashSet::new());
        for (token, snapshots) in by_token {
            let place = self.objects.place_of_token(&token);
            let name = place.map_or_else(|| format!("token {token}"), |place| self.uri(place));
            if let [first, second, ..] = &snapshots[..] {
                let detail = format!(
                    "{}: committed by the snapshots {first} and {second}; roll back the later one, or delete its rows",
                    facts.name
                );
                report.find(Kind::TokenTwice, name.clone(), detail);
            }
            match place {
                Some(place) if self.objects.by_place.contains_key(place) => {
                    places.entry(place.as_str()).or_default().extend(snapshots);
                }
                // Its rows say so already.
                Some(place) if table.rows.contains_key(place) => {}
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
