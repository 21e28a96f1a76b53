//! The catalog of S3 Tables against a server that keeps pointers as the service does. No such bucket can be had here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_s3tables::config::{BehaviorVersion, Credentials, Region};
use iceberg::io::FileIOBuilder;
use iceberg::spec::{NestedField, PrimitiveType, Schema};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::super::Lake;
use super::super::fake::{Reply, Request, Server};
use super::*;
use crate::commit::{Change, CommitError, Committed, Layout, Objects, commit};
use crate::definition::TableDefinition;
use crate::env::Env;
use crate::job::CommitMetrics;
use crate::storage::{S3Config, storage_factory};
use crate::token::{self, Token};

const ARN: &str = "arn:aws:s3tables:eu-west-1:123456789012:bucket/lake";
const CREATED: &str = "2026-01-02T03:04:05Z";

/// What befalls a request that swaps the pointer.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Refuse(u16, &'static str, &'static str),
    LoseAnswer,
    Overtake,
}

#[derive(Default)]
struct Service {
    warehouse: String,
    has_namespace: bool,
    /// The version's token, and the metadata file.
    table: Option<(u64, Option<String>)>,
    swaps: VecDeque<Fault>,
    /// The next answer to a question about the table.
    asked: Option<(u16, &'static str, &'static str)>,
}

impl Service {
    fn answer(&mut self, request: &Request) -> Reply {
        let line = request.line.replace("%3A", ":").replace("%2F", "/");
        let input = request.json();
        let bucket = line.replace(ARN, "BUCKET");
        match bucket.as_str() {
            "GET /namespaces/BUCKET/db" if self.has_namespace => Reply::Json(
                200,
                json!({"namespace": ["db"], "createdAt": CREATED, "createdBy": "1", "ownerAccountId": "1"}),
            ),
            "PUT /namespaces/BUCKET" => {
                self.has_namespace = true;
                Reply::Json(200, json!({"namespace": ["db"], "tableBucketARN": ARN}))
            }
            "PUT /tables/BUCKET/db" => {
                if self.table.is_some() {
                    return Reply::Refused(409, "ConflictException", "the table exists");
                }
                self.table = Some((0, None));
                Reply::Json(200, json!({"tableARN": ARN, "versionToken": "0"}))
            }
            "PUT /tables/BUCKET/db/t/metadata-location" => {
                let fault = self.swaps.pop_front();
                match fault {
                    Some(Fault::Refuse(status, code, message)) => {
                        return Reply::Refused(status, code, message);
                    }
                    Some(Fault::Overtake) => self.table.as_mut().unwrap().0 += 1,
                    _ => {}
                }
                let reply = self.swap(&input);
                if matches!(fault, Some(Fault::LoseAnswer)) { Reply::HangUp } else { reply }
            }
            line if line.starts_with("GET /get-table?") => match (self.asked.take(), &self.table) {
                (Some((status, code, message)), _) => Reply::Refused(status, code, message),
                (None, Some((version, location))) => Reply::Json(
                    200,
                    json!({"name": "t", "type": "customer", "tableARN": ARN, "namespace": ["db"],
                        "versionToken": version.to_string(), "metadataLocation": location,
                        "warehouseLocation": self.warehouse, "createdAt": CREATED, "createdBy": "1",
                        "modifiedAt": CREATED, "modifiedBy": "1", "ownerAccountId": "1", "format": "ICEBERG"}),
                ),
                (None, None) => Reply::Refused(404, "NotFoundException", "no such table"),
            },
            _ => Reply::Refused(404, "NotFoundException", "no such thing"),
        }
    }

    fn swap(&mut self, input: &Value) -> Reply {
        let (version, location) = self.table.as_mut().unwrap();
        if input["versionToken"].as_str() != Some(&version.to_string()) {
            return Reply::Refused(409, "ConflictException", "the version token is stale");
        }
        *version += 1;
        *location = Some(input["metadataLocation"].as_str().unwrap().to_owned());
        let table = json!({"name": "t", "tableARN": ARN, "namespace": ["db"],
            "versionToken": version.to_string(), "metadataLocation": location});
        Reply::Json(200, table)
    }
}

