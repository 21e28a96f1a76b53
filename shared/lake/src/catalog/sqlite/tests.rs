//! The SQLite catalog among other writers and readers of its file.

use iceberg::spec::{Schema, TableMetadata};
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::storage::{S3Config, storage_factory};

struct Bench {
    folder: TempDir,
    catalog: SqliteCatalog,
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["db", "t"]).unwrap()
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = open(folder.path()).await;
        catalog.create_namespace(ident().namespace(), HashMap::new()).await.unwrap();
        catalog.create_table(ident().namespace(), creation()).await.unwrap();
        Self { folder, catalog }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    async fn connection(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.database()).connect().await.unwrap()
    }

    async fn run(&self, statement: &str) {
        sqlx::query(statement).execute(&mut self.connection().await).await.unwrap();
    }

    async fn properties(&self) -> HashMap<String, String> {
        // Another process, with no file kept.
        open(self.folder.path()).await.load_table(&ident()).await.unwrap().metadata().properties().clone()
    }
}

async fn open(folder: &Path) -> SqliteCatalog {
    let warehouse = format!("file://{}/warehouse", folder.display());
    let storage = storage_factory(&S3Config::default());
    SqliteCatalog::open(&folder.join("catalog.db"), &warehouse, storage).await.unwrap()
}

fn creation() -> TableCreation {
    TableCreation::builder().name("t".to_owned()).schema(Schema::builder().build().unwrap()).build()
}

/// What follows `base` with the property `name` set.
fn with_property(base: &Loaded, name: &str, value: &str) -> Next {
    let update =
        iceberg::TableUpdate::SetProperties { updates: HashMap::from([(name.to_owned(), value.to_owned())]) };
    let location = base.table.metadata_location().map(str::to_owned);
    let builder = base.table.metadata().clone().into_builder(location);
    let metadata = update.clone().apply(builder).unwrap().build().unwrap().metadata;
    Next { updates: vec![update], requirements: Vec::new(), metadata }
}

#[tokio::test]
async fn any_path_names_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["50%", "%41", "a b+c", "which?mode=memory", "nr#1", "zoë"] {
        let folder = folder.path().join(name);
        let catalog = open(&folder).await;
        assert!(catalog.list_namespaces(None).await.unwrap().is_empty());
        catalog.create_namespace(ident().namespace(), HashMap::new()).await.unwrap();
        catalog.create_table(ident().namespace(), creation()).await.unwrap();
        // The catalog's tables are in this file and in no other.
        let options = SqliteConnectOptions::new().filename(folder.join("catalog.db"));
        let mut connection = options.connect().await.unwrap();
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM iceberg_tables")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(tables, 1);
    }
}

#[tokio::test]
async fn a_swap_moves_the_pointer_once() {
    let bench = Bench::new().await;
    let base = bench.catalog.load(&ident()).await.unwrap();
    let (first, second) = (with_property(&base, "a", "1"), with_property(&base, "a", "2"));
    bench.catalog.swap(&base, &first).await.unwrap();
    assert_eq!(bench.properties().await["a"], "1");
    for late in [&first, &second] {
        let why = bench.catalog.swap(&base, late).await.unwrap_err();
        assert!(matches!(&why, NotSwapped::Conflict(error) if error.retryable()), "{why:?}");
    }
    assert_eq!(bench.properties().await["a"], "1");

    let mut connection = bench.connection().await;
    let (now, previous): (String, String) =
        sqlx::query_as("SELECT metadata_location, previous_metadata_location FROM iceberg_tables")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(Some(previous.as_str()), base.table.metadata_location());
    let table = bench.catalog.load_table(&ident()).await.unwrap();
    assert_eq!(Some(now.as_str()), table.metadata_location());
    assert_eq!(table.metadata().metadata_log().len(), 1);
}

#[tokio::test]
async fn a_table_that_was_dropped_conflicts_and_is_missing_then() {
    let bench = Bench::new().await;
    let base = bench.catalog.load(&ident()).await.unwrap();
    bench.catalog.drop_table(&ident()).await.unwrap();
    let why = bench.catalog.swap(&base, &with_property(&base, "a", "1")).await.unwrap_err();
    assert!(matches!(why, NotSwapped::Conflict(_)), "{why:?}");
    assert_eq!(bench.catalog.load(&ident()).await.unwrap_err().kind(), ErrorKind::TableNotFound);
    // A view has its row in the same table.
    let location = base.table.metadata_location().unwrap();
    bench
        .run(&format!("INSERT INTO iceberg_tables VALUES ('frazil', 'db', 't', '{location}', NULL, 'VIEW')"))
        .await;
    assert_eq!(bench.catalog.load(&ident()).await.unwrap_err().kind(), ErrorKind::TableNotFound);
    let why = bench.catalog.swap(&base, &with_property(&base, "a", "1")).await.unwrap_err();
    assert!(matches!(why, NotSwapped::Conflict(_)), "{why:?}");
}

