//! The Glue catalog against a server that keeps entries as Glue does, and fails as it is told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_glue::config::{BehaviorVersion, Credentials, Region};
use iceberg::io::FileIOBuilder;
use iceberg::spec::{NestedField, PrimitiveType, Schema};
use iceberg::transaction::{AddColumn, ApplyTransactionAction as _, Transaction};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::super::Lake;
use super::super::fake::{Reply, Request, Server, nobody};
use super::*;
use crate::commit::{Change, CommitError, Committed, Layout, Objects, commit};
use crate::definition::TableDefinition;
use crate::env::Env;
use crate::job::CommitMetrics;
use crate::storage::{S3Config, storage_factory};
use crate::token::{self, Seen, Token};

/// What befalls a request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Refuse(u16, &'static str, &'static str),
    /// It is done, and the answer lost.
    LoseAnswer,
    /// Another writer changes the entry first.
    Overtake,
}

/// Glue, as far as tables go.
#[derive(Default)]
struct Glue {
    databases: HashMap<String, Value>,
    tables: HashMap<String, Value>,
    /// By type, of the one table.
    optimizers: HashMap<String, Value>,
    /// By operation.
    faults: HashMap<&'static str, VecDeque<Fault>>,
}

impl Glue {
    fn answer(&mut self, request: &Request) -> Reply {
        let operation = request.header("x-amz-target").trim_start_matches("AWSGlue.").to_owned();
        let input = request.json();
        let fault = self.faults.get_mut(operation.as_str()).and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::Refuse(status, code, message)) => return Reply::Refused(status, code, message),
            Some(Fault::Overtake) => {
                let entry = self.tables.get_mut(input["TableInput"]["Name"].as_str().unwrap()).unwrap();
                entry["VersionId"] = next_version(entry);
            }
            Some(Fault::LoseAnswer) | None => {}
        }
        let reply = self.perform(&operation, &input);
        if matches!(fault, Some(Fault::LoseAnswer)) { Reply::HangUp } else { reply }
    }

    fn perform(&mut self, operation: &str, input: &Value) -> Reply {
        if !comments(&input["TableInput"]).all(is_taken) {
            return Reply::Refused(400, "InvalidInputException", "comment");
        }
        let missing = Reply::Refused(400, "EntityNotFoundException", "Entity Not Found");
        let there = Reply::Refused(400, "AlreadyExistsException", "it exists");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match operation {
            "GetDatabase" => match self.databases.get(&text(&input["Name"])) {
                Some(database) => Reply::Json(200, json!({"Database": database})),
                None => missing,
            },
            "CreateDatabase" => {
                let database = &input["DatabaseInput"];
                self.databases.insert(text(&database["Name"]), database.clone());
                Reply::Json(200, json!({}))
            }
            "GetTable" => match self.tables.get(&text(&input["Name"])) {
                Some(entry) => Reply::Json(200, json!({"Table": entry})),
                None => missing,
            },
            "GetTables" => Reply::Json(200, json!({"TableList": self.tables.values().collect::<Vec<_>>()})),
            "CreateTable" => {
                let mut entry = input["TableInput"].clone();
                let name = text(&entry["Name"]);
                if !self.databases.contains_key(&text(&input["DatabaseName"])) {
                    return missing;
                }
                if self.tables.contains_key(&name) {
                    return there;
                }
                entry["VersionId"] = json!("0");
                self.tables.insert(name, entry);
                Reply::Json(200, json!({}))
            }
            "UpdateTable" => {
                let mut entry = input["TableInput"].clone();
                let Some(current) = self.tables.get_mut(&text(&entry["Name"])) else { return missing };
                if input["VersionId"] != current["VersionId"] {
                    return Reply::Refused(400, "ConcurrentModificationException", "Update table failed");
                }
                assert_eq!(input["SkipArchive"], true, "a version of each commit would use up a quota");
                entry["VersionId"] = next_version(current);
                *current = entry;
                Reply::Json(200, json!({}))
            }
            "DeleteTable" => match self.tables.remove(&text(&input["Name"])) {
                Some(_) => Reply::Json(200, json!({})),
                None => missing,
            },
            "CreateTableOptimizer" => {
                if !self.tables.contains_key(&text(&input["TableName"])) {
                    return missing;
                }
                let kind = text(&input["Type"]);
                if self.optimizers.contains_key(&kind) {
                    return there;
                }
                self.optimizers.insert(kind, input.clone());
                Reply::Json(200, json!({}))
            }
            other => unreachable!("{other}"),
        }
    }
}

