//! Changes that no function makes yet, left for engines that this project did not write: `tests/interop/run.sh 14`.

use iceberg::spec::{DataFile, NestedField, NestedFieldRef, Operation, PrimitiveType, Schema};

use super::tests::in_seconds;
use super::*;
use crate::catalog::Lake;
use crate::decode::RowDecoder;
use crate::definition::TableDefinition;
use crate::token::Token;
use crate::write::{TableWriter, WriteLimits};

const FIRST: &str = r#"{"n": 1, "x": 0.5, "d": "1.25"}"#;
const WIDE: &str = r#"{"n": 3000000000, "x": 0.1, "d": "1234567.25", "added": "new"}"#;

struct Table {
    lake: Lake,
    ident: TableIdent,
}

impl Table {
    async fn create() -> Self {
        let folder = std::path::PathBuf::from(std::env::var("FRAZIL_TEST_FOLDER").unwrap());
        let warehouse = format!("file://{}", folder.join("warehouse").display());
        let lake = Lake::open_sqlite(&folder.join("catalog.db"), &warehouse).await.unwrap();
        let ident = TableIdent::from_strs(["lake", "events"]).unwrap();
        let columns = [("n", PrimitiveType::Int), ("x", PrimitiveType::Float), ("d", decimal(4))];
        let fields = (1..).zip(columns).map(|(id, (name, kind))| column(id, name, kind));
        let definition = TableDefinition {
            name: "events".to_owned(),
            schema: Schema::builder().with_fields(fields).build().unwrap(),
            partition_spec: None,
            write_order: None,
            properties: [("commit.manifest.min-count-to-merge".to_owned(), "2".to_owned())].into(),
        };
        lake.create(&ident, definition).await.unwrap();
        Self { lake, ident }
    }

    async fn load(&self) -> iceberg::table::Table {
        self.lake.catalog.load_table(&self.ident).await.unwrap()
    }

    async fn files(&self, rows: &[&str]) -> Vec<DataFile> {
        let table = self.load().await;
        let limits = WriteLimits {
            buffer_bytes: usize::MAX,
            open_partitions: 1,
            spill_bytes: u64::MAX,
            files: usize::MAX,
            two_encoders: false,
        };
        let mut decoder = RowDecoder::new(table.metadata().current_schema(), "1970-01-01T00:00:00Z").unwrap();
        for row in rows {
            assert!(decoder.push(row.as_bytes()).unwrap().is_empty());
        }
        let mut writer = TableWriter::new(&table, limits, Uuid::from_u128(fastrand::u128(..))).unwrap();
        writer.write(&decoder.finish().unwrap()).await.unwrap();
        writer.close().await.unwrap()
    }

    /// Commits `files`, as an append that `change` makes something else.
    async fn commit(
        &self,
        token: &str,
        files: Vec<DataFile>,
        change: impl FnOnce(Change<'_>) -> Change<'_>,
    ) -> iceberg::table::Table {
        let table = self.load().await;
        let tokens = [Token::new("raw", token, "1")];
        let marks = Objects { tokens: &tokens, rejected: 0 };
        let append = Change {
            looked_at: table.metadata().current_snapshot_id(),
            ..Change::append(&files, &marks, Layout::of(&table), Uuid::from_u128(fastrand::u128(..)))
        };
        let change = change(append);
        let (tables, env) = (self.lake.catalog.as_ref(), Env::default());
        let metrics = &mut CommitMetrics::default();
        match commit(tables, &env, &self.ident, &change, in_seconds(10), metrics).await {
            Ok(Committed::Snapshot(table, _)) => *table,
            other => panic!("{other:?}"),
        }
    }
}

fn column(id: i32, name: &str, kind: PrimitiveType) -> NestedFieldRef {
    NestedField::optional(id, name, kind.into()).into()
}

fn decimal(precision: u32) -> PrimitiveType {
    PrimitiveType::Decimal { precision, scale: 2 }
}

#[tokio::test]
#[ignore = "another program looks at what it leaves in FRAZIL_TEST_FOLDER"]
async fn changes_for_other_engines() {
    let table = Table::create().await;
    table.commit("1", table.files(&[FIRST]).await, |append| append).await;
    let schema = SchemaChange {
        columns: vec![(None, column(4, "added", PrimitiveType::String))],
        promotions: vec![(1, PrimitiveType::Long), (2, PrimitiveType::Double), (3, decimal(9))],
    };
    table.commit("2", Vec::new(), |append| Change { schema: Some(schema), ..append }).await;
    let planned = table.commit("3", table.files(&[WIDE]).await, |append| append).await;
    let scan = planned.scan().build().unwrap().plan_files().await.unwrap();
    let files: Vec<iceberg::scan::FileScanTask> = futures::TryStreamExt::try_collect(scan).await.unwrap();
    assert_eq!(files.len(), 2);

    let audited = table.files(&[r#"{"n": 50}"#]).await;
    table.commit("4", audited, |append| Change { branch: "audit", looked_at: None, ..append }).await;

    let replace = Replace {
        files: files.into_iter().map(|file| file.data_file_path).collect(),
        planned_on: planned.metadata().current_snapshot_id().unwrap(),
        operation: Operation::Replace,
        data_sequence_number: Some(planned.metadata().last_sequence_number()),
        summary: HashMap::new(),
    };
    let compacted = table.files(&[FIRST, WIDE]).await;
    table.commit("5", compacted, |append| Change { replace: Some(replace), ..append }).await;
    table.commit("6", table.files(&[r#"{"n": 7}"#]).await, |append| append).await;
}
