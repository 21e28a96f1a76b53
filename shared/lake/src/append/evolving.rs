//! The table as an attempt is to find it: as it is, or with what its rows need besides.

use iceberg::Result;
use iceberg::table::Table;

use crate::commit::SchemaChange;
use crate::decode::unknown::Fixed;
use crate::growth::{Growth, grown};

/// Times that a table grows for one commit. A pass tells nearly always all that its rows need; a next one may find that
/// what came of it takes not all of them.
const MAX_GROWTHS: u32 = 3;

/// A table and how its schema is to change with the next commit.
pub(crate) struct Evolving {
    table: Table,
    change: SchemaChange,
    fixed: Option<Fixed>,
    growths: u32,
}

impl Evolving {
    /// `table` as it is. It stays so if there is a reason, `fixed`.
    pub(crate) fn of(table: &Table, fixed: Option<Fixed>) -> Self {
        Self { table: table.clone(), change: SchemaChange::default(), fixed, growths: 0 }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Whether it has not grown.
    pub(crate) fn is_as_loaded(&self) -> bool {
        self.change.is_empty()
    }

    pub(crate) fn fixed(&self) -> Option<Fixed> {
        self.fixed
    }

    /// Takes up what rows lack. Where there is too much of it, nothing is.
    ///
    /// # Errors
    /// The schema cannot be made: a defect.
    pub(crate) fn grow(&mut self, growth: &Growth) -> Result<()> {
        let change = growth.change(self.table.metadata());
        if growth.is_full() || change.is_empty() || self.growths >= MAX_GROWTHS {
            tracing::warn!(
                table = %self.table.identifier(),
                "the rows bring more fields than the table may have columns, and none of them becomes one"
            );
            self.fixed = Some(Fixed::Full);
            return Ok(());
        }
        self.growths += 1;
        self.table = grown(&self.table, &change)?;
        self.change = std::mem::take(&mut self.change).and(change);
        Ok(())
    }

    /// How the schema changes with the commit of what was written.
    pub(crate) fn into_change(self) -> Option<SchemaChange> {
        (!self.change.is_empty()).then_some(self.change)
    }
}