fn comments(entry: &Value) -> impl Iterator<Item = &str> {
    let columns = entry["StorageDescriptor"]["Columns"].as_array().into_iter().flatten();
    columns.filter_map(|column| column["Comment"].as_str())
}

/// Whether Glue takes the comment of a column (AWS Glue API, "Column").
fn is_taken(comment: &str) -> bool {
    comment.chars().count() <= 255 && !comment.contains(|char: char| char.is_control())
}

fn next_version(entry: &Value) -> Value {
    let version: u64 = entry["VersionId"].as_str().unwrap().parse().unwrap();
    json!((version + 1).to_string())
}

struct Bench {
    folder: TempDir,
    glue: Arc<Mutex<Glue>>,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let glue = Arc::new(Mutex::new(Glue::default()));
        let answering = glue.clone();
        let server = Server::start(move |request| answering.lock().unwrap().answer(request));
        Self { folder: tempfile::tempdir().unwrap(), glue, server }
    }

    fn warehouse(&self) -> String {
        format!("file://{}/warehouse", self.folder.path().display())
    }

    fn catalog(&self) -> GlueCatalog {
        catalog_at(&self.server.uri, Some(self.warehouse()))
    }

    fn lake(&self) -> Lake {
        let file_io = FileIOBuilder::new(storage_factory(&S3Config::default())).build();
        Lake {
            catalog: Arc::new(self.catalog()),
            file_io,
            name_bounds: Arc::default(),
            ledgers: Arc::default(),
            env: Env::default(),
        }
    }

    /// A process whose catalog attaches optimizers, and waits `time` for Glue to take them.
    fn optimizing(&self, time: Duration) -> Lake {
        let catalog = self.catalog();
        let optimizers = Some(Optimizers::new(OPTIMIZER_ROLE.to_owned()).within(time));
        Lake { catalog: Arc::new(GlueCatalog { optimizers, ..catalog }), ..self.lake() }
    }

    async fn with_table() -> (Self, Lake) {
        let bench = Self::new();
        let lake = bench.lake();
        lake.create(&ident(), definition()).await.unwrap();
        (bench, lake)
    }

    fn entry(&self) -> Value {
        self.glue.lock().unwrap().tables["t"].clone()
    }

    fn change_entry(&self, change: impl FnOnce(&mut Value)) {
        change(self.glue.lock().unwrap().tables.get_mut("t").unwrap());
    }

    fn fail(&self, operation: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.glue.lock().unwrap().faults.entry(operation).or_default().extend(faults);
    }

    fn count(&self, operation: &str) -> usize {
        let requests = self.server.requests();
        requests.iter().filter(|request| request.header("x-amz-target").ends_with(operation)).count()
    }
}