#[tokio::test]
async fn a_table_is_created_once() {
    let bench = Bench::new().await;
    let again = bench.catalog.create_table(ident().namespace(), creation()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::TableAlreadyExists);
    let location = bench.catalog.load_table(&ident()).await.unwrap().metadata_location().unwrap().to_owned();
    let again = bench.catalog.register_table(&ident(), location.clone()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::TableAlreadyExists);
    let elsewhere = NamespaceIdent::new("missing".to_owned());
    let missing = bench.catalog.create_table(&elsewhere, creation()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NamespaceNotFound);
    bench.catalog.drop_table(&ident()).await.unwrap();
    bench.catalog.register_table(&ident(), location.clone()).await.unwrap();
    assert_eq!(
        bench.catalog.load_table(&ident()).await.unwrap().metadata_location(),
        Some(location.as_str())
    );
}

/// A COMMIT that fails is no success: the library's own catalog does not look.
#[tokio::test]
async fn a_swap_that_sqlite_does_not_keep_is_told() {
    let bench = Bench::new().await;
    let base = bench.catalog.load(&ident()).await.unwrap();
    let next = with_property(&base, "a", "1");
    // Another program writes for longer than we wait.
    let impatient =
        SqliteConnectOptions::new().filename(bench.database()).busy_timeout(std::time::Duration::ZERO);
    let pool = SqlitePoolOptions::new().connect_lazy_with(impatient);
    let catalog = SqliteCatalog { pool, ..open(bench.folder.path()).await };
    let mut other = bench.connection().await;
    let writing = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let why = catalog.swap(&base, &next).await.unwrap_err();
    assert!(matches!(&why, NotSwapped::Unknown(error) if error.message().contains("locked")), "{why:?}");
    writing.rollback().await.unwrap();
    assert!(bench.properties().await.is_empty());
    catalog.swap(&base, &next).await.unwrap();
    assert_eq!(bench.properties().await["a"], "1");
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_a_refusal() {
    let bench = Bench::new().await;
    let base = bench.catalog.load(&ident()).await.unwrap();
    let options = SqliteConnectOptions::new().filename(bench.database()).read_only(true);
    let pool = SqlitePoolOptions::new().connect_lazy_with(options);
    let catalog = SqliteCatalog { pool, ..open(bench.folder.path()).await };
    let why = catalog.swap(&base, &with_property(&base, "a", "1")).await.unwrap_err();
    assert!(matches!(&why, NotSwapped::Refused(error) if error.message().contains("readonly")), "{why:?}");
}

/// Names that others give to metadata files, and files that are gzip without saying so.
#[tokio::test]
async fn tables_of_other_programs_are_changed() {
    const UUID: &str = "2cd22b57-5127-4198-92ba-e4e67c79821b";
    for (name, is_gzip) in [
        ("v3.metadata.json".to_owned(), false),
        (format!("00004-{UUID}.gz.metadata.json"), true),
        (format!("00004-{UUID}.metadata.json.gz"), true),
        (format!("00004-{UUID}.metadata.json"), true),
        ("20260301T101500Z.metadata.json".to_owned(), false),
    ] {
        let bench = Bench::new().await;
        let table = bench.catalog.load_table(&ident()).await.unwrap();
        let json = serde_json::to_vec(table.metadata()).unwrap();
        let (path, location) = {
            let folder = table.metadata().location().to_owned();
            (
                format!("{}/metadata/{name}", folder.trim_start_matches("file://")),
                format!("{folder}/metadata/{name}"),
            )
        };
        let bytes = if is_gzip { gzip(&json) } else { json };
        std::fs::write(&path, bytes).unwrap();
        bench.catalog.drop_table(&ident()).await.unwrap();
        bench.catalog.register_table(&ident(), location.clone()).await.unwrap();
        for value in ["1", "2"] {
            let table = bench.catalog.load_table(&ident()).await.unwrap();
            let transaction = Transaction::new(&table);
            let action = transaction.update_table_properties().set("a".to_owned(), value.to_owned());
            action.apply(transaction).unwrap().commit(&bench.catalog).await.unwrap();
            assert_eq!(bench.properties().await["a"], value, "{name}");
        }
        let table = bench.catalog.load_table(&ident()).await.unwrap();
        assert_eq!(table.metadata().metadata_log()[0].metadata_file, location);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn metadata_lie_where_the_table_wants_them_and_in_its_codec() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(folder.path()).await;
    catalog.create_namespace(ident().namespace(), HashMap::new()).await.unwrap();
    let elsewhere = format!("file://{}/else/where", folder.path().display());
    let properties = [("write.metadata.path", elsewhere.as_str())];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    catalog
        .create_table(ident().namespace(), TableCreation { properties: properties.into(), ..creation() })
        .await
        .unwrap();
    for (codec, suffix) in [
        ("gzip", ".gz.metadata.json"),
        ("GZIP", ".gz.metadata.json"),
        ("none", ".metadata.json"),
        ("zstd", ".metadata.json"),
    ] {
        let base = catalog.load(&ident()).await.unwrap();
        catalog.swap(&base, &with_property(&base, "write.metadata.compression-codec", codec)).await.unwrap();
        let table = open(folder.path()).await.load_table(&ident()).await.unwrap();
        let location = table.metadata_location().unwrap();
        assert!(location.starts_with(&elsewhere) && location.ends_with(suffix), "{codec}: {location}");
        assert_eq!(location.ends_with(".gz.metadata.json"), suffix == ".gz.metadata.json", "{codec}");
        let bytes = std::fs::read(location.trim_start_matches("file://")).unwrap();
        assert_eq!(serde_json::from_slice::<TableMetadata>(&bytes).is_ok(), suffix == ".metadata.json");
    }
}
