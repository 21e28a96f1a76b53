use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder, LocalFsStorageFactory};
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{Runtime, TableIdent};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::env::{Env, Source};
use crate::offsets::{Offsets, Stream};
use crate::token::{self, Seen};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const START: i64 = 1_800_000_000_000;

#[derive(Debug)]
struct At(i64);

impl Source for At {
    fn now_ms(&self) -> i64 {
        self.0
    }

    fn random(&self) -> u64 {
        fastrand::u64(..)
    }
}

/// A table as catalogs and engines would have it: snapshots with ids equal to their sequence numbers, one an hour.
struct Bench {
    folder: TempDir,
    file_io: FileIO,
    ledgers: Ledgers,
    /// Id, parent, whether it is ours.
    snapshots: Vec<(i64, Option<i64>, bool)>,
    current: Option<i64>,
    last: i64,
    properties: Value,
    /// What the names of the objects tell that are delivered.
    newest_ms: Option<i64>,
    /// Metadata files, oldest first.
    log: Vec<String>,
    /// Whether our commits are of records of a topic too.
    has_offsets: bool,
}

fn token(snapshot: i64) -> Token {
    Token::new("raw", &format!("{snapshot}.gz"), "v")
}

fn other_version(snapshot: i64) -> Token {
    Token::new("raw", &format!("{snapshot}.gz"), "w")
}

fn stream() -> Stream {
    Stream::new("cluster", "topic", "")
}

/// A commit takes the offsets of twice its id and of the number behind: those of successive commits touch.
fn offsets_of_commit(snapshot: i64) -> Offsets {
    let mut offsets = Offsets::default();
    for offset in [2 * snapshot, 2 * snapshot + 1] {
        offsets.insert(&stream(), 7, offset, Some(START + offset));
    }
    offsets
}

impl Bench {
    fn new(properties: Value) -> Self {
        let folder = TempDir::new().unwrap();
        let file_io = FileIOBuilder::new(Arc::new(LocalFsStorageFactory)).build();
        Self {
            folder,
            file_io,
            ledgers: Ledgers::default(),
            snapshots: Vec::new(),
            current: None,
            last: 0,
            properties,
            newest_ms: None,
            log: Vec::new(),
            has_offsets: false,
        }
    }