fn catalog_at(endpoint: &str, warehouse: Option<String>) -> GlueCatalog {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(Credentials::new("id", "s3cret", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(aws_config::retry::RetryConfig::standard().with_max_attempts(1))
        .endpoint_url(endpoint)
        .build();
    let file_io = FileIOBuilder::new(storage_factory(&S3Config::default())).build();
    GlueCatalog::new(Client::from_conf(config), None, warehouse, file_io)
}

const OPTIMIZER_ROLE: &str = "arn:aws-us-gov:iam::123456789012:role/optimizer";

fn ident() -> TableIdent {
    TableIdent::from_strs(["db", "t"]).unwrap()
}

fn namespace() -> NamespaceIdent {
    NamespaceIdent::new("db".to_owned())
}

fn definition() -> TableDefinition {
    let columns = [
        NestedField::required(1, "record_id", PrimitiveType::String.into()).with_doc("who"),
        NestedField::optional(2, "at", PrimitiveType::Timestamptz.into()),
    ];
    TableDefinition {
        name: "t".to_owned(),
        schema: Schema::builder().with_fields(columns.map(Into::into)).build().unwrap(),
        partition_spec: None,
        write_order: None,
        // Without retries in the library a conflict shows.
        properties: [("comment", "events"), ("commit.retry.num-retries", "0")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    }
}

fn object(name: &str) -> Token {
    Token::new("raw", name, "1")
}

/// Commits the token of the object `name` and nothing else.
async fn append(catalog: &dyn TableCatalog, name: &str) -> Result<Committed> {
    let table = catalog.load_table(&ident()).await.ok();
    let marks = Objects { tokens: &[object(name)], rejected: 0 };
    let layout = table.as_ref().map(Layout::of).unwrap_or_default();
    let change = Change {
        looked_at: table.as_ref().and_then(|table| table.metadata().current_snapshot_id()),
        ..Change::append(&[], &marks, layout, Uuid::from_u128(fastrand::u128(..)))
    };
    let deadline = (Instant::now() + Duration::from_secs(20)).into();
    let committed =
        commit(catalog, &Env::default(), &ident(), &change, deadline, &mut CommitMetrics::default()).await;
    committed.map_err(|error| match error {
        CommitError::Outrun(error) | CommitError::Failed(error) => error,
    })
}

/// How many snapshots of the table hold the object `name`.
async fn commits_of(catalog: &dyn Catalog, name: &str) -> usize {
    let table = catalog.load_table(&ident()).await.unwrap();
    let summaries = table.metadata().snapshots().map(|snapshot| &snapshot.summary().additional_properties);
    let listed = token::listed(&[object(name)]);
    summaries.filter(|summary| summary.get(token::SUMMARY_KEY) == Some(&listed)).count()
}

fn names(entry: &Value) -> Vec<&str> {
    let columns = entry["StorageDescriptor"]["Columns"].as_array().unwrap();
    columns.iter().map(|column| column["Name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_table_is_created_read_changed_and_dropped() {
    let (bench, lake) = Bench::with_table().await;
    let catalog = lake.catalog.as_ref();
    let table = lake.table(&ident()).await.unwrap().unwrap();
    assert_eq!(table.metadata().location(), format!("{}/db.db/t", bench.warehouse()));
    let entry = bench.entry();
    assert_eq!(entry["Parameters"]["table_type"], "ICEBERG");
    assert_eq!(entry["Parameters"]["metadata_location"], table.metadata_location().unwrap());
    assert_eq!((&entry["TableType"], &entry["Description"]), (&json!("EXTERNAL_TABLE"), &json!("events")));
    assert_eq!(entry["StorageDescriptor"]["Location"], table.metadata().location());
    assert_eq!(entry["StorageDescriptor"]["Columns"][1]["Type"], "timestamp");

    assert!(matches!(append(catalog, "a").await, Ok(Committed::Snapshot(..))));
    assert_eq!(commits_of(catalog, "a").await, 1);
    assert_eq!(catalog.list_tables(&namespace()).await.unwrap(), [ident()]);

    let location = lake.table(&ident()).await.unwrap().unwrap().metadata_location().unwrap().to_owned();
    catalog.drop_table(&ident()).await.unwrap();
    assert!(lake.table(&ident()).await.unwrap().is_none());
    assert_eq!(catalog.drop_table(&ident()).await.unwrap_err().kind(), ErrorKind::TableNotFound);
    catalog.register_table(&ident(), location.clone()).await.unwrap();
    assert_eq!(commits_of(catalog, "a").await, 1);
    let again = catalog.register_table(&ident(), location).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::TableAlreadyExists);
}

#[tokio::test]
async fn what_others_wrote_into_an_entry_stays() {
    let (bench, lake) = Bench::with_table().await;
    bench.change_entry(|entry| {
        entry["Owner"] = json!("analysts");
        entry["Description"] = json!("ours");
        entry["Retention"] = json!(7);
        entry["LastAccessTime"] = json!(1_700_000_000);
        entry["PartitionKeys"] = json!([{"Name": "day", "Type": "string"}]);
        entry["Parameters"]["classification"] = json!("pii");
        entry["Parameters"]["table_type"] = json!("iceberg");
        let descriptor = &mut entry["StorageDescriptor"];
        descriptor["InputFormat"] = json!("a.b.C");
        descriptor["SerdeInfo"] = json!({"Name": "serde", "Parameters": {"a": "b"}});
        descriptor["Parameters"] = json!({"of": "the descriptor"});
        descriptor["Columns"][1]["Comment"] = json!("when, said in Glue");
    });
    let before = bench.entry();
    append(lake.catalog.as_ref(), "a").await.unwrap();
    let mut after = bench.entry();

    let (previous, current) =
        (&before["Parameters"]["metadata_location"], &after["Parameters"]["metadata_location"]);
    assert_ne!(previous, current);
    assert_eq!(&after["Parameters"]["previous_metadata_location"], previous);
    assert_eq!(after["Parameters"]["table_type"], "ICEBERG");
    let own = after["Parameters"].as_object_mut().unwrap();
    own.remove("previous_metadata_location");
    own.insert("metadata_location".to_owned(), previous.clone());
    own.insert("table_type".to_owned(), json!("iceberg"));
    after["VersionId"] = before["VersionId"].clone();
    // The SDK writes out flags that were left out.
    let descriptor = after["StorageDescriptor"].as_object_mut().unwrap();
    for flag in ["Compressed", "NumberOfBuckets", "StoredAsSubDirectories"] {
        descriptor.remove(flag);
    }
    assert_eq!(after, before);
}

#[tokio::test]
async fn columns_follow_the_schema_and_are_there_once() {
    let (bench, lake) = Bench::with_table().await;
    let catalog = lake.catalog.as_ref();
    for name in ["b", "c"] {
        let table = catalog.load_table(&ident()).await.unwrap();
        let transaction = Transaction::new(&table);
        let column = AddColumn::optional(name, PrimitiveType::Long.into());
        let action = transaction.update_schema().add_column(column);
        action.apply(transaction).unwrap().commit(catalog).await.unwrap();
        append(catalog, name).await.unwrap();
    }
    assert_eq!(names(&bench.entry()), ["record_id", "at", "b", "c"]);
    let table = catalog.load_table(&ident()).await.unwrap();
    let transaction = Transaction::new(&table);
    let action = transaction.update_schema().delete_column("b");
    action.apply(transaction).unwrap().commit(catalog).await.unwrap();
    assert_eq!(names(&bench.entry()), ["record_id", "at", "c"]);
    assert_eq!(bench.entry()["StorageDescriptor"]["Columns"][0]["Comment"], "who");
}

#[tokio::test]
async fn a_comment_that_glue_refuses_is_cut_there_and_whole_in_the_metadata() {
    let bench = Bench::new();
    let lake = bench.lake();
    let long = format!("first line\nsecond line {}", "x".repeat(300));
    let column = NestedField::optional(1, "n", PrimitiveType::Long.into()).with_doc(&long);
    let schema = Schema::builder().with_fields([column.into()]).build().unwrap();
    lake.create(&ident(), TableDefinition { schema, ..definition() }).await.unwrap();
    append(lake.catalog.as_ref(), "a").await.unwrap();
    append(lake.catalog.as_ref(), "b").await.unwrap();
    let entry = bench.entry();
    let shown = comments(&entry).next().unwrap();
    assert_eq!(shown.chars().count(), 255);
    assert!(shown.starts_with("first line second line xxx"), "{shown}");
    let table = lake.table(&ident()).await.unwrap().unwrap();
    assert_eq!(table.metadata().current_schema().field_by_id(1).unwrap().doc.as_deref(), Some(long.as_str()));
}

#[tokio::test]
async fn whoever_is_overtaken_conflicts_and_comes_through() {
    let (bench, lake) = Bench::with_table().await;
    let table = lake.catalog().load_table(&ident()).await.unwrap();
    bench.fail("UpdateTable", [Fault::Overtake]);
    let transaction = Transaction::new(&table);
    let action = transaction.update_table_properties().set("a".to_owned(), "b".to_owned());
    let conflict = action.apply(transaction).unwrap().commit(lake.catalog()).await.unwrap_err();
    assert_eq!(conflict.kind(), ErrorKind::CatalogCommitConflicts, "{conflict}");
    assert!(conflict.message().contains("another writer was faster"), "{conflict}");

    bench.fail("UpdateTable", [Fault::Overtake, Fault::Overtake, Fault::Overtake]);
    append(lake.catalog.as_ref(), "a").await.unwrap();
    assert_eq!(commits_of(lake.catalog(), "a").await, 1);
    assert_eq!(bench.count("UpdateTable"), 1 + 3 + 1);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_there_once() {
    let (bench, lake) = Bench::with_table().await;
    bench.fail("UpdateTable", [Fault::LoseAnswer]);
    let committed = append(lake.catalog.as_ref(), "a").await;
    assert!(matches!(committed, Ok(Committed::Snapshot(..))), "{committed:?}");
    assert_eq!(commits_of(lake.catalog(), "a").await, 1);
    assert_eq!(bench.count("UpdateTable"), 1, "sent again it would conflict with itself");
    let table = lake.table(&ident()).await.unwrap().unwrap();
    let history =
        token::history(table.metadata(), table.metadata().current_snapshot_id(), &[object("a")], None);
    assert!(matches!(history.seen.values().next(), Some(Seen::This(_))));
}

/// What follows `base` with the property `a`.
fn changed(base: &Loaded) -> Next {
    let updates = HashMap::from([("a".to_owned(), "b".to_owned())]);
    let update = iceberg::TableUpdate::SetProperties { updates };
    let location = base.table.metadata_location().map(str::to_owned);
    let builder = base.table.metadata().clone().into_builder(location);
    let metadata = update.clone().apply(builder).unwrap().build().unwrap().metadata;
    Next { updates: vec![update], requirements: Vec::new(), metadata }
}

#[tokio::test]
async fn every_fault_of_a_swap_is_told_by_its_kind() {
    type Kind = fn(NotSwapped) -> Option<Error>;
    let conflict: Kind = |why| if let NotSwapped::Conflict(error) = why { Some(error) } else { None };
    let refused: Kind = |why| if let NotSwapped::Refused(error) = why { Some(error) } else { None };
    let unknown: Kind = |why| if let NotSwapped::Unknown(error) = why { Some(error) } else { None };
    let refuse = |status, code| Fault::Refuse(status, code, "as planned");
    for (fault, kind, is_made) in [
        (Fault::Overtake, conflict, false),
        (refuse(400, "ConcurrentModificationException"), conflict, false),
        (refuse(400, "AccessDeniedException"), refused, false),
        (refuse(400, "EntityNotFoundException"), refused, false),
        (refuse(400, "InvalidInputException"), refused, false),
        (refuse(400, "ResourceNumberLimitExceededException"), refused, false),
        (refuse(400, "GlueEncryptionException"), refused, false),
        (refuse(400, "ExpiredTokenException"), refused, false),
        (refuse(403, "InvalidSignatureException"), refused, false),
        // The status of the client's own fault says nothing: these may pass, or come after the deed.
        (refuse(400, "ThrottlingException"), unknown, false),
        (refuse(400, "OperationTimeoutException"), unknown, false),
        (refuse(400, "ResourceNotReadyException"), unknown, false),
        (refuse(500, "InternalServiceException"), unknown, false),
        (refuse(503, ""), unknown, false),
        (Fault::LoseAnswer, unknown, true),
    ] {
        let (bench, _) = Bench::with_table().await;
        let catalog = bench.catalog();
        let base = catalog.load(&ident()).await.unwrap();
        bench.fail("UpdateTable", [fault]);
        let why = catalog.swap(&base, &changed(&base)).await.unwrap_err();
        let said = format!("{fault:?}: {why:?}");
        let error = kind(why).unwrap_or_else(|| panic!("{said}"));
        assert!(error.message().contains("db.t"), "{error}");
        assert_eq!(bench.count("UpdateTable"), 1, "{said}");
        let table = catalog.load_table(&ident()).await.unwrap();
        assert_eq!(table.metadata().properties().contains_key("a"), is_made, "{said}");
    }
    let gone = catalog_at(&nobody(), None);
    let (bench, _) = Bench::with_table().await;
    let base = bench.catalog().load(&ident()).await.unwrap();
    let why = gone.swap(&base, &changed(&base)).await.unwrap_err();
    assert!(matches!(why, NotSwapped::Unknown(_)), "{why:?}");
}

#[tokio::test]
async fn a_swap_is_conditional_on_what_was_loaded() {
    let (bench, _) = Bench::with_table().await;
    let catalog = bench.catalog();
    let base = catalog.load(&ident()).await.unwrap();
    catalog.swap(&base, &changed(&base)).await.unwrap();
    assert_eq!(bench.entry()["VersionId"], "1");
    let late = bench.catalog().swap(&base, &changed(&base)).await.unwrap_err();
    assert!(matches!(&late, NotSwapped::Conflict(error) if error.retryable()), "{late:?}");
    assert_eq!(bench.count("GetTable"), 1, "a swap asks for nothing");
    // Overtaken by someone who changed nothing but the entry: what they wrote must not be lost.
    let base = catalog.load(&ident()).await.unwrap();
    bench.change_entry(|entry| {
        entry["Owner"] = json!("analysts");
        entry["VersionId"] = json!("2");
    });
    let late = catalog.swap(&base, &changed(&base)).await.unwrap_err();
    assert!(matches!(late, NotSwapped::Conflict(_)), "{late:?}");
    let base = catalog.load(&ident()).await.unwrap();
    catalog.swap(&base, &changed(&base)).await.unwrap();
    assert_eq!(bench.entry()["Owner"], "analysts");
}

#[tokio::test]
async fn a_table_whose_creation_was_not_heard_of_counts() {
    let bench = Bench::new();
    bench.fail("CreateTable", [Fault::LoseAnswer]);
    let lake = bench.lake();
    let table = lake.create(&ident(), definition()).await.unwrap();
    assert_eq!(bench.entry()["Parameters"]["metadata_location"], table.metadata_location().unwrap());
    let other = lake.create(&ident(), definition()).await.unwrap();
    assert_eq!(other.metadata_location(), table.metadata_location(), "the first one counts");
}

#[tokio::test]
async fn tables_lie_where_their_database_does() {
    let bench = Bench::new();
    let at = |location: &str| json!({"Name": "db", "LocationUri": location});
    let of_database = format!("{}/elsewhere/", bench.warehouse());
    bench.glue.lock().unwrap().databases.insert("db".to_owned(), at(&of_database));
    let table = bench.lake().create(&ident(), definition()).await.unwrap();
    assert_eq!(table.metadata().location(), format!("{of_database}t"));

    let bench = Bench::new();
    bench.glue.lock().unwrap().databases.insert("db".to_owned(), at(""));
    let nowhere = catalog_at(&bench.server.uri, None);
    let creation = || definition().into_creation("t", false);
    let error = nowhere.create_table(&namespace(), creation()).await.unwrap_err();
    assert!(error.message().contains("set FRAZIL_WAREHOUSE"), "{error}");
    bench.glue.lock().unwrap().databases.clear();
    let error = bench.catalog().create_table(&namespace(), creation()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NamespaceNotFound);
}

#[tokio::test]
async fn a_missing_table_is_told_from_a_failure() {
    let bench = Bench::new();
    let catalog = bench.catalog();
    assert!(!catalog.table_exists(&ident()).await.unwrap());
    let error = catalog.load_table(&ident()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::TableNotFound, "Glue has no table db.t: create it, or see FRAZIL_TABLE")
    );
    for (status, code, remedy) in [
        (400, "AccessDeniedException", "Allow the function's role glue:GetTable"),
        (400, "ThrottlingException", "MaximumConcurrency"),
        (400, "ExpiredTokenException", "The credentials have expired"),
        (400, "UnrecognizedClientException", "The credentials are wrong"),
        (403, "InvalidSignatureException", "The credentials are wrong"),
        (500, "InternalServiceException", "documentation"),
    ] {
        bench.fail("GetTable", [Fault::Refuse(status, code, "the service's words")]);
        let error = catalog.table_exists(&ident()).await.unwrap_err();
        let said = error.message();
        assert!(
            said.starts_with(&format!("cannot get the table db.t from Glue: {code}: the service's words. ")),
            "{said}"
        );
        assert!(said.contains(remedy) && !said.contains('\n'), "{said}");
    }
    let error = catalog_at(&nobody(), None).table_exists(&ident()).await.unwrap_err();
    assert!(error.message().contains("Connection refused"), "{error}");
    assert!(error.message().contains("AWS_ENDPOINT_URL"), "{error}");
}

#[tokio::test]
async fn a_refused_commit_says_so_and_is_not_there() {
    let (bench, lake) = Bench::with_table().await;
    let denied = Fault::Refuse(400, "AccessDeniedException", "not authorized to perform: glue:UpdateTable");
    bench.fail("UpdateTable", vec![denied; 10]);
    let error = append(lake.catalog.as_ref(), "a").await.unwrap_err();
    assert!(
        error.message().contains("cannot update the table db.t in Glue: AccessDeniedException"),
        "{error}"
    );
    assert_eq!(commits_of(lake.catalog(), "a").await, 0);
}

#[tokio::test]
async fn entries_that_are_no_iceberg_tables_are_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 5] = [
        (
            |entry| entry["Parameters"] = json!({"classification": "json"}),
            "no Iceberg table (table_type is EXTERNAL_TABLE)",
        ),
        (
            |entry| entry["Parameters"]["table_type"] = json!("DELTA"),
            "no Iceberg table (table_type is DELTA)",
        ),
        (
            |entry| entry["Parameters"]["metadata_location"] = json!(""),
            "without the parameter metadata_location",
        ),
        (
            |entry| entry["TargetTable"] = json!({"CatalogId": "1", "DatabaseName": "far", "Name": "t2"}),
            "set FRAZIL_TABLE=far.t2 and FRAZIL_GLUE_CATALOG_ID=1",
        ),
        (
            |entry| {
                let gone =
                    entry["Parameters"]["metadata_location"].as_str().unwrap().replace("00000-", "00009-");
                entry["Parameters"]["metadata_location"] = json!(gone);
            },
            "it cannot be read",
        ),
    ];
    for (change, expected) in cases {
        let (bench, lake) = Bench::with_table().await;
        bench.change_entry(change);
        let error = lake.table(&ident()).await.unwrap_err();
        assert!(
            error.message().contains("db.t") && error.message().contains(expected),
            "{expected}: {error}"
        );
    }
    // Without a version nothing keeps two writers apart.
    let (bench, lake) = Bench::with_table().await;
    bench.change_entry(|entry| entry["VersionId"] = Value::Null);
    let error = append(lake.catalog.as_ref(), "a").await.unwrap_err();
    assert!(error.message().contains("tells no version"), "{error}");
    assert_eq!(bench.count("UpdateTable"), 0);
}

#[tokio::test]
async fn names_are_what_glue_can_have() {
    let bench = Bench::new();
    let catalog = bench.catalog();
    for (name, expected) in [
        (["a", "b", "t"].as_slice(), "a.b has several levels"),
        (&["db", "Events"], "say events"),
        (&["Db", "events"], "say db"),
    ] {
        let error = catalog.table_exists(&TableIdent::from_strs(name).unwrap()).await.unwrap_err();
        assert!(error.message().contains(expected), "{error}");
    }
    assert!(bench.server.requests().is_empty());
}

#[tokio::test]
async fn a_new_table_has_its_optimizers_before_its_first_file() {
    let bench = Bench::new();
    let lake = bench.optimizing(Duration::from_secs(20));
    lake.create(&ident(), definition()).await.unwrap();
    let optimizers = bench.glue.lock().unwrap().optimizers.clone();
    let configuration = |kind: &str| {
        let request = &optimizers[kind];
        assert_eq!(
            (&request["CatalogId"], &request["DatabaseName"], &request["TableName"]),
            (&json!("123456789012"), &json!("db"), &json!("t")),
            "the account of the role, since none is configured"
        );
        let mut configuration = request["TableOptimizerConfiguration"].clone();
        let own = configuration.as_object_mut().unwrap();
        assert_eq!(own.remove("roleArn"), Some(json!(OPTIMIZER_ROLE)));
        assert_eq!(own.remove("enabled"), Some(json!(true)));
        configuration
    };
    assert_eq!(
        configuration("compaction"),
        json!({"compactionConfiguration": {"icebergConfiguration": {"minInputFiles": 5}}})
    );
    assert_eq!(
        configuration("retention"),
        json!({"retentionConfiguration": {"icebergConfiguration": {
            "snapshotRetentionPeriodInDays": 15, "numberOfSnapshotsToRetain": 1, "cleanExpiredFiles": true}}})
    );
    assert_eq!(
        configuration("orphan_file_deletion"),
        json!({"orphanFileDeletionConfiguration": {"icebergConfiguration": {"orphanFileRetentionPeriodInDays": 3}}})
    );

    // Once for each process, however often it loads the table.
    append(lake.catalog.as_ref(), "a").await.unwrap();
    assert_eq!(bench.count("CreateTableOptimizer"), 3);
    // What is there stays as it is.
    bench.glue.lock().unwrap().optimizers.insert("compaction".to_owned(), json!("changed by its owner"));
    let next = bench.optimizing(Duration::from_secs(20));
    append(next.catalog.as_ref(), "b").await.unwrap();
    assert_eq!(bench.count("CreateTableOptimizer"), 6);
    assert_eq!(bench.glue.lock().unwrap().optimizers["compaction"], "changed by its owner");
}

#[tokio::test]
async fn without_a_role_nothing_is_attached() {
    let (bench, lake) = Bench::with_table().await;
    append(lake.catalog.as_ref(), "a").await.unwrap();
    assert_eq!(bench.count("CreateTableOptimizer"), 0);
}

#[tokio::test]
async fn optimizers_that_are_refused_keep_no_row_from_the_table() {
    let bench = Bench::new();
    let denied = Fault::Refuse(400, "AccessDeniedException", "not authorized to perform: iam:PassRole");
    bench.fail("CreateTableOptimizer", [denied; 3]);
    let lake = bench.optimizing(Duration::from_secs(20));
    lake.create(&ident(), definition()).await.unwrap();
    append(lake.catalog.as_ref(), "a").await.unwrap();
    assert_eq!(bench.count("CreateTableOptimizer"), 3, "one attempt for each process");
    assert!(bench.glue.lock().unwrap().optimizers.is_empty());

    let next = bench.optimizing(Duration::from_secs(20));
    append(next.catalog.as_ref(), "b").await.unwrap();
    assert_eq!(bench.glue.lock().unwrap().optimizers.len(), 3, "the next process makes good for it");
    assert_eq!(commits_of(next.catalog(), "a").await, 1);

    // One that takes its time is not waited for.
    let impatient = bench.optimizing(Duration::ZERO);
    append(impatient.catalog.as_ref(), "c").await.unwrap();
}

#[tokio::test]
async fn a_refused_optimizer_says_what_the_role_needs() {
    let (bench, _) = Bench::with_table().await;
    let denied = Fault::Refuse(400, "AccessDeniedException", "not authorized to perform: iam:PassRole");
    bench.fail("CreateTableOptimizer", [denied; 3]);
    let catalog = bench.catalog();
    let optimizers = Optimizers::new(OPTIMIZER_ROLE.to_owned()).within(Duration::from_secs(20));
    let error = optimizers.attach_all(&catalog.client, None, &ident()).await.unwrap_err();
    let said = error.message();
    assert!(said.starts_with("cannot attach the optimizer "), "{said}");
    assert!(said.contains(" to the table db.t: AccessDeniedException: not authorized"), "{said}");
    assert!(
        said.contains(&format!("iam:PassRole on {OPTIMIZER_ROLE}; or unset FRAZIL_GLUE_OPTIMIZER_ROLE")),
        "{said}"
    );

    let error =
        optimizers.within(Duration::ZERO).attach_all(&catalog.client, None, &ident()).await.unwrap_err();
    assert_eq!(error.message(), "Glue did not answer within 0 s");
}
