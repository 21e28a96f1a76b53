//! The REST catalog against a server that signs in, expires tokens, conflicts and fails as it is told.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use iceberg::spec::{NestedField, PrimitiveType, Schema, TableMetadata, TableMetadataBuilder};
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use serde_json::{Value, json};

use super::super::config::Secret;
use super::super::fake::{Reply, Request, Server, nobody};
use super::*;
use crate::storage::{S3Config, storage_factory};

const SECRET: &str = "s3cret";
const TOKEN: &str = "t0ken";
const SIGN_IN: &str = "POST /v1/oauth/tokens";
const LOAD: &str = "GET /v1/namespaces/db/tables/t";
const COMMIT: &str = "POST /v1/namespaces/db/tables/t";

/// A catalog of one table.
struct Service {
    /// The tokens that are good, and how long it says that they are.
    good_tokens: Vec<String>,
    lifetime_seconds: Option<u64>,
    given: usize,
    /// The next answers, by method and path.
    faults: VecDeque<(&'static str, u16)>,
    /// The type of the errors that it answers.
    error_type: &'static str,
    overrides: Value,
    /// How often the table has changed.
    changes: usize,
}

impl Service {
    fn answer(&mut self, request: &Request) -> Reply {
        let path = request.line.split('?').next().unwrap();
        let bearer = request.header("authorization").trim_start_matches("Bearer ").to_owned();
        if path != SIGN_IN && !self.good_tokens.contains(&bearer) {
            return refusal(401, "the token has expired");
        }
        if let Some((line, status)) = self.faults.front()
            && *line == path
        {
            let reply = match *status {
                0 => Reply::HangUp,
                200 => Reply::Json(200, json!({"metadata": {"format-version": 9}, "config": vended()})),
                status => refusal_of(status, self.error_type, "as planned"),
            };
            self.faults.pop_front();
            return reply;
        }
        match path {
            SIGN_IN => self.sign_in(request),
            "GET /v1/config" => Reply::Json(200, json!({"defaults": {}, "overrides": self.overrides})),
            "HEAD /v1/namespaces/db/tables/t" => Reply::Json(204, Value::Null),
            "GET /v1/namespaces/db/tables/t" | "POST /v1/namespaces/db/tables/t" => Reply::Json(
                200,
                json!({"metadata-location": format!("s3://b/t/metadata/{:05}-a.metadata.json", self.changes),
                    "metadata": metadata(), "config": vended()}),
            ),
            _ => refusal(404, "no such thing"),
        }
    }