struct Bench {
    _folder: TempDir,
    service: Arc<Mutex<Service>>,
    server: Server,
    lake: Lake,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = format!("file://{}/9d5f--table-s3", folder.path().display());
        let service = Arc::new(Mutex::new(Service { warehouse, ..Service::default() }));
        let answering = service.clone();
        let server = Server::start(move |request| answering.lock().unwrap().answer(request));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(Credentials::new("id", "s3cret", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(aws_config::retry::RetryConfig::standard().with_max_attempts(1))
            .endpoint_url(&server.uri)
            .build();
        let file_io = FileIOBuilder::new(storage_factory(&S3Config::default())).build();
        let catalog = S3TablesCatalog::new(Client::from_conf(config), ARN, file_io.clone());
        let lake =
            Lake { catalog: Arc::new(catalog), file_io, name_bounds: Arc::default(), env: Env::default() };
        Self { _folder: folder, service, server, lake }
    }

    async fn with_table() -> Self {
        let bench = Self::new();
        bench.lake.create(&ident(), definition()).await.unwrap();
        bench
    }

    async fn append(&self) -> Result<Committed> {
        let table = self.lake.catalog().load_table(&ident()).await.unwrap();
        let marks = Objects { tokens: &[object()], rejected: 0 };
        let change = Change {
            looked_at: table.metadata().current_snapshot_id(),
            ..Change::append(&[], &marks, Layout::of(&table), Uuid::from_u128(fastrand::u128(..)))
        };
        let deadline = (Instant::now() + Duration::from_secs(20)).into();
        let (catalog, mut metrics) = (self.lake.catalog.as_ref(), CommitMetrics::default());
        let committed = commit(catalog, &self.lake.env, &ident(), &change, deadline, &mut metrics).await;
        committed.map_err(|error| match error {
            CommitError::Outrun(error) | CommitError::Failed(error) => error,
        })
    }

    /// How many snapshots of the table hold the object.
    async fn commits(&self) -> usize {
        let table = self.lake.catalog().load_table(&ident()).await.unwrap();
        let listed = token::listed(&[object()]);
        let summaries =
            table.metadata().snapshots().map(|snapshot| &snapshot.summary().additional_properties);
        summaries.filter(|summary| summary.get(token::SUMMARY_KEY) == Some(&listed)).count()
    }
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["db", "t"]).unwrap()
}

fn object() -> Token {
    Token::new("raw", "a", "1")
}

fn definition() -> TableDefinition {
    let column = NestedField::optional(1, "at", PrimitiveType::Timestamptz.into());
    TableDefinition {
        name: "t".to_owned(),
        schema: Schema::builder().with_fields([column.into()]).build().unwrap(),
        partition_spec: None,
        write_order: None,
        properties: HashMap::new(),
    }
}

#[tokio::test]
async fn a_table_is_created_where_the_service_says_and_appended_to() {
    let bench = Bench::with_table().await;
    let table = bench.lake.table(&ident()).await.unwrap().unwrap();
    assert_eq!(table.metadata().location(), bench.service.lock().unwrap().warehouse);
    let again = bench.lake.create(&ident(), definition()).await.unwrap();
    assert_eq!(again.metadata_location(), table.metadata_location(), "the first one counts");
    assert!(matches!(bench.append().await, Ok(Committed::Snapshot(..))));
    assert_eq!(bench.commits().await, 1);
}

#[tokio::test]
async fn a_table_that_someone_began_to_create_is_finished() {
    let bench = Bench::new();
    {
        let mut service = bench.service.lock().unwrap();
        (service.has_namespace, service.table) = (true, Some((7, None)));
    }
    assert!(bench.lake.table(&ident()).await.unwrap().is_none(), "it has no columns yet");
    bench.lake.create(&ident(), definition()).await.unwrap();
    assert_eq!(bench.service.lock().unwrap().table.as_ref().unwrap().0, 8);
    assert!(bench.lake.table(&ident()).await.unwrap().is_some());
}

