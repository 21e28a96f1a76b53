//! The plan that reads files.
//!
//! In: the files of a table, shared out by [`parts`]. Out: a stream of rows for each part.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::scan::FileScanTask;

use crate::read::Reader;

/// Shares files out among at most `count` parts, so that each has about the same bytes.
pub(crate) fn parts(mut tasks: Vec<FileScanTask>, count: usize) -> Vec<Vec<FileScanTask>> {
    tasks.sort_by(|one, other| {
        let key = |task: &FileScanTask| Reverse(task.file_size_in_bytes);
        key(one).cmp(&key(other)).then_with(|| one.data_file_path.cmp(&other.data_file_path))
    });
    let mut parts: Vec<Vec<FileScanTask>> = vec![Vec::new(); count.clamp(1, tasks.len().max(1))];
    let mut lightest: BinaryHeap<Reverse<(u64, usize)>> =
        (0..parts.len()).map(|at| Reverse((0, at))).collect();
    for task in tasks {
        if let Some(Reverse((bytes, at))) = lightest.pop()
            && let Some(part) = parts.get_mut(at)
        {
            lightest.push(Reverse((bytes.saturating_add(task.file_size_in_bytes), at)));
            part.push(task);
        }
    }
    parts
}

/// Reads the files of one table.
#[derive(Debug)]
pub(crate) struct FileScan {
    table: String,
    reader: Arc<Reader>,
    parts: Vec<Vec<FileScanTask>>,
    properties: Arc<PlanProperties>,
}

impl FileScan {
    pub(crate) fn new(table: String, reader: Reader, parts: Vec<Vec<FileScanTask>>) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(reader.projected.clone()),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { table, reader: Arc::new(reader), parts, properties }
    }
}

impl DisplayAs for FileScan {
    fn fmt_as(&self, _: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> =
            self.reader.projected.fields().iter().map(|field| field.name().as_str()).collect();
        let files: usize = self.parts.iter().map(Vec::len).sum();
        write!(out, "FileScan: table={}, files={files}, columns=[{}]", self.table, columns.join(", "))
    }
}

impl ExecutionPlan for FileScan {
    fn name(&self) -> &str {
        "FileScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(tasks) = self.parts.get(partition).cloned() else {
            return internal_err!("{} has no part {partition}", self.table);
        };
        let reader = self.reader.clone();
        let pool = context.memory_pool().clone();
        let read = move |task| reader.clone().read(task, pool.clone());
        let batches = stream::iter(tasks).then(read).try_flatten();
        let schema: SchemaRef = self.reader.projected.clone();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}