    fn sign_in(&mut self, request: &Request) -> Reply {
        let form = String::from_utf8(request.body.clone()).unwrap();
        if !form.contains("grant_type=client_credentials")
            || !form.contains("client_id=id&client_secret=s3cret")
        {
            return Reply::Json(401, json!({"error": "invalid_client", "error_description": "who are you?"}));
        }
        self.given += 1;
        let token = format!("{TOKEN}-{}", self.given);
        self.good_tokens = vec![token.clone()];
        Reply::Json(
            200,
            json!({"access_token": token, "token_type": "bearer", "expires_in": self.lifetime_seconds}),
        )
    }
}

fn vended() -> Value {
    json!({"s3.secret-access-key": "vended"})
}

fn refusal(status: u16, message: &str) -> Reply {
    refusal_of(status, "Exception", message)
}

fn refusal_of(status: u16, kind: &str, message: &str) -> Reply {
    Reply::Json(status, json!({"error": {"message": message, "type": kind, "code": status}}))
}

fn metadata() -> TableMetadata {
    let column = NestedField::optional(1, "n", PrimitiveType::Long.into());
    let creation = TableCreation::builder()
        .name("t".to_owned())
        .location("s3://b/t".to_owned())
        .schema(Schema::builder().with_fields([column.into()]).build().unwrap())
        // Without retries in the library a conflict shows.
        .properties([("commit.retry.num-retries".to_owned(), "0".to_owned())])
        .build();
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

struct Bench {
    service: Arc<Mutex<Service>>,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let service = Service {
            good_tokens: vec![TOKEN.to_owned()],
            lifetime_seconds: Some(3600),
            given: 0,
            faults: VecDeque::new(),
            error_type: "Exception",
            overrides: json!({}),
            changes: 0,
        };
        let service = Arc::new(Mutex::new(service));
        let answering = service.clone();
        let server = Server::start(move |request| answering.lock().unwrap().answer(request));
        Self { service, server }
    }

    fn catalog(&self, auth: &RestAuth) -> RestCatalog {
        RestCatalog::new(&self.server.uri, Some("wh"), auth, storage_factory(&S3Config::default())).unwrap()
    }

    fn fail(&self, faults: impl IntoIterator<Item = (&'static str, u16)>) {
        self.service.lock().unwrap().faults.extend(faults);
    }

    fn count(&self, line: &str) -> usize {
        self.server.requests().iter().filter(|request| request.line.starts_with(line)).count()
    }
}

fn by_token(token: &str) -> RestAuth {
    RestAuth::Token(Secret::new(token))
}

fn by_oauth(secret: &str) -> RestAuth {
    RestAuth::OAuth { credential: Secret::new(format!("id:{secret}")), server_uri: None, scope: None }
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["db", "t"]).unwrap()
}

async fn set_property(catalog: &RestCatalog) -> Result<Table> {
    let table = catalog.load_table(&ident()).await.unwrap();
    let transaction = Transaction::new(&table);
    let action = transaction.update_table_properties().set("a".to_owned(), "b".to_owned());
    action.apply(transaction).unwrap().commit(catalog).await
}

#[tokio::test]
async fn a_bearer_token_and_the_warehouse_are_sent() {
    let bench = Bench::new();
    let catalog = bench.catalog(&by_token(TOKEN));
    assert!(catalog.table_exists(&ident()).await.unwrap());
    let table = catalog.load_table(&ident()).await.unwrap();
    assert!(table.file_io().config().props().is_empty(), "what the server says of a storage is not used");
    assert_eq!(bench.count("GET /v1/config?warehouse=wh"), 1);
    assert_eq!(bench.count(SIGN_IN), 0);
    set_property(&catalog).await.unwrap();
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    let bench = Bench::new();
    // Ten seconds before its end it is not used any more.
    bench.service.lock().unwrap().lifetime_seconds = Some(11);
    let catalog = bench.catalog(&by_oauth(SECRET));
    for _ in 0..3 {
        assert!(catalog.table_exists(&ident()).await.unwrap());
    }
    assert_eq!(bench.count(SIGN_IN), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(catalog.table_exists(&ident()).await.unwrap());
    assert_eq!(bench.count(SIGN_IN), 2);
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced() {
    let bench = Bench::new();
    let catalog = bench.catalog(&by_oauth(SECRET));
    catalog.load_table(&ident()).await.unwrap();
    bench.service.lock().unwrap().good_tokens.clear();
    catalog.load_table(&ident()).await.unwrap();
    assert_eq!(bench.count(SIGN_IN), 2);

    // Who did not know the token has done nothing: a change may be sent again, once.
    for status in [401, 403, 419] {
        let before = (bench.count(SIGN_IN), bench.count(COMMIT));
        bench.fail([(COMMIT, status)]);
        set_property(&catalog).await.unwrap();
        assert_eq!((bench.count(SIGN_IN), bench.count(COMMIT)), (before.0 + 1, before.1 + 2));
    }
    bench.fail([(COMMIT, 401), (COMMIT, 401)]);
    let error = set_property(&catalog).await.unwrap_err();
    assert!(error.message().contains("have expired"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_one_clear_error() {
    let bench = Bench::new();
    let error = bench.catalog(&by_oauth("wrong")).load_table(&ident()).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("it answers 401") && said.contains("who are you?"), "{said}");
    assert!(said.contains("See FRAZIL_CATALOG_CREDENTIAL") && !said.contains("wrong"), "{said}");

    let error = bench.catalog(&by_token("expired")).load_table(&ident()).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("The credentials are wrong or have expired: see FRAZIL_CATALOG_TOKEN"), "{said}");

    bench.fail([(LOAD, 403)]);
    let error = bench.catalog(&by_token(TOKEN)).load_table(&ident()).await.unwrap_err();
    assert!(error.message().contains("do not allow this"), "{error}");
    assert!(!error.message().contains('\n'), "{error}");
}

#[tokio::test]
async fn secrets_do_not_show() {
    let bench = Bench::new();
    for auth in [by_token(TOKEN), by_oauth(SECRET)] {
        let catalog = bench.catalog(&auth);
        assert!(catalog.table_exists(&ident()).await.is_ok());
        let table = catalog.load_table(&ident()).await.unwrap();
        let shown = format!("{auth:?} {auth:#?} {catalog:?} {catalog:#?} {table:?}");
        assert!(!shown.contains(SECRET) && !shown.contains(TOKEN) && !shown.contains("vended"), "{shown}");
        bench.service.lock().unwrap().good_tokens = vec![TOKEN.to_owned()];
    }
    // An answer that is not understood may hold them.
    bench.fail([(LOAD, 200)]);
    let error = bench.catalog(&by_token(TOKEN)).load_table(&ident()).await.unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(said.contains("its answer is not understood") && !said.contains("vended"), "{said}");
    assert!(!error.message().contains('\n'), "{said}");
    assert_eq!(bench.count(LOAD), 3, "it is not asked again");
}

#[tokio::test]
async fn what_only_reads_is_sent_again() {
    let bench = Bench::new();
    let catalog = bench.catalog(&by_token(TOKEN));
    bench.fail([(LOAD, 503), (LOAD, 0)]);
    catalog.load_table(&ident()).await.unwrap();
    assert_eq!(bench.count(LOAD), 3);
    bench.fail([(LOAD, 503), (LOAD, 503), (LOAD, 500)]);
    let error = catalog.load_table(&ident()).await.unwrap_err();
    assert!(error.message().contains("it answers 500 Internal Server Error (as planned)"), "{error}");
}

#[tokio::test]
async fn signing_in_is_tried_again_and_lasts_through_an_outage() {
    let bench = Bench::new();
    let catalog = bench.catalog(&by_oauth(SECRET));
    bench.fail([(SIGN_IN, 503), (SIGN_IN, 0), (LOAD, 503), (LOAD, 0)]);
    catalog.load_table(&ident()).await.unwrap();
    assert_eq!((bench.count(SIGN_IN), bench.count(LOAD)), (3, 3));
    bench.fail([(SIGN_IN, 503), (SIGN_IN, 503), (SIGN_IN, 503)]);
    let error = bench.catalog(&by_oauth(SECRET)).load_table(&ident()).await.unwrap_err();
    assert!(error.message().contains("it answers 503"), "{error}");
    assert_eq!(bench.count(SIGN_IN), 6);
}

#[tokio::test]
async fn a_commit_is_sent_once_whatever_is_answered() {
    for (status, kind) in [
        (409, ErrorKind::CatalogCommitConflicts),
        (404, ErrorKind::TableNotFound),
        (500, ErrorKind::Unexpected),
        (503, ErrorKind::Unexpected),
        (0, ErrorKind::Unexpected),
    ] {
        let bench = Bench::new();
        let catalog = bench.catalog(&by_token(TOKEN));
        bench.fail([(COMMIT, status)]);
        let error = set_property(&catalog).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert_eq!(bench.count(COMMIT), 1);
    }
}

/// A change of the loaded table.
fn next(base: &Loaded) -> Next {
    let updates = HashMap::from([("a".to_owned(), "b".to_owned())]);
    Next {
        updates: vec![
            TableUpdate::SetProperties { updates },
            TableUpdate::RemoveSnapshots { snapshot_ids: vec![1, 2] },
            TableUpdate::RemoveSnapshotRef { ref_name: "old".to_owned() },
        ],
        requirements: vec![
            TableRequirement::UuidMatch { uuid: base.table.metadata().uuid() },
            TableRequirement::RefSnapshotIdMatch { r#ref: "main".to_owned(), snapshot_id: None },
        ],
        metadata: base.table.metadata().clone(),
    }
}

#[tokio::test]
async fn every_fault_of_a_swap_is_told_by_its_kind() {
    type Kind = fn(&NotSwapped) -> bool;
    let conflict: Kind = |why| matches!(why, NotSwapped::Conflict(error) if error.retryable());
    let refused: Kind = |why| matches!(why, NotSwapped::Refused(_));
    let unknown: Kind = |why| matches!(why, NotSwapped::Unknown(_));
    for (status, error_type, is_kind) in [
        (409, "CommitFailedException", conflict),
        (409, "", conflict),
        // Some servers say it by the type alone.
        (400, "CommitFailedException", conflict),
        (400, "BadRequestException", refused),
        (401, "NotAuthorizedException", refused),
        (403, "ForbiddenException", refused),
        (404, "NoSuchTableException", refused),
        (406, "UnsupportedOperationException", refused),
        (419, "AuthenticationTimeoutException", refused),
        (422, "", refused),
        (408, "", unknown),
        (429, "", unknown),
        (500, "InternalServerError", unknown),
        (500, "CommitStateUnknownException", unknown),
        (409, "CommitStateUnknownException", unknown),
        (502, "", unknown),
        (503, "SlowDownException", unknown),
        (504, "", unknown),
        (0, "", unknown),
    ] {
        let bench = Bench::new();
        let catalog = bench.catalog(&by_token(TOKEN));
        let base = catalog.load(&ident()).await.unwrap();
        bench.service.lock().unwrap().error_type = error_type;
        bench.fail([(COMMIT, status)]);
        let why = catalog.swap(&base, &next(&base)).await.unwrap_err();
        assert!(is_kind(&why), "{status} {error_type}: {why:?}");
        let error = Error::from(why);
        assert!(!error.message().contains('\n') && !error.message().contains(TOKEN), "{error}");
        assert_eq!(bench.count(COMMIT), 1, "{status} {error_type}");
    }
    // Nobody to ask as, now or for ever.
    for (status, is_kind) in [(503, unknown), (401, refused)] {
        let bench = Bench::new();
        let base = bench.catalog(&by_token(TOKEN)).load(&ident()).await.unwrap();
        bench.fail([(SIGN_IN, status), (SIGN_IN, status), (SIGN_IN, status)]);
        let why = bench.catalog(&by_oauth(SECRET)).swap(&base, &next(&base)).await.unwrap_err();
        assert!(is_kind(&why), "{status}: {why:?}");
        assert_eq!(bench.count(COMMIT), 0);
    }
}

/// A commit to another branch uses up a sequence number: the requirements hold, and the snapshot is out of order.
#[tokio::test]
async fn what_is_refused_since_the_table_has_moved_is_a_conflict() {
    for (status, changes, is_conflict) in
        [(400, 1, true), (422, 1, true), (400, 0, false), (403, 1, false), (404, 1, false)]
    {
        let bench = Bench::new();
        let catalog = bench.catalog(&by_token(TOKEN));
        let base = catalog.load(&ident()).await.unwrap();
        bench.service.lock().unwrap().changes = changes;
        bench.fail([(COMMIT, status)]);
        let why = catalog.swap(&base, &next(&base)).await.unwrap_err();
        assert_eq!(matches!(why, NotSwapped::Conflict(_)), is_conflict, "{status}: {why:?}");
        assert_eq!(matches!(why, NotSwapped::Refused(_)), !is_conflict, "{status}: {why:?}");
    }
    // Who cannot be asked whether it has moved has told why the commit was refused.
    let bench = Bench::new();
    let catalog = bench.catalog(&by_token(TOKEN));
    let base = catalog.load(&ident()).await.unwrap();
    bench.fail([(COMMIT, 400), (LOAD, 500), (LOAD, 500), (LOAD, 500)]);
    let why = catalog.swap(&base, &next(&base)).await.unwrap_err();
    assert!(matches!(&why, NotSwapped::Refused(error) if error.message().contains("answers 400")), "{why:?}");
}

/// The shapes of the specification, "CommitTableRequest".
#[tokio::test]
async fn a_commit_is_one_request_of_updates_and_requirements() {
    let bench = Bench::new();
    let catalog = bench.catalog(&by_token(TOKEN));
    let base = catalog.load(&ident()).await.unwrap();
    assert!(catalog.keeps_metadata_files());
    catalog.swap(&base, &next(&base)).await.unwrap();
    assert_eq!((bench.count(LOAD), bench.count(COMMIT)), (1, 1));
    let requests = bench.server.requests();
    let sent = requests.last().unwrap();
    assert_eq!(sent.header("content-type"), "application/json");
    assert_eq!(
        sent.json(),
        json!({
            "identifier": {"namespace": ["db"], "name": "t"},
            "requirements": [
                {"type": "assert-table-uuid", "uuid": base.table.metadata().uuid()},
                {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null},
            ],
            "updates": [
                {"action": "set-properties", "updates": {"a": "b"}},
                {"action": "remove-snapshots", "snapshot-ids": [1, 2]},
                {"action": "remove-snapshot-ref", "ref-name": "old"},
            ],
        })
    );
}

#[tokio::test]
async fn requests_go_where_the_server_says() {
    let bench = Bench::new();
    bench.service.lock().unwrap().overrides =
        json!({"prefix": "catalogs/7", "header.x-tenant": "me", "header.authorization": "no", "other": null});
    let catalog = bench.catalog(&by_token(TOKEN));
    let ident = TableIdent::from_strs(["a b", "c/d", "e?f"]).unwrap();
    assert!(!catalog.table_exists(&ident).await.unwrap());
    let requests = bench.server.requests();
    let sent = requests.last().unwrap();
    assert_eq!(sent.line, "HEAD /v1/catalogs/7/namespaces/a%20b%1Fc%2Fd/tables/e%3Ff");
    assert_eq!((sent.header("x-tenant"), sent.header("authorization")), ("me", "Bearer t0ken"));

    let bench = Bench::new();
    bench.service.lock().unwrap().overrides = json!({"namespace-separator": "%2E"});
    let catalog = bench.catalog(&by_token(TOKEN));
    assert!(!catalog.namespace_exists(ident.namespace()).await.unwrap());
    assert_eq!(bench.server.requests().last().unwrap().line, "HEAD /v1/namespaces/a%20b%2Ec%2Fd");

    // The token goes to no other machine in plain text.
    bench.service.lock().unwrap().overrides = json!({"uri": "http://elsewhere.example.com"});
    let error = bench.catalog(&by_token(TOKEN)).load_table(&ident).await.unwrap_err();
    assert!(error.message().contains("in plain text"), "{error}");
}

#[tokio::test]
async fn a_missing_table_is_told_from_a_missing_catalog() {
    let bench = Bench::new();
    let catalog = bench.catalog(&by_token(TOKEN));
    bench.fail([(LOAD, 404)]);
    let error = catalog.load_table(&ident()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableNotFound);
    assert!(error.message().contains("has no table db.t: create it, or see FRAZIL_TABLE"), "{error}");
    bench.fail([("GET /v1/config", 404)]);
    let error = bench.catalog(&by_token(TOKEN)).table_exists(&ident()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
}

#[tokio::test]
async fn a_place_where_no_catalog_is_is_named() {
    let catalog =
        RestCatalog::new(&nobody(), None, &RestAuth::None, storage_factory(&S3Config::default())).unwrap();
    let error = catalog.load_table(&ident()).await.unwrap_err();
    assert!(error.message().contains("Connection refused"), "{error}");
    assert!(error.message().contains("FRAZIL_CATALOG_URI"), "{error}");
    let bench = Bench::new();
    bench.fail([("GET /v1/config", 404)]);
    let error = bench.catalog(&by_token(TOKEN)).load_table(&ident()).await.unwrap_err();
    assert!(error.message().contains("without /v1"), "{error}");
    for (uri, expected) in [
        ("lake.example.com", "is no URI"),
        ("s3://lake", "neither http nor https"),
        ("https://id:s3cret@lake", "a URI with credentials in it"),
        ("id:s3cret@lake", "a URI with credentials in it"),
    ] {
        let server_uri = Some(uri.to_owned());
        let auth = RestAuth::OAuth { credential: Secret::new("id:x"), server_uri, scope: None };
        for (uri, auth, variable) in [
            (uri, &RestAuth::None, "FRAZIL_CATALOG_URI: "),
            ("https://lake", &auth, "FRAZIL_CATALOG_OAUTH2_SERVER_URI: "),
        ] {
            let error = RestCatalog::new(uri, None, auth, storage_factory(&S3Config::default())).unwrap_err();
            assert!(error.message().starts_with(variable), "{error}");
            assert!(error.message().contains(expected) && !error.message().contains(SECRET), "{error}");
        }
    }
}

#[test]
fn nothing_secret_is_sent_in_plain_text_to_another_machine() {
    let open = |uri: &str, auth: &RestAuth| {
        RestCatalog::new(uri, None, auth, storage_factory(&S3Config::default())).map(drop)
    };
    let oauth = |server_uri: Option<&str>| {
        let server_uri = server_uri.map(str::to_owned);
        RestAuth::OAuth { credential: Secret::new("id:x"), server_uri, scope: None }
    };
    for uri in ["http://lake.example.com", "http://10.0.0.1:8181", "http://127.0.0.1.example.com"] {
        for (uri, auth, variable) in [
            (uri, by_token(TOKEN), "FRAZIL_CATALOG_URI"),
            (uri, oauth(Some("https://sign.in")), "FRAZIL_CATALOG_URI"),
            ("https://lake", oauth(Some(uri)), "FRAZIL_CATALOG_OAUTH2_SERVER_URI"),
        ] {
            let error = open(uri, &auth).unwrap_err();
            assert!(error.message().starts_with(variable), "{error}");
            assert!(error.message().contains("in plain text; expected https://HOST"), "{error}");
        }
        open(uri, &RestAuth::None).unwrap();
    }
    for uri in ["http://localhost:8181", "http://127.0.0.1", "http://127.1.2.3/", "http://[::1]:80"] {
        open(uri, &by_token(TOKEN)).unwrap();
        open("https://lake", &oauth(Some(uri))).unwrap();
    }
}