#[tokio::test]
async fn overtaken_or_unheard_a_commit_is_there_once() {
    for faults in [
        vec![Fault::Overtake, Fault::Overtake],
        vec![Fault::LoseAnswer],
        vec![Fault::Refuse(500, "InternalServerErrorException", "try again"); 3],
    ] {
        let bench = Bench::with_table().await;
        bench.service.lock().unwrap().swaps.extend(faults);
        let committed = bench.append().await;
        assert!(matches!(committed, Ok(Committed::Snapshot(..))), "{committed:?}");
        assert_eq!(bench.commits().await, 1);
    }
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
    type Kind = fn(&NotSwapped) -> bool;
    let conflict: Kind = |why| matches!(why, NotSwapped::Conflict(_));
    let refused: Kind = |why| matches!(why, NotSwapped::Refused(_));
    let unknown: Kind = |why| matches!(why, NotSwapped::Unknown(_));
    let refuse = |status, code| Fault::Refuse(status, code, "as planned");
    for (fault, is_kind, is_made) in [
        (Fault::Overtake, conflict, false),
        (refuse(409, "ConflictException"), conflict, false),
        (refuse(403, "AccessDeniedException"), refused, false),
        (refuse(403, "ForbiddenException"), refused, false),
        (refuse(400, "BadRequestException"), refused, false),
        (refuse(404, "NotFoundException"), refused, false),
        (refuse(405, "MethodNotAllowedException"), refused, false),
        (refuse(429, "TooManyRequestsException"), unknown, false),
        (refuse(400, "RequestTimeout"), unknown, false),
        (refuse(500, "InternalServerErrorException"), unknown, false),
        (Fault::LoseAnswer, unknown, true),
    ] {
        let bench = Bench::with_table().await;
        let catalog = &bench.lake.catalog;
        let base = catalog.load(&ident()).await.unwrap();
        let sent = bench.server.requests().len();
        bench.service.lock().unwrap().swaps.push_back(fault);
        let why = catalog.swap(&base, &changed(&base)).await.unwrap_err();
        assert!(is_kind(&why), "{fault:?}: {why:?}");
        assert!(Error::from(why).message().contains("db.t"), "{fault:?}");
        assert_eq!(bench.server.requests().len(), sent + 1, "{fault:?}");
        let table = catalog.load_table(&ident()).await.unwrap();
        assert_eq!(table.metadata().properties().contains_key("a"), is_made, "{fault:?}");
    }
}

#[tokio::test]
async fn a_swap_is_conditional_on_what_was_loaded() {
    let bench = Bench::with_table().await;
    let catalog = &bench.lake.catalog;
    let base = catalog.load(&ident()).await.unwrap();
    catalog.swap(&base, &changed(&base)).await.unwrap();
    let late = catalog.swap(&base, &changed(&base)).await.unwrap_err();
    assert!(matches!(&late, NotSwapped::Conflict(error) if error.retryable()), "{late:?}");
}

#[tokio::test]
async fn a_missing_table_is_told_from_a_failure() {
    let bench = Bench::new();
    let catalog = bench.lake.catalog();
    assert!(!catalog.table_exists(&ident()).await.unwrap());
    let error = catalog.load_table(&ident()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableNotFound);
    bench.service.lock().unwrap().asked = Some((403, "AccessDeniedException", "not authorized"));
    let error = catalog.table_exists(&ident()).await.unwrap_err();
    let said = error.message();
    assert!(
        said.contains("AccessDeniedException: not authorized. Allow the function's role s3tables:"),
        "{said}"
    );
    assert!(!catalog.namespace_exists(&NamespaceIdent::new("db".to_owned())).await.unwrap());
}
