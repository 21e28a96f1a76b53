//! Rows that need more than the table has -> what to do about it in the time that there is.
//!
//! In: what a pass found lacking, how long it took, and what it has written without. Out: a [`Way`]. Where there is time, the
//! objects are read again for the grown table, and columns and rows come in one commit. Where there is none in reserve, the
//! table gets its columns at once, and the rows come by another pass, of this invocation or the next. If the table may not
//! get them, the rows go in without: otherwise they would come again for ever.

use std::time::Duration;

use iceberg::Result;
use iceberg::table::Table;
use tokio::time::Instant;

use super::Invocation;
use super::evolving::Evolving;
use crate::decode::unknown::Fixed;
use crate::error::Kind;
use crate::growth::Growth;
use crate::write::{Attempted, Without};

/// How an invocation goes on.
pub(super) enum Way {
    /// By another pass.
    Again,
    /// From the table as it is now.
    Reload,
    /// With what was written.
    Without(Box<Attempted>),
    /// There is no time.
    End,
}

/// What came of the columns alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grown {
    Yes,
    Denied,
    Failed,
}

async fn undo(without: Option<Box<Without>>) {
    if let Some(without) = without {
        without.undo().await;
    }
}

impl Invocation<'_> {
    /// What follows on a pass that took so long and found `growth`. `table` is as it was loaded; `evolving`, what the pass was
    /// for, and what the next one is to be for. There is time until `cut_off`.
    ///
    /// # Errors
    /// The storage's; the schema cannot be made: a defect.
    pub(super) async fn way_on(
        &mut self,
        table: &Table,
        evolving: &mut Evolving,
        (growth, without): (Growth, Option<Box<Without>>),
        took: Duration,
        cut_off: Instant,
    ) -> Result<Way> {
        let has_time = |passes| Instant::now() + took * passes <= cut_off;
        // What was written for a table that has grown already is for no other.
        let (without, outdated) = match evolving.is_as_loaded() {
            true => (without, None),
            false => (None, without),
        };
        undo(outdated).await;
        evolving.grow(&growth)?;
        let is_full = evolving.fixed() != self.fixed;
        // The catalog may refuse the columns: that is one more pass.
        if has_time(if is_full { 1 } else { 2 }) {
            undo(without).await;
            return Ok(Way::Again);
        }
        if !is_full {
            let grown = self.grow_alone(evolving).await;
            if grown != Grown::Denied {
                undo(without).await;
                return Ok(if grown == Grown::Yes && has_time(1) { Way::Reload } else { Way::End });
            }
            self.fixed = Some(Fixed::Denied);
        }
        let Some(without) = without else { return Ok(Way::Again) };
        tracing::warn!(
            table = %self.options.table,
            "no time to read the objects again; the rows go in without the columns that they bring"
        );
        *evolving = Evolving::of(table, self.fixed);
        Ok(Way::Without(Box::new(without.close().await?)))
    }

    /// Commits what the table is to grow by, without the rows.
    async fn grow_alone(&self, evolving: &Evolving) -> Grown {
        let (table, schema) = (&self.options.table, evolving.table().metadata().current_schema());
        tracing::warn!(%table, "little time to read the objects again for the columns that they bring; adding the columns alone");
        match self.lake.evolve(table, schema).await {
            Ok(_) => Grown::Yes,
            Err(error) if [Kind::Denied, Kind::Invalid].contains(&Kind::of(&error)) => {
                tracing::warn!(%table, %error, "the table may not get the columns that its rows bring");
                Grown::Denied
            }
            Err(error) => {
                tracing::error!(%table, %error, "the columns could not be added");
                Grown::Failed
            }
        }
    }
}
