//! The command `frazil audit`: content with what is sound, and every planted fault is found by name.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use iceberg::spec::{PrimitiveType, Type};
use iceberg::transaction::{AddColumn, ApplyTransactionAction as _, Transaction};
use serde_json::{Value, json};
use tests::command::{Place, checked, frazil};
use tests::writer::{
    append, current_files, equality_deletes, expire, local, overwrite, path_of, position_deletes, read_rows,
    write_rows,
};
use tests::{Bench, Object, definition, files, gzip, lines, plain_table};

const TABLE: &str = "streaming_analytics.events";

/// The audit of a warehouse that is sound.
fn clean(warehouse: &Path) -> Value {
    let (report, is_clean) = checked("audit", warehouse, &[]);
    assert!(is_clean && report["findings"] == json!([]), "{report}");
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(count("objects"), count("objects_committed"), "{report}");
    let accounted = count("rows_in_tables") + count("rows_quarantined") + count("rows_redriven");
    assert_eq!(count("rows_in_objects"), accounted, "{report}");
    report
}

/// The findings of an audit: details by name, by kind. There must be some.
type Findings = BTreeMap<String, BTreeMap<String, String>>;

fn findings(warehouse: &Path) -> Findings {
    let (report, is_clean) = checked("audit", warehouse, &[]);
    assert!(!is_clean, "{report}");
    let mut found = Findings::new();
    for finding in report["findings"].as_array().unwrap() {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        found.entry(text("kind")).or_default().insert(text("name"), text("detail"));
    }
    assert!(!found.is_empty());
    found
}

fn kinds(found: &Findings) -> Vec<&str> {
    found.keys().map(String::as_str).collect()
}

fn names(found: &Findings, kind: &str) -> Vec<String> {
    found.get(kind).into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// The only detail of a kind.
fn detail<'a>(found: &'a Findings, kind: &str, name: &str) -> &'a str {
    &found[kind][name]
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// A warehouse of two objects in two snapshots, each with two rejected records.
struct Lot {
    place: Place,
    /// In the order of their delivery.
    objects: [PathBuf; 2],
}

impl Lot {
    const ROWS: u64 = 100;

    fn new() -> Self {
        let place = Place::new();
        let mut known = BTreeSet::new();
        let mut deliver = |name: &str, first: u64| {
            let good: String = (first..first + Self::ROWS).map(|n| format!("{{\"n\":{n}}}\n")).collect();
            let input = format!("{good}{{\"n\":1,\"n\":1}}\n{{\"n\":2,\"n\":{first}}}\n");
            place.replay(&[place.write(name, input)]);
            let objects = files(&place.warehouse().join("raw"));
            let new = objects.into_iter().find(|object| known.insert(object.clone()));
            new.unwrap()
        };
        let objects = [deliver("one.json", 0), deliver("two.json", 1000)];
        clean(&place.warehouse());
        Self { place, objects }
    }

    fn warehouse(&self) -> PathBuf {
        self.place.warehouse()
    }

    fn findings(&self) -> Findings {
        findings(&self.warehouse())
    }

    fn uri(&self, at: usize) -> String {
        uri(&self.objects[at])
    }

    /// The quarantine file of an object.
    fn quarantine(&self, at: usize) -> PathBuf {
        let key = self.objects[at].file_name().unwrap().to_str().unwrap();
        let all = files(&self.warehouse().join("errors/quarantine"));
        all.into_iter().find(|path| path.display().to_string().contains(key)).unwrap()
    }

    /// The data file of an object, and its sequence number.
    async fn data_file(&self, at: usize) -> (iceberg::spec::DataFile, i64) {
        let found = current_files(&self.place.table(TABLE).await).await;
        let is_of_object = |file: &iceberg::spec::DataFile| {
            let rows = read_rows(file);
            text(&rows, "file_name") == self.uri(at)
        };
        found.into_iter().find(|(file, _)| is_of_object(file)).unwrap()
    }
}

/// The first value of a column.
fn text(rows: &RecordBatch, column: &str) -> String {
    let column = rows.column_by_name(column).unwrap();
    arrow_cast::display::array_value_to_string(column, 0).unwrap()
}