    /// Snapshots that live for a millisecond.
    fn short() -> Self {
        Self::new(
            json!({"history.expire.max-snapshot-age-ms": "1", "history.expire.min-snapshots-to-keep": "2"}),
        )
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn root(&self) -> String {
        root(&self.path("errors"), "ns.t")
    }

    fn time(&self, snapshot: i64) -> i64 {
        START + snapshot * HOUR
    }

    fn metadata(&self) -> TableMetadata {
        let list: Vec<Value> = self
            .snapshots
            .iter()
            .map(|(id, parent, is_ours)| {
                let mut summary = json!({"operation": if *is_ours { "append" } else { "overwrite" }});
                if *is_ours {
                    summary[token::SUMMARY_KEY] = token(*id).to_string().into();
                    summary[token::COMMIT_KEY] = Uuid::from_u128(*id as u128).to_string().into();
                    summary[token::REJECTED_KEY] = "0".into();
                    if self.has_offsets {
                        summary[crate::offsets::SUMMARY_KEY] = offsets_of_commit(*id).to_string().into();
                    }
                }
                let mut snapshot = json!({"snapshot-id": id, "sequence-number": id, "timestamp-ms": self.time(*id),
                    "manifest-list": "list.avro", "summary": summary, "schema-id": 0});
                if let Some(parent) = parent {
                    snapshot["parent-snapshot-id"] = (*parent).into();
                }
                snapshot
            })
            .collect();
        let log: Vec<Value> = self
            .log
            .iter()
            .map(|file| json!({"metadata-file": file, "timestamp-ms": self.time(self.last)}))
            .collect();
        let refs = match self.current {
            Some(current) => json!({"main": {"snapshot-id": current, "type": "branch"}}),
            None => json!({}),
        };
        serde_json::from_value(json!({
            "format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": self.path("table"),
            "last-sequence-number": self.last, "last-updated-ms": self.time(self.last), "last-column-id": 0,
            "current-schema-id": 0, "schemas": [{"type": "struct", "schema-id": 0, "fields": []}],
            "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}], "last-partition-id": 999,
            "default-sort-order-id": 0, "sort-orders": [{"order-id": 0, "fields": []}],
            "current-snapshot-id": self.current.unwrap_or(-1), "refs": refs, "properties": self.properties,
            "snapshots": list, "snapshot-log": [], "metadata-log": log
        }))
        .unwrap()
    }

    fn table(&self) -> Table {
        Table::builder()
            .identifier(TableIdent::from_strs(["ns", "t"]).unwrap())
            .metadata_location("now.metadata.json")
            .metadata(self.metadata())
            .file_io(self.file_io.clone())
            .runtime(Runtime::try_current().unwrap())
            .build()
            .unwrap()
    }

    /// The present metadata becomes an older one.
    fn logged(&mut self) {
        let path = self.path(&format!("{:05}.metadata.json", self.log.len()));
        std::fs::write(&path, serde_json::to_vec(&self.metadata()).unwrap()).unwrap();
        self.log.push(path);
    }

    async fn update(&self, id: i64, retiring: &[i64], now_ms: i64) -> iceberg::Result<Written> {
        let tokens = [token(id)];
        let (time_ms, commit) = (now_ms.max(self.time(self.last)), Uuid::from_u128(id as u128));
        let offsets = self.has_offsets.then(|| offsets_of_commit(id));
        let offsets = offsets.as_ref();
        let added = Added { snapshot: id, time_ms, tokens: &tokens, offsets, id: commit };
        let memory = Memory {
            ledgers: &self.ledgers,
            root: &self.root(),
            tokens: &tokens,
            offsets,
            newest_ms: self.newest_ms,
        };
        let table = self.table();
        let env = Env::new(At(now_ms));
        memory.update(table.metadata(), table.file_io(), Some(added), retiring, &env).await
    }

    /// A commit of ours, that expires `retiring`.
    async fn append(&mut self, retiring: &[i64]) -> i64 {
        let id = self.last + 1;
        let written = self.update(id, retiring, self.time(id)).await.unwrap();
        self.logged();
        self.keep(written);
        self.add(true);
        self.snapshots.retain(|(id, ..)| !retiring.contains(id));
        id
    }

    fn keep(&mut self, written: Written) {
        for (name, value) in written.properties(&self.metadata()) {
            self.properties[name] = value.into();
        }
    }

    /// A commit of another engine.
    fn overwrite(&mut self) -> i64 {
        self.logged();
        self.add(false)
    }

    fn add(&mut self, is_ours: bool) -> i64 {
        self.last += 1;
        self.snapshots.push((self.last, self.current, is_ours));
        self.current = Some(self.last);
        self.last
    }

    /// Another engine expires all but `kept`.
    fn expire_all_but(&mut self, kept: &[i64]) {
        self.logged();
        self.snapshots.retain(|(id, ..)| kept.contains(id));
    }

    fn roll_back(&mut self, to: i64) {
        self.logged();
        self.current = Some(to);
    }

    async fn remembered(&self) -> Remembered {
        // As a function does that has just started.
        Ledgers::default().of(&self.metadata(), &self.file_io).await
    }

    /// The snapshots whose objects count as appended, and whether nothing else was.
    async fn known(&self) -> (Vec<i64>, bool) {
        let tokens: Vec<Token> = (1..=self.last).map(token).collect();
        let history = self.remembered().await.history(&tokens);
        let known = (1..=self.last).filter(|id| history.seen.get(&token(*id)) == Some(&Seen::This(*id)));
        (known.collect(), history.complete)
    }

    /// The snapshots whose offsets count as committed, and the last one that none of them is known to be missing up to.
    async fn taken(&self) -> (Vec<i64>, Option<Floor>) {
        let remembered = self.remembered().await;
        let has = |offset| {
            let offsets = remembered.offsets();
            offsets.iter().any(|it| it.ranges(&stream(), 7).is_some_and(|ranges| ranges.contains(offset)))
        };
        let taken = (1..=self.last).filter(|id| {
            assert_eq!(has(2 * id), has(2 * id + 1), "{id}");
            has(2 * id)
        });
        (taken.collect(), remembered.offsets_doubt().map(|doubt| doubt.floor))
    }

    fn ledger_path(&self) -> &str {
        self.properties[PROPERTY].as_str().unwrap()
    }

    async fn ledger(&self) -> Arc<Ledger> {
        match self.remembered().await.ledger {
            remembered::State::Read(ledger) => ledger,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn tokens_outlive_their_snapshots() {
    let mut bench = Bench::short();
    for id in 1..=10 {
        let retiring = if id > 2 { vec![id - 2] } else { vec![] };
        bench.append(&retiring).await;
    }
    assert_eq!(bench.snapshots.len(), 2);
    assert_eq!(bench.known().await, ((1..=10).collect(), true));
    // Copy-on-write by another engine, which leaves nothing of ours.
    let deleted = bench.overwrite();
    bench.expire_all_but(&[deleted]);
    assert_eq!(bench.known().await, ((1..=10).collect(), true));
    // Other versions are told too, with the commit that their quarantine is named by.
    let history = bench.remembered().await.history(&[other_version(4), token(99)]);
    assert_eq!(history.seen.get(&other_version(4)), Some(&Seen::Other));
    assert_eq!(history.versions[&other_version(4)][0].commit, Some(Uuid::from_u128(4)));
    assert_eq!(history.versions[&other_version(4)][0].token, token(4));
    assert!(!history.seen.contains_key(&token(99)));
}

/// Nobody may expire a snapshot before its tokens are safe; but a ledger is not written with every commit.
#[tokio::test]
async fn ledgers_are_written_before_they_are_needed_and_no_earlier() {
    let properties = |min: &str| {
        json!({"history.expire.max-snapshot-age-ms": (24 * HOUR).to_string(),
               "history.expire.min-snapshots-to-keep": min})
    };
    let mut bench = Bench::new(properties("1"));
    let mut written = Vec::new();
    for id in 1..=40 {
        let before = bench.properties.get(PROPERTY).cloned();
        bench.append(&[]).await;
        if bench.properties.get(PROPERTY) != before.as_ref() {
            written.push(id);
        }
    }
    // The oldest that is not in it is more than twelve hours old.
    assert_eq!(written, [15, 30]);
    // What stays whatever its age is in no hurry.
    let mut bench = Bench::new(properties("100"));
    for _ in 1..=40 {
        bench.append(&[]).await;
    }
    assert_eq!(bench.properties.get(PROPERTY), None);
    // But nothing expires before.
    bench.append(&[1]).await;
    assert_eq!(bench.ledger().await.commits.len(), 41);
    assert_eq!(bench.known().await, ((1..=41).collect(), true));
}

/// Whoever expires everything at once, before any ledger is written, takes no token along.
#[tokio::test]
async fn an_expiry_by_hand_takes_no_token_along() {
    let mut bench = Bench::new(json!({}));
    for _ in 1..=3 {
        bench.append(&[]).await;
    }
    let deleted = bench.overwrite();
    bench.expire_all_but(&[deleted]);
    bench.log.clear();
    assert_eq!(bench.known().await, (vec![1, 2, 3], true));
    let history = bench.remembered().await.history(&[other_version(2)]);
    assert_eq!(history.versions[&other_version(2)][0].commit, Some(Uuid::from_u128(2)));
    bench.append(&[]).await;
    assert_eq!(bench.properties.get(PROPERTY), None);
    bench.expire_all_but(&[5]);
    bench.log.clear();
    assert_eq!(bench.known().await, (vec![1, 2, 3, 5], true));
    // Two commits of others, of which the first has expired: whether ours were before them is guessed, once.
    bench.overwrite();
    let last = bench.overwrite();
    bench.expire_all_but(&[last]);
    bench.log.clear();
    assert_eq!(bench.known().await, (vec![1, 2, 3, 5], false));
    assert_eq!(bench.remembered().await.doubt().unwrap().until, last);
    bench.append(&[]).await;
    assert!(bench.properties.get(PROPERTY).is_some());
    assert_eq!(bench.known().await, (vec![1, 2, 3, 5, 8], false));
    // With a ledger it is the same.
    bench.append(&[]).await;
    let deleted = bench.overwrite();
    bench.expire_all_but(&[deleted]);
    bench.log.clear();
    assert_eq!(bench.known().await, (vec![1, 2, 3, 5, 8, 9], false));
    bench.roll_back(8);
    bench.snapshots.push((8, Some(7), true));
    assert_eq!(bench.known().await, (vec![1, 2, 3, 5, 8], false));
}

#[tokio::test]
async fn the_property_grows_into_a_ledger() {
    let mut bench = Bench::new(json!({"history.expire.min-snapshots-to-keep": "10000"}));
    // As many as nearly fill it.
    for _ in 1..=330 {
        bench.add(true);
    }
    let mut longest = 0;
    while bench.properties.get(PROPERTY).is_none() {
        bench.append(&[]).await;
        longest = longest.max(bench.properties[recent::PROPERTY].as_str().unwrap().len());
    }
    assert!(longest > recent::MAX_BYTES - 200 && longest <= recent::MAX_BYTES, "{longest}");
    assert_eq!(bench.properties[recent::PROPERTY], "");
    let last = bench.append(&[]).await;
    assert!(bench.properties[recent::PROPERTY].as_str().unwrap().len() < 200);
    bench.expire_all_but(&[last]);
    bench.log.clear();
    assert_eq!(bench.known().await, ((1..=last).collect(), true));
}

/// Where no ledger may lie, the property keeps what it can, and the rest is no secret.
#[tokio::test]
async fn a_property_that_grows_no_further_leaves_doubt() {
    let mut bench = Bench::new(json!({}));
    bench.properties["write.data.path"] = bench.folder.path().to_str().unwrap().into();
    for _ in 1..=399 {
        bench.add(true);
    }
    bench.append(&[]).await;
    assert!(bench.properties[recent::PROPERTY].as_str().unwrap().len() <= recent::MAX_BYTES);
    bench.expire_all_but(&[400]);
    bench.log.clear();
    let (known, is_complete) = bench.known().await;
    assert!(!is_complete && known.len() > 250 && known.last() == Some(&400), "{known:?}");
    let doubt = bench.remembered().await.doubt().unwrap();
    assert_eq!(doubt.until, known[0] - 1);
}

#[tokio::test]
async fn a_property_of_another_table_or_a_damaged_one_is_none() {
    let mut bench = Bench::new(json!({}));
    bench.append(&[]).await;
    bench.append(&[]).await;
    bench.expire_all_but(&[2]);
    bench.log.clear();
    let right = bench.properties[recent::PROPERTY].as_str().unwrap().to_owned();
    assert_eq!(bench.known().await, (vec![1, 2], true));
    for wrong in [
        right.replacen("9c12d441", "9c12d442", 1),
        right.replacen(",,", ",x,", 1),
        right[..right.len() - 1].to_owned(),
        format!("{right};"),
        format!("{right},"),
        "x".to_owned(),
        String::new(),
    ] {
        assert_ne!(wrong, right);
        bench.properties[recent::PROPERTY] = wrong.clone().into();
        assert_eq!(bench.known().await, (vec![2], false), "{wrong}");
    }
}

#[tokio::test]
async fn what_was_rolled_back_may_come_again() {
    let mut bench = Bench::short();
    for id in 1..=6 {
        bench.append(&if id == 6 { vec![1, 2] } else { vec![] }).await;
    }
    bench.roll_back(4);
    assert_eq!(bench.known().await, ((1..=4).collect(), true));
    // The next commit cuts the ledger, and the snapshots above may expire.
    assert_eq!(bench.append(&[5, 6]).await, 7);
    let ids: Vec<i64> = bench.ledger().await.commits.iter().map(|commit| commit.snapshot).collect();
    assert_eq!(ids, [1, 2, 3, 4, 7]);
    bench.expire_all_but(&[7]);
    assert_eq!(bench.known().await, (vec![1, 2, 3, 4, 7], true));
}

#[tokio::test]
async fn a_rollback_to_a_tag_goes_back_past_expiry() {
    let mut bench = Bench::short();
    for _ in 1..=6 {
        bench.append(&[]).await;
    }
    // A tag keeps 3.
    bench.expire_all_but(&[3, 6]);
    assert_eq!(bench.known().await, ((1..=6).collect(), true));
    bench.roll_back(3);
    assert_eq!(bench.known().await, (vec![1, 2, 3], true));
    let compacted = bench.overwrite();
    bench.expire_all_but(&[compacted]);
    assert_eq!(bench.known().await, (vec![1, 2, 3], true), "its parent was 3");
}

/// The metadata look the same after both, but for the files in its log.
#[tokio::test]
async fn a_rollback_is_told_from_a_delete_after_both_have_expired() {
    for (back_to, expected) in [(Some(3), vec![1, 2, 3]), (None, (1..=6).collect())] {
        let mut bench = Bench::short();
        for _ in 1..=6 {
            bench.append(&[]).await;
        }
        if let Some(id) = back_to {
            bench.roll_back(id);
        }
        bench.overwrite();
        let last = bench.overwrite();
        bench.expire_all_but(&[last]);
        assert_eq!(bench.known().await, (expected.clone(), true), "back to {back_to:?}");
        // Some engines strike out the parent too.
        bench.logged();
        bench.snapshots[0].1 = None;
        assert_eq!(bench.known().await, (expected.clone(), true), "back to {back_to:?}");
        // The next commit puts it right for good.
        let mut anchored = expected.clone();
        anchored.push(bench.append(&[]).await);
        bench.log.clear();
        assert_eq!(bench.known().await, (anchored, true), "back to {back_to:?}");
    }
}

/// Without those files: a delete is far more common, and a deleted row must not come back.
#[tokio::test]
async fn what_cannot_be_told_counts() {
    let mut bench = Bench::short();
    for _ in 1..=6 {
        bench.append(&[]).await;
    }
    bench.overwrite();
    let last = bench.overwrite();
    bench.expire_all_but(&[last]);
    bench.log.clear();
    let remembered = bench.remembered().await;
    assert!(remembered.line.guessed.is_some());
    // Objects that nothing is known of may have been in what expired.
    assert_eq!(bench.known().await, ((1..=6).collect(), false));
    bench.append(&[]).await;
    assert_eq!(bench.ledger().await.floor.unwrap().sequence_number, last - 1);
}

/// The table was made anew: what was in it before may come again.
#[tokio::test]
async fn a_table_that_was_replaced_remembers_nothing() {
    let mut bench = Bench::short();
    for _ in 1..=3 {
        bench.append(&[]).await;
    }
    bench.logged();
    bench.current = None;
    let anew = bench.add(false);
    assert_eq!(bench.known().await, (vec![], true));
    bench.expire_all_but(&[anew]);
    assert_eq!(bench.known().await, (vec![], true));
}

/// An operator expires all that there is, before it is in the ledger.
#[tokio::test]
async fn snapshots_that_expire_too_early_are_found_in_older_metadata() {
    let mut bench = Bench::new(json!({}));
    for id in 1..=6 {
        bench.append(&if id == 3 { vec![1] } else { vec![] }).await;
    }
    let last = bench.overwrite();
    bench.expire_all_but(&[last]);
    assert_eq!(bench.known().await, ((1..=6).collect(), true));
    bench.append(&[]).await;
    bench.log.clear();
    assert_eq!(bench.known().await, (vec![1, 2, 3, 4, 5, 6, 8], true));
    // A warm process, too.
    let tokens = [token(5)];
    for _ in 0..2 {
        let history = bench.ledgers.of(&bench.metadata(), &bench.file_io).await.history(&tokens);
        assert_eq!(history.seen.get(&token(5)), Some(&Seen::This(5)));
    }
}

#[tokio::test]
async fn a_lost_ledger_is_not_an_empty_one() {
    for damage in [
        |path: &str| std::fs::remove_file(path).unwrap(),
        |path: &str| std::fs::write(path, b"").unwrap(),
        |path: &str| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[60] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
    ] {
        let mut bench = Bench::short();
        for _ in 1..=4 {
            bench.append(&[]).await;
        }
        bench.expire_all_but(&[3, 4]);
        let lost = bench.ledger_path().to_owned();
        damage(&lost);
        bench.ledgers = Ledgers::default();
        assert_eq!(bench.known().await, (vec![3, 4], false));
        let doubt = bench.remembered().await.doubt().unwrap();
        assert_eq!(doubt.until, 2, "rows of others are in older files");
        bench.append(&[]).await;
        assert_ne!(bench.ledger_path(), lost);
        bench.expire_all_but(&[5]);
        assert_eq!(bench.known().await, (vec![3, 4, 5], false));
    }
}

/// What cannot be read now may be whole: nothing is put in its place, and nothing may expire.
#[tokio::test]
async fn a_ledger_that_cannot_be_read_stays() {
    let mut bench = Bench::short();
    bench.append(&[]).await;
    // A folder is there, and cannot be read.
    bench.properties[PROPERTY] = bench.path("").into();
    bench.ledgers = Ledgers::default();
    bench.update(2, &[1], bench.time(2)).await.unwrap_err();
    assert_eq!(bench.known().await, (vec![1], true), "snapshots tell by themselves");
}

#[tokio::test]
async fn tokens_leave_by_age_alone() {
    let mut bench = Bench::short();
    bench.properties[RETENTION] = (10 * HOUR).to_string().into();
    for _ in 1..=14 {
        bench.append(&[]).await;
    }
    let compacted = bench.overwrite();
    let last = bench.append(&[]).await;
    bench.expire_all_but(&[last]);
    // The base of the last commit was of hour 15.
    assert_eq!(bench.known().await, ((5..=14).chain([16]).collect(), false));
    let doubt = bench.remembered().await.doubt().unwrap();
    assert_eq!(doubt.until, compacted, "the other engine may have put old rows into its files");
    // An object younger than what is missing is new, unless its name lies.
    let (floor, now) = (bench.time(5), bench.time(last) + 20 * DAY);
    assert!(!doubt.is_excluded(floor + DAY, now));
    assert!(doubt.is_excluded(floor + DAY + 1, now));
    assert!(!doubt.is_excluded(now + DAY, now));
    // The last commit stays, so that the line goes on.
    bench.properties[RETENTION] = "0".into();
    bench.append(&[]).await;
    bench.append(&[]).await;
    assert_eq!(bench.ledger().await.commits.len(), 2);
}

#[tokio::test]
async fn a_clock_that_is_ahead_costs_no_token() {
    let mut bench = Bench::short();
    bench.properties[RETENTION] = (10 * HOUR).to_string().into();
    for _ in 1..=5 {
        bench.append(&[]).await;
    }
    let written = bench.update(6, &[], bench.time(6) + 100 * DAY).await.unwrap();
    bench.keep(written);
    bench.add(true);
    assert_eq!(bench.known().await, ((1..=6).collect(), true));
    // Nor where the table's own time is ahead by now: the names of the objects tell it too.
    bench.last = 6 + 100 * 24;
    bench.newest_ms = Some(bench.time(7));
    let written = bench.update(bench.last + 1, &[], bench.time(7) + 100 * DAY).await.unwrap();
    bench.keep(written);
    assert_eq!(bench.ledger().await.len(), 7);
}

/// Appends, commits of others, expiry and rollbacks in any order: what is remembered is what the ancestors have taken.
#[tokio::test]
async fn offsets_count_by_ancestry_whatever_happens() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bench = Bench::short();
        bench.has_offsets = true;
        let mut parents: Vec<(i64, Option<i64>, bool)> = Vec::new();
        for _ in 0..40 {
            match random.u8(..10) {
                0..6 => {
                    let is_kept = |id: i64| Some(id) == bench.current;
                    let live = bench.snapshots.iter().map(|(id, ..)| *id).filter(|id| !is_kept(*id));
                    let retiring: Vec<i64> = live.filter(|_| random.u8(..3) == 0).collect();
                    bench.append(&retiring).await;
                }
                6 => _ = bench.overwrite(),
                7 => {
                    let live: Vec<i64> = bench.snapshots.iter().map(|(id, ..)| *id).collect();
                    if let Some(to) = random.choice(live) {
                        bench.roll_back(to);
                    }
                }
                _ => {
                    let live = bench.snapshots.iter().map(|(id, ..)| *id);
                    let kept: Vec<i64> =
                        live.filter(|id| Some(*id) == bench.current || random.bool()).collect();
                    bench.expire_all_but(&kept);
                }
            }
            let new = bench.snapshots.last().copied().filter(|(id, ..)| parents.len() < *id as usize);
            parents.extend(new);
            let line = std::iter::successors(bench.current, |id| parents[*id as usize - 1].1);
            let mut expected: Vec<i64> = line.filter(|id| parents[*id as usize - 1].2).collect();
            expected.reverse();
            assert_eq!(bench.taken().await, (expected.clone(), None), "seed {seed}");
            assert_eq!(bench.known().await, (expected, true), "seed {seed}");
        }
    }
}

/// A topic without gaps takes a range for each partition, and for each snapshot that a rollback may lead to.
#[tokio::test]
async fn offsets_grow_together_and_are_never_forgotten() {
    let mut bench = Bench::short();
    bench.has_offsets = true;
    bench.properties[RETENTION] = (10 * HOUR).to_string().into();
    for id in 1..=100 {
        let retiring = if id > 2 { vec![id - 2] } else { vec![] };
        bench.append(&retiring).await;
    }
    let ledger = bench.ledger().await;
    assert!(ledger.commits.len() < 13 && ledger.offsets.len() <= 3, "{ledger:?}");
    let (known, is_complete) = bench.known().await;
    assert!(known.len() < 13 && !is_complete, "tokens are forgotten");
    assert_eq!(bench.taken().await, ((1..=100).collect(), None));
    let text = ledger.offsets[0].1.to_string();
    assert!(text.contains("=7:2+"), "{text}");
}

/// Without its ledger, a table does not know what its older commits have taken.
#[tokio::test]
async fn without_the_ledger_offsets_are_in_doubt() {
    let mut bench = Bench::short();
    bench.has_offsets = true;
    for id in 1..=6 {
        let retiring = if id > 2 { vec![id - 2] } else { vec![] };
        bench.append(&retiring).await;
    }
    bench.log.clear();
    std::fs::remove_file(bench.ledger_path()).unwrap();
    // As of a function that has just started.
    bench.ledgers = Ledgers::default();
    let (taken, floor) = bench.taken().await;
    assert_eq!((taken, floor.map(|floor| floor.sequence_number)), (vec![5, 6], Some(4)));
    // It stays so, though a new ledger is written.
    bench.append(&[]).await;
    bench.append(&[5]).await;
    let (taken, floor) = bench.taken().await;
    assert_eq!((taken, floor.map(|floor| floor.sequence_number)), (vec![5, 6, 7, 8], Some(4)));
}

/// `cargo test --release -p frazil-lake --lib 200_000 -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement, of optimised code"]
async fn a_cold_function_reads_200_000_tokens_in_no_time() {
    let mut bench = Bench::new(json!({}));
    bench.append(&[]).await;
    let commits = (0..25_000).map(|at| Commit {
        snapshot: at,
        sequence_number: at,
        time_ms: at,
        id: Some(Uuid::from_u128(1)),
        is_ours: true,
    });
    let mut commits: Vec<Commit> = commits.collect();
    commits[24_999].snapshot = 1;
    let entry = |at| format::Entry { token: token(at), commit: at as u32 / 8 };
    let entries = format::entries((0..200_000).map(entry).collect());
    let table = bench.metadata().uuid();
    let bytes =
        Ledger { table, floor: None, commits, entries, offsets: Vec::new(), offsets_floor: None }.encode();
    std::fs::write(bench.path("x.ledger"), &bytes).unwrap();
    bench.properties[PROPERTY] = bench.path("x.ledger").into();
    let (table, tokens) = (bench.metadata(), (199_900..200_100).map(token).collect::<Vec<_>>());
    let mut times = Vec::new();
    for _ in 0..21 {
        let started = std::time::Instant::now();
        let history = Ledgers::default().of(&table, &bench.file_io).await.history(&tokens);
        times.push(started.elapsed());
        assert_eq!((history.seen.len(), history.complete), (100, true));
    }
    times.sort_unstable();
    println!("{} bytes; median {:?}, worst {:?}", bytes.len(), times[10], times[20]);
    assert!(times[10] < std::time::Duration::from_millis(50));
}

#[tokio::test]
async fn no_ledger_lies_where_engines_delete_what_they_do_not_know() {
    for property in ["write.data.path", "write.metadata.path"] {
        let mut bench = Bench::short();
        bench.properties[property] = bench.folder.path().to_str().unwrap().into();
        assert!(matches!(bench.update(1, &[], START).await.unwrap(), Written::Recent(_)), "{property}");
        bench.properties[property] = bench.path("led").into();
        assert!(matches!(bench.update(1, &[], START).await.unwrap(), Written::Ledger(_)), "{property}");
    }
    let bench = Bench::short();
    let errors = bench.path("table/errors");
    let memory = Memory {
        ledgers: &bench.ledgers,
        root: &root(&errors, "ns.t"),
        tokens: &[],
        offsets: None,
        newest_ms: None,
    };
    let table = bench.table();
    let env = Env::new(At(START));
    let written = memory.update(table.metadata(), table.file_io(), None, &[], &env).await;
    assert!(matches!(written.unwrap(), Written::Recent(_)));
}

#[test]
fn any_byte_that_changes_is_noticed() {
    let ledger = Ledger {
        table: Uuid::from_u128(7),
        floor: Some(Floor { sequence_number: 3, time_ms: 4 }),
        commits: vec![
            Commit {
                snapshot: i64::MAX,
                sequence_number: 5,
                time_ms: 6,
                id: Some(Uuid::max()),
                is_ours: true,
            },
            Commit { snapshot: 1, sequence_number: 6, time_ms: -1, id: None, is_ours: false },
        ],
        entries: format::entries(
            (0..9).map(|at| format::Entry { token: token(at), commit: at as u32 % 2 }).collect(),
        ),
        offsets: vec![(0, offsets_of_commit(3)), (1, offsets_of_commit(9))],
        offsets_floor: Some(Floor { sequence_number: 1, time_ms: 2 }),
    };
    let bytes = ledger.encode();
    let without = Ledger { offsets: Vec::new(), offsets_floor: None, ..ledger.clone() };
    assert!(without.encode().starts_with(b"FRZLEDG1") && bytes.starts_with(b"FRZLEDG2"));
    assert_eq!(Ledger::decode(&without.encode()), Ok(without));
    assert_eq!(Ledger::decode(&bytes), Ok(ledger.clone()));
    assert_eq!(Ledger::decode(&Ledger { floor: None, ..ledger }.encode()).unwrap().floor, None);
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x10;
        Ledger::decode(&changed.into()).unwrap_err();
        Ledger::decode(&bytes.slice(..at)).unwrap_err();
    }
}