/// Every file of a warehouse but what SQLite keeps beside the catalog for its own.
fn contents(warehouse: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let found = files(warehouse).into_iter().filter(|path| !path.ends_with("catalog.db-shm"));
    found.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn the_sample_is_clean_once_and_twice_and_after_its_snapshots_have_expired() {
    let place = Place::new();
    let no_arguments: [&str; 0] = [];
    let summary = place.replay(&no_arguments);
    let before = contents(&place.warehouse());
    let report = clean(&place.warehouse());
    assert!(contents(&place.warehouse()) == before, "an audit changes nothing");
    for (counted, summarized) in [
        ("objects", "objects"),
        ("rows_in_objects", "ok"),
        ("rows_in_tables", "rows"),
        ("rows_quarantined", "rows_quarantined"),
        ("data_files_checked", "data_files"),
        ("processing_failed_records", "failed"),
    ] {
        assert_eq!(report[counted], summary[summarized], "{counted}");
    }
    assert_eq!((&report["snapshots"], &report["processing_failed_objects"]), (&json!(1), &json!(1)));

    place.replay(&no_arguments);
    assert_eq!(clean(&place.warehouse()), report);

    // Two more tables, one of which has the same object as the other.
    let input = place.write("more.json", "{\"n\":1}\n{\"n\":2,\"n\":1}\n{\"n\":3}\nnope\n");
    place.replay(&[&input]);
    place.replay(&[&input, Path::new("--table"), Path::new("web.clicks")]);
    place.replay(&[place.write("last.json", "{\"n\":4}")]);
    let report = clean(&place.warehouse());
    let tables: Vec<_> = report["tables"].as_array().unwrap().iter().map(|table| &table["table"]).collect();
    assert_eq!(tables, ["streaming_analytics.events", "streaming_analytics.user_events", "web.clicks"]);
    assert_eq!((&report["objects"], &report["tables"][0]["objects"]), (&json!(4), &json!(2)));

    let lake = place.lake().await;
    for name in ["streaming_analytics.events", "streaming_analytics.user_events"] {
        expire(&lake, &place.table(name).await).await;
    }
    let expired = clean(&place.warehouse());
    assert_eq!(expired["snapshots"].as_u64().unwrap() + 1, report["snapshots"].as_u64().unwrap());
    assert_eq!(expired["rows_in_tables"], report["rows_in_tables"]);
}

/// Whatever an append takes for a record, the audit does too.
#[tokio::test]
async fn bad_objects_of_all_kinds_are_accounted_for() {
    let bench = Bench::new(Some(plain_table())).await;
    let whole = gzip(lines(0..2000));
    let too_large = format!("{{\"n\":1}}\n{{\"text\":\"{}\"}}\n{{\"n\":2}}\n", "x".repeat(17 << 20));
    let contents: [(&str, Vec<u8>); 12] = [
        ("lines", lines(3000..3010).into_bytes()),
        ("empty", Vec::new()),
        ("blank.gz", gzip(" \n\n \n")),
        ("concatenated", lines(3010..3020).replace('\n', "").into_bytes()),
        ("cut.gz", whole[..whole.len() / 2].to_vec()),
        ("junk behind.gz", [gzip(lines(3020..3030)), b"junk".to_vec()].concat()),
        ("cut at once.gz", whole[..12].to_vec()),
        ("cut.json", b"{\"n\":3040}\n{\"n\":30".to_vec()),
        (
            "mixed",
            b"{\"n\":3050}\nnope\n{\"n\":\"x\"}}\n\xFF\n[1]\n{\"n\":3051,\"other\":1}\n{\"n\":\n".to_vec(),
        ),
        ("foreign", b"PAR1....".to_vec()),
        ("nothing fits", b"1\n2\n\"x\"\n".to_vec()),
        ("too large", too_large.into_bytes()),
    ];
    let objects: Vec<Object> = contents.iter().map(|(key, content)| bench.put(key, content)).collect();
    assert!(bench.deliver(&objects).await.failed.is_empty());
    let report = clean(bench.folder.path());
    assert_eq!(report["objects"], json!(objects.len()));
    assert_eq!(report["rows_in_tables"], json!(bench.numbers().await.len()));
    assert_eq!(report["rows_quarantined"], json!(bench.rejections().len()));
    assert!(bench.rejections().len() > 12);

    // Without their tokens the objects are still known by their rows and rejections.
    let more = bench.put("more", lines(4000..4001));
    bench.deliver(&[more]).await;
    expire(bench.appender.lake(), &bench.table().await).await;
    assert_eq!(clean(bench.folder.path())["snapshots"], 1);
}

#[tokio::test]
async fn what_was_rejected_before_there_was_a_table_is_accounted_for() {
    let bench = Bench::new(None).await;
    bench.deliver(&[bench.put("nothing", "nope\nnor this\n")]).await;
    let report = clean(bench.folder.path());
    assert_eq!((&report["objects"], &report["rows_quarantined"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn a_table_without_names_of_objects_is_judged_by_its_sum() {
    let bench = Bench::new(Some(definition(&[("n", "long"), ("record_id", "long")], &[]))).await;
    let content = "{\"n\":1,\"record_id\":1}\n{\"n\":2,\"record_id\":2}\n{\"n\":3}\n{\"n\":4}\nnope\n";
    bench.deliver(&[bench.put("one", content), bench.put("two", "{\"n\":5}")]).await;
    let report = clean(bench.folder.path());
    assert_eq!((&report["rows_in_tables"], &report["rows_in_objects"]), (&json!(5), &json!(6)));

    let (lake, table) = (bench.appender.lake(), bench.table().await);
    let (file, _) = current_files(&table).await.remove(0);
    let copy = write_rows(&file, "copy.parquet", &read_rows(&file));
    let token = table.metadata().current_snapshot().unwrap().summary().additional_properties.clone();
    let tokens = HashMap::from([("frazil.objects".to_owned(), token["frazil.objects"].clone())]);
    append(lake, &table, vec![copy], tokens).await;
    let found = findings(bench.folder.path());
    assert_eq!(kinds(&found), ["record_id_twice", "rows_surplus", "token_twice"]);
    assert_eq!(names(&found, "record_id_twice"), ["1", "2"], "not the rows without an id");
    assert!(detail(&found, "record_id_twice", "1").contains("copy.parquet"), "{found:?}");
    assert_eq!(names(&found, "rows_surplus"), ["test.events"]);

    overwrite(lake, &bench.table().await, vec![]).await;
    let found = findings(bench.folder.path());
    assert_eq!(names(&found, "rows_missing"), ["test.events"]);

    fs::remove_file(bench.path("raw", "two")).unwrap();
    let found = findings(bench.folder.path());
    assert!(names(&found, "missing_object")[0].starts_with("token "), "no row and no rejection names it");
}

#[tokio::test]
async fn objects_of_other_folders_and_what_was_put_back() {
    let bench = Bench::new(Some(plain_table())).await;
    let put = |bucket: &str, key: &str, content: &str| {
        let path = bench.path(bucket, key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        Object { bucket: bucket.into(), key: key.into(), etag: key.into() }
    };
    put("errors", "processing-failed/a", "{}\n{}\n");
    // No lines of Firehose: each is a rejection.
    let known = put("errors", "processing-failed/b", "{\"n\":1}\n{\"n\":2}\n{\"n\":\"x\"}\n");
    let objects = [known, bench.put("c", "{\"n\":3}\nnope\n"), put("elsewhere", "d", "{\"n\":4}")];
    bench.deliver(&objects).await;
    let report = clean(bench.folder.path());
    assert_eq!((&report["objects"], &report["rows_in_objects"]), (&json!(3), &json!(6)));
    assert_eq!(report["processing_failed_objects"], 1, "one is in the table");
    assert_eq!(report["processing_failed_records"], 2);

    // As a rejected record is put back: its file moves aside, and its rows are those of another object.
    let quarantine = files(&bench.folder.path().join("errors/quarantine"));
    let rejected = quarantine.iter().find(|path| path.to_str().unwrap().contains("/raw/c.")).unwrap();
    let redriven = PathBuf::from(rejected.to_str().unwrap().replace("/quarantine/", "/redriven/"));
    fs::create_dir_all(redriven.parent().unwrap()).unwrap();
    fs::rename(rejected, redriven).unwrap();
    bench.deliver(&[bench.put("redrive/c", "{\"n\":5}")]).await;
    let report = clean(bench.folder.path());
    assert_eq!((&report["rows_redriven"], &report["rows_quarantined"]), (&json!(1), &json!(3)));

    fs::write(bench.path("raw", "half.123.part"), "x").unwrap();
    assert_eq!(clean(bench.folder.path())["unfinished_files"], 1);
    fs::remove_file(bench.path("errors", "processing-failed/b")).unwrap();
    assert_eq!(
        names(&findings(bench.folder.path()), "missing_object"),
        [uri(&bench.path("errors", "processing-failed/b"))]
    );
}

#[tokio::test]
async fn rows_of_other_writers_and_deletes_are_understood() {
    let lot = Lot::new();
    let lake = lot.place.lake().await;
    let (file, _) = lot.data_file(0).await;
    // Rows that name another origin, or none.
    let rows = read_rows(&file).slice(0, 2);
    let origins: ArrayRef = Arc::new(StringArray::from(vec![Some("s3://bucket/key"), None]));
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
        let is = |name: &str| field.name() == name;
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["other 1", "other 2"]));
        if is("file_name") {
            origins.clone()
        } else if is("record_id") {
            ids
        } else {
            column.clone()
        }
    });
    let columns: Vec<ArrayRef> = columns.collect();
    // The table may require these columns, but nobody asks its files.
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(arrow_schema::Schema::new(fields.collect::<Vec<_>>()));
    let others = RecordBatch::try_new(schema, columns).unwrap();
    let others = write_rows(&file, "others.parquet", &others);
    append(&lake, &lot.place.table(TABLE).await, vec![others], HashMap::new()).await;
    let report = clean(&lot.warehouse());
    assert_eq!(report["rows_of_other_origin"], 2);
    assert_eq!(report["rows_in_tables"], 2 * Lot::ROWS);

    // Rows that delete files take away are gone; those of files that are younger than the deletes are not.
    let table = lot.place.table(TABLE).await;
    let files = current_files(&table).await.into_iter().map(|(file, number)| (file, Some(number)));
    let (first, second) = (lot.data_file(0).await.0, lot.data_file(1).await.0);
    let n = table.metadata().current_schema().field_id_by_name("n").unwrap();
    let by_value = |name: &str, row| equality_deletes(&first, name, &read_rows(&first).slice(row, 1), "n", n);
    let deletes = [
        (position_deletes(&second, "positions.parquet", &[0, 7]), None),
        (position_deletes(&second, "older.parquet", &[1, 2, 3]), Some(1)),
        (by_value("values.parquet", 5), None),
        (by_value("older-values.parquet", 6), Some(1)),
    ];
    overwrite(&lake, &table, files.chain(deletes).collect()).await;
    let found = lot.findings();
    assert_eq!(kinds(&found), ["rows_deleted"], "every row was there once");
    assert_eq!(names(&found, "rows_deleted").len(), 2);
    for (at, rows) in [(0, 1), (1, 2)] {
        let expected =
            format!(": {rows} of its 102 records were in the table and are not any more; snapshot ");
        assert!(detail(&found, "rows_deleted", &lot.uri(at)).contains(&expected), "{found:?}");
    }
}

/// A table without `file_name` whose snapshots have expired: to deliver the object again would bring every row twice.
#[tokio::test]
async fn what_cannot_be_told_is_not_said_to_be_pending() {
    let bench = Bench::new(Some(definition(&[("n", "long"), ("record_id", "long")], &[]))).await;
    bench.deliver(&[bench.put("one", "{\"n\":1}\n{\"n\":2}\n")]).await;
    bench.deliver(&[bench.put("two", "{\"n\":3}")]).await;
    expire(bench.appender.lake(), &bench.table().await).await;
    let found = findings(bench.folder.path());
    assert_eq!(kinds(&found), ["cannot_tell"]);
    let one = uri(&bench.path("raw", "one"));
    assert!(detail(&found, "cannot_tell", &one).contains("Do not deliver it again"), "{found:?}");
}

/// A column `file_name` that came later: the rows from before it have none, and are all there.
#[tokio::test]
async fn a_column_file_name_that_came_later_makes_no_rows_missing() {
    let bench = Bench::new(Some(definition(&[("n", "long")], &[]))).await;
    bench.deliver(&[bench.put("one", "{\"n\":1}\n{\"n\":2}\nnope\n")]).await;
    let table = bench.table().await;
    let transaction = Transaction::new(&table);
    let column = AddColumn::optional("file_name", Type::Primitive(PrimitiveType::String));
    let action = transaction.update_schema().add_column(column);
    action.apply(transaction).unwrap().commit(bench.appender.lake().catalog()).await.unwrap();
    bench.deliver(&[bench.put("two", "{\"n\":3}")]).await;
    let report = clean(bench.folder.path());
    assert_eq!((&report["rows_in_tables"], &report["rows_of_other_origin"]), (&json!(3), &json!(0)));
}

#[tokio::test]
async fn a_data_file_that_is_gone() {
    let lot = Lot::new();
    let (file, _) = lot.data_file(0).await;
    fs::remove_file(path_of(&file)).unwrap();
    let found = lot.findings();
    assert_eq!(kinds(&found), ["missing_data_file", "rows_missing"]);
    assert_eq!(names(&found, "missing_data_file"), [file.file_path()]);
    assert_eq!(names(&found, "rows_missing"), [lot.uri(0)], "the other object is whole");
    assert!(detail(&found, "missing_data_file", file.file_path()).contains("of the current snapshot"));

    // One that only an older snapshot needs.
    let lot = Lot::new();
    let (file, _) = lot.data_file(0).await;
    let mut files = current_files(&lot.place.table(TABLE).await).await;
    files.retain(|(other, _)| other != &file);
    let rows = write_rows(&file, "compacted.parquet", &read_rows(&file));
    let files = files.into_iter().map(|(file, number)| (file, Some(number))).chain([(rows, None)]);
    overwrite(&lot.place.lake().await, &lot.place.table(TABLE).await, files.collect()).await;
    assert_eq!(clean(&lot.warehouse())["data_files_checked"], 3);
    let whole = fs::read(path_of(&file)).unwrap();
    let cut = [&whole[..whole.len() - 40], &[0xFF; 40]].concat();
    fs::write(path_of(&file), cut).unwrap();
    let found = lot.findings();
    assert_eq!(kinds(&found), ["damaged_data_file"]);
    assert!(detail(&found, "damaged_data_file", file.file_path()).contains("footer"), "{found:?}");
    fs::remove_file(path_of(&file)).unwrap();
    let found = lot.findings();
    assert_eq!(
        (kinds(&found), names(&found, "missing_data_file")),
        (vec!["missing_data_file"], vec![file.file_path().to_owned()])
    );
}

#[tokio::test]
async fn rows_that_were_appended_twice() {
    let lot = Lot::new();
    let lake = lot.place.lake().await;
    let (file, _) = lot.data_file(0).await;
    let rows = read_rows(&file);
    let one = write_rows(&file, "one-row.parquet", &rows.slice(5, 1));
    append(&lake, &lot.place.table(TABLE).await, vec![one], HashMap::new()).await;
    let found = lot.findings();
    assert_eq!(kinds(&found), ["record_id_twice", "rows_surplus"]);
    let id = text(&rows.slice(5, 1), "record_id");
    assert_eq!(
        (names(&found, "record_id_twice"), names(&found, "rows_surplus")),
        (vec![id.clone()], vec![lot.uri(0)])
    );
    let twice = detail(&found, "record_id_twice", &id);
    assert!(twice.contains(&lot.uri(0)) && twice.contains("2 rows"), "{twice}");

    // All rows of an object, by a commit with its token.
    let table = lot.place.table(TABLE).await;
    let first = table.metadata().snapshots().min_by_key(|snapshot| snapshot.sequence_number()).unwrap();
    let token = first.summary().additional_properties["frazil.objects"].clone();
    let tokens = HashMap::from([("frazil.objects".to_owned(), token)]);
    let all = write_rows(&file, "all-rows.parquet", &rows);
    append(&lake, &table, vec![all], tokens).await;
    let (report, _) = checked("audit", &lot.warehouse(), &[]);
    assert_eq!(report["record_ids_twice"], Lot::ROWS);
    let found = lot.findings();
    assert_eq!(kinds(&found), ["record_id_twice", "rows_surplus", "token_twice"]);
    assert_eq!(names(&found, "record_id_twice").len() as u64, Lot::ROWS);
    assert!(detail(&found, "record_id_twice", &id).contains("3 rows"));
    assert_eq!(names(&found, "token_twice"), [lot.uri(0)]);

    // The page names as many as can be read, and says how many more there are.
    let mut for_people = frazil();
    let output = for_people.args(["audit", "--warehouse"]).arg(lot.warehouse()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
    assert!(page.contains("≠") && page.contains(&lot.uri(0)) && page.contains("102 findings"), "{page}");
    assert!(!page.contains("more; --json has all"), "exactly a hundred ids are shown: {page}");
}

#[tokio::test]
async fn objects_that_are_gone_or_never_came() {
    let lot = Lot::new();
    fs::remove_file(&lot.objects[1]).unwrap();
    let never = lot.objects[1].with_file_name("never delivered.gz");
    fs::write(&never, gzip("{\"n\":1}\n{\"n\":2}\n")).unwrap();
    let found = lot.findings();
    assert_eq!(kinds(&found), ["missing_object", "pending_object"]);
    assert_eq!(names(&found, "missing_object"), [lot.uri(1)]);
    assert_eq!(names(&found, "pending_object"), [uri(&never)]);
    assert!(detail(&found, "pending_object", &uri(&never)).contains("its 2 records are in no table"));
    let (report, _) = checked("audit", &lot.warehouse(), &[]);
    let counts =
        ["objects", "objects_committed", "objects_pending", "rows_pending"].map(|name| report[name].as_u64());
    assert_eq!(counts, [2, 1, 1, 2].map(Some));

    // Without tokens the rows still tell.
    expire(&lot.place.lake().await, &lot.place.table(TABLE).await).await;
    assert_eq!(names(&lot.findings(), "missing_object"), [lot.uri(1)]);
}

/// An append that was killed between the quarantine and the commit.
#[tokio::test]
async fn an_object_that_was_begun_is_pending() {
    let lot = Lot::new();
    let (other, _) = lot.data_file(1).await;
    let number = Some(1);
    overwrite(&lot.place.lake().await, &lot.place.table(TABLE).await, vec![(other, number)]).await;
    expire(&lot.place.lake().await, &lot.place.table(TABLE).await).await;
    let found = lot.findings();
    assert_eq!((kinds(&found), names(&found, "pending_object")), (vec!["pending_object"], vec![lot.uri(0)]));
    assert!(detail(&found, "pending_object", &lot.uri(0)).contains("never committed"), "{found:?}");
}

#[tokio::test]
async fn quarantine_files_that_were_cut() {
    let lot = Lot::new();
    let file = lot.quarantine(0);
    let whole = fs::read(&file).unwrap();
    let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let cut = |at: usize| {
        fs::write(&file, &whole[..at]).unwrap();
        lot.findings()
    };
    // In the middle of the first line, and of the last; and before the last line's end.
    for at in [20, first_line + 20, whole.len() - 1] {
        let found = cut(at);
        assert_eq!(kinds(&found), ["damaged_quarantine", "rows_missing"], "at {at}");
        assert_eq!(names(&found, "damaged_quarantine"), [uri(&file)]);
        let line = if at < first_line {
            "line 1 is damaged: it is cut off"
        } else {
            "line 2 is damaged: it is cut off"
        };
        assert!(detail(&found, "damaged_quarantine", &uri(&file)).contains(line), "{found:?}");
    }
    // At the end of a line only the sum tells.
    let found = cut(first_line);
    assert_eq!((kinds(&found), names(&found, "rows_missing")), (vec!["rows_missing"], vec![lot.uri(0)]));
    let missing = detail(&found, "rows_missing", &lot.uri(0));
    assert!(
        missing.contains("102 records, but 100 rows + 1 quarantined") && missing.contains(&uri(&file)),
        "{missing}"
    );
    // To nothing, and away.
    let found = cut(0);
    assert_eq!(names(&found, "damaged_quarantine"), [uri(&file)]);
    fs::remove_file(&file).unwrap();
    assert_eq!(names(&lot.findings(), "rows_missing"), [lot.uri(0)]);
    // Lines that are whole, but say nothing.
    for (line, expected) in [
        ("nope\n", "expected"),
        ("{\"errorCode\":\"x\",\"object\":\"file:///x\"}\n", "neither rawData nor rawObject"),
        ("{\"errorCode\":\"x\",\"object\":\"file:///x\",\"rawData\":\"%\"}\n", "not base64"),
        ("{\"object\":\"file:///x\",\"rawData\":\"\"}\n", "missing field `errorCode`"),
    ] {
        fs::write(&file, [line.as_bytes(), &whole].concat()).unwrap();
        let found = lot.findings();
        assert_eq!(kinds(&found), ["damaged_quarantine"]);
        assert!(detail(&found, "damaged_quarantine", &uri(&file)).contains(expected), "{found:?}");
    }
    fs::write(&file, &whole).unwrap();
    clean(&lot.warehouse());
}

#[tokio::test]
async fn copies_of_objects_that_were_cut() {
    let bench = Bench::new(Some(plain_table())).await;
    let whole = gzip(lines(0..500));
    bench.deliver(&[bench.put("cut.gz", &whole[..whole.len() / 2])]).await;
    clean(bench.folder.path());
    let (copy, file) = (files(&bench.path("errors", "objects")), files(&bench.path("errors", "quarantine")));
    fs::write(&copy[0], "x").unwrap();
    let found = findings(bench.folder.path());
    assert_eq!(
        (kinds(&found), names(&found, "damaged_quarantine")),
        (vec!["damaged_quarantine"], vec![uri(&file[0])])
    );
    assert!(detail(&found, "damaged_quarantine", &uri(&file[0])).contains("of 1 bytes, but the object has"));
    fs::remove_file(&copy[0]).unwrap();
    assert!(
        detail(&findings(bench.folder.path()), "damaged_quarantine", &uri(&file[0]))
            .contains("which is gone")
    );
}

#[tokio::test]
async fn data_files_with_other_bytes() {
    let lot = Lot::new();
    let (file, _) = lot.data_file(1).await;
    let (path, name) = (path_of(&file), file.file_path());
    let whole = fs::read(&path).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let found = lot.findings();
        assert_eq!(names(&found, "damaged_data_file"), [name]);
        found
    };
    let length = whole.len();
    // The footer: its bytes, its length, its mark.
    for at in [length - 40, length - 8, length - 2] {
        let found = with(&|bytes| bytes[at..length.min(at + 30)].iter_mut().for_each(|byte| *byte ^= 0xFF));
        assert_eq!(kinds(&found), ["damaged_data_file", "rows_missing"]);
        assert_eq!(names(&found, "rows_missing"), [lot.uri(1)]);
    }
    // The pages, behind a footer that is whole.
    let found = with(&|bytes| bytes[4..length / 2].fill(0xAA));
    assert!(detail(&found, "damaged_data_file", name).contains("cannot be read"), "{found:?}");
    // The size.
    let found = with(&|bytes| bytes.truncate(length / 2));
    assert!(detail(&found, "damaged_data_file", name).contains("bytes where its manifest says"), "{found:?}");
    // Another file of fewer rows.
    let fewer = write_rows(&file, "fewer.parquet", &read_rows_of(&file, &whole).slice(1, 99));
    fs::rename(path_of(&fewer), &path).unwrap();
    let found = lot.findings();
    assert_eq!(kinds(&found), ["damaged_data_file", "rows_missing"]);
    assert!(
        detail(&found, "rows_missing", &lot.uri(1)).contains("99 rows"),
        "what is there counts: {found:?}"
    );
}

/// The rows of a file whose bytes were `whole`.
fn read_rows_of(file: &iceberg::spec::DataFile, whole: &[u8]) -> RecordBatch {
    fs::write(path_of(file), whole).unwrap();
    read_rows(file)
}

#[tokio::test]
async fn metadata_that_is_gone_or_damaged() {
    let lot = Lot::new();
    let table = lot.place.table(TABLE).await;
    let mut snapshots: Vec<_> = table.metadata().snapshots().cloned().collect();
    snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
    let list = table.manifest_list_reader(&snapshots[0]).load().await.unwrap();
    let (first_manifest, first_list) =
        (list.entries()[0].manifest_path.clone(), snapshots[0].manifest_list().to_owned());
    let last_list = snapshots[1].manifest_list().to_owned();
    let without = |uri: &str| {
        let whole = fs::read(local(uri)).unwrap();
        fs::remove_file(local(uri)).unwrap();
        let gone = lot.findings();
        assert_eq!(names(&gone, "unreadable_metadata"), [uri]);
        assert!(detail(&gone, "unreadable_metadata", uri).contains("is gone"));
        for damage in [&whole[..whole.len() / 2], &[0xFF; 3000][..]] {
            fs::write(local(uri), damage).unwrap();
            let found = lot.findings();
            assert_eq!(names(&found, "unreadable_metadata"), [uri]);
            assert_eq!(kinds(&found), kinds(&gone));
        }
        fs::write(local(uri), whole).unwrap();
        clean(&lot.warehouse());
        gone
    };
    // The rest of the audit goes on: the other object is known to be whole.
    let found = without(&first_manifest);
    assert_eq!(kinds(&found), ["rows_missing", "unreadable_metadata"]);
    assert_eq!(names(&found, "rows_missing"), [lot.uri(0)]);
    // An old snapshot cannot be read any more; nothing that is current is missing.
    assert_eq!(kinds(&without(&first_list)), ["unreadable_metadata"]);
    let found = without(&last_list);
    assert_eq!(kinds(&found), ["rows_missing", "unreadable_metadata"]);
    assert_eq!(names(&found, "rows_missing").len(), 2);
    // Nothing is known of the table; other tables are.
    let input = lot.place.write("other.json", "{\"n\":1}");
    lot.place.replay(&[&input, Path::new("--table"), Path::new("web.clicks")]);
    let found = without(table.metadata_location().unwrap());
    assert_eq!(kinds(&found), ["pending_object", "unreadable_metadata"]);
    assert_eq!(names(&found, "pending_object").len(), 2);
    assert!(detail(&found, "pending_object", &lot.uri(0)).contains("streaming_analytics.events cannot be"));
}

/// By an engine that keeps all the rules: only the count of rows tells.
#[tokio::test]
async fn a_row_that_was_removed() {
    let lot = Lot::new();
    let (file, _) = lot.data_file(1).await;
    let mut files = current_files(&lot.place.table(TABLE).await).await;
    files.retain(|(other, _)| other != &file);
    let fewer = write_rows(&file, "fewer.parquet", &read_rows(&file).slice(0, 99));
    let files = files.into_iter().map(|(file, number)| (file, Some(number))).chain([(fewer, None)]);
    overwrite(&lot.place.lake().await, &lot.place.table(TABLE).await, files.collect()).await;
    let found = lot.findings();
    assert_eq!((kinds(&found), names(&found, "rows_deleted")), (vec!["rows_deleted"], vec![lot.uri(1)]));
    assert!(detail(&found, "rows_deleted", &lot.uri(1)).contains(": 1 of its 102 records"), "{found:?}");
}

#[tokio::test]
async fn a_catalog_that_is_gone_or_damaged() {
    let lot = Lot::new();
    let catalog = lot.warehouse().join("catalog.db");
    // The last connection that is closed in order writes the log back.
    let all = || ["catalog.db", "catalog.db-wal", "catalog.db-shm"].map(|name| lot.warehouse().join(name));
    let kept: Vec<Option<Vec<u8>>> = all().iter().map(|path| fs::read(path).ok()).collect();
    all().iter().for_each(|path| drop(fs::remove_file(path)));
    let mut command = frazil();
    let output = command.args(["audit", "--warehouse"]).arg(lot.warehouse()).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(complaint.starts_with("frazil: ") && complaint.contains("has no catalog.db"), "{complaint}");
    assert!(!catalog.exists(), "none is made");

    fs::write(&catalog, [0x55; 8192]).unwrap();
    let found = lot.findings();
    assert_eq!(names(&found, "damaged_catalog"), [uri(&catalog)]);
    assert!(detail(&found, "pending_object", &lot.uri(0)).contains("the catalog cannot be"), "{found:?}");

    for (path, bytes) in all().iter().zip(kept) {
        bytes.map_or(Ok(()), |bytes| fs::write(path, bytes)).unwrap();
    }
    clean(&lot.warehouse());
    // By another path to the same folder.
    let link = lot.place.folder.path().join("link");
    std::os::unix::fs::symlink(lot.warehouse(), &link).unwrap();
    let report = clean(&link);
    assert_eq!(
        (&report["rows_in_tables"], &report["rows_of_other_origin"]),
        (&json!(2 * Lot::ROWS), &json!(0))
    );
}

/// What lies outside of a range is neither counted nor missed.
#[test]
fn a_part_of_the_objects_and_of_time() {
    let place = Place::new();
    place.replay(&[place.write("one.json", "{\"n\":1}\n{\"n\":2}\nnope\n")]);
    for name in ["2020/01/lost.json", "2020/02/lost.json"] {
        let path = place.warehouse().join("raw").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "{\"n\":3}\n").unwrap();
    }
    let audited = |arguments: &[&str]| {
        let (report, _) = checked("audit", &place.warehouse(), arguments);
        let findings: Vec<(String, String)> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                let text = |key: &str| finding[key].as_str().unwrap().to_owned();
                (text("kind"), text("name").rsplit_once("raw/").unwrap().1.to_owned())
            })
            .collect();
        (report["objects"].as_u64().unwrap(), report["rows_in_tables"].as_u64().unwrap(), findings)
    };
    let pending = |name: &str| ("pending_object".to_owned(), name.to_owned());
    let (january, february) = (pending("2020/01/lost.json"), pending("2020/02/lost.json"));
    let (objects, rows, findings) = audited(&[]);
    assert_eq!((rows, findings), (2, vec![january.clone(), february]));
    assert_eq!(audited(&["--prefix", "2020/01/"]), (1, 0, vec![january.clone()]));
    assert_eq!(audited(&["--prefix", "2020/01/lo"]), (1, 0, vec![january]));
    let (in_range, rows, findings) = audited(&["--prefix", "202", "--since", "2100-01-01"]);
    assert_eq!((in_range, rows, findings), (0, 0, vec![]));
    assert_eq!(audited(&["--since", "1h"]).0, objects);
}
