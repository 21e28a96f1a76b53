//! JSON records -> Arrow record batches of a table's schema.
//!
//! In: the text of one record at a time. Out: a batch when the caller asks for it. A record that does not fit the
//! schema is refused alone, with the path of its field, the value's kind and what was expected; the rows around it
//! stand. Fields that the schema does not have are refused too unless they are null, or it is said what the table lacks
//! for them (`unknown.rs`): nothing a row holds is lost silently. The pipeline's own columns are filled in on the way.

mod arrow;
mod column;
mod fault;
mod fill;
mod members;
pub(crate) mod name;
mod number;
mod plain;
mod scalar;
mod source;
mod spelling;
mod system;
mod time;
mod unit;
pub(crate) mod unknown;
mod zeros;

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef as ArrowSchemaRef;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{Schema, TableMetadata};
use jiter::Jiter;
use records::rejection::{Reason, Refusal};

use self::column::Column;
use self::fault::Fault;
use self::members::Members;
pub(crate) use self::name::HEADERS;
pub use self::name::{FILE_NAME, PROCESSING_TIME};
pub(crate) use self::number::{double, scaled};
use self::plain::Luck;
use self::source::Source;
use self::system::System;
pub use self::system::{SystemColumn, SystemValue};
pub(crate) use self::time::instant;
pub(crate) use self::unit::Units;
pub use self::unknown::Lack;
use self::unknown::{Fixed, Policy, Unfit, empty_string_is_null};
use self::zeros::Zeros;

/// Collects rows into batches.
#[derive(Debug)]
pub struct RowDecoder {
    schema: ArrowSchemaRef,
    members: Members,
    /// The pipeline's own columns.
    system: System,
    /// What becomes of fields that have no column.
    policy: Policy,
    /// Fields that were left out since the last look.
    ignored: u64,
    /// Most bytes that a row may take in memory.
    row_bytes: usize,
    /// Bytes that a row takes whatever it holds, once every column has a value.
    slot_bytes: usize,
    rows: usize,
    /// Strings and elements of the rows since the last batch.
    content_bytes: usize,
    /// Bytes a row of the columns that have had a value since the last batch.
    begun_bytes: usize,
    zeros: Zeros,
    tape: Vec<u8>,
    /// Of reading records in one pass.
    luck: Luck,
}

impl RowDecoder {
    /// A decoder to `schema`, for rows that were processed at `processing_time`, an RFC 3339 date-time, and of which no
    /// object is known.
    ///
    /// # Errors
    /// As of [`RowDecoder::with_system`].
    pub fn new(schema: &Schema, processing_time: &str) -> iceberg::Result<Self> {
        Self::with_system(schema, &SystemColumn::of_object("", processing_time))
    }

    /// A decoder to `schema`, for rows with the values `system`. A source that fills more columns than every source does
    /// names them all.
    ///
    /// # Errors
    /// A column type that cannot be written, or a pipeline column of a type that cannot hold its value.
    pub fn with_system(schema: &Schema, system: &[SystemColumn<'_>]) -> iceberg::Result<Self> {
        let arrow: ArrowSchemaRef = Arc::new(schema_to_arrow_schema(schema)?);
        let fields = schema.as_struct().fields();
        let reserved = system::reserved(fields, system);
        let members = Members::of_table(fields, arrow.fields(), &reserved)?;
        let slot_bytes = members.slot_bytes();
        let mut decoder = Self {
            schema: arrow,
            members,
            system: System::new(fields, &reserved),
            policy: Policy::strict(),
            ignored: 0,
            row_bytes: usize::MAX,
            slot_bytes,
            rows: 0,
            content_bytes: 0,
            begun_bytes: 0,
            zeros: Zeros::default(),
            tape: Vec::new(),
            luck: Luck::default(),
        };
        decoder.system.set(system);
        decoder.system.push(&mut decoder.members, 0).map_err(|fault| {
            let what = fault.into_refusal().message;
            let what = format!("the table cannot take the pipeline's own columns: {what}");
            iceberg::Error::new(iceberg::ErrorKind::FeatureUnsupported, what)
        })?;
        decoder.members.truncate(0);
        Ok(decoder)
    }

    /// A decoder to the current schema of the table of `metadata`, by its properties, for rows with the values `system`.
    ///
    /// # Errors
    /// The same, or a property `frazil...` of a value that means nothing.
    pub fn for_table(metadata: &TableMetadata, system: &[SystemColumn<'_>]) -> iceberg::Result<Self> {
        Self::for_fixed(metadata, system, None)
    }

    /// The same, where the table cannot grow if there is a reason for it.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn for_fixed(
        metadata: &TableMetadata,
        system: &[SystemColumn<'_>],
        fixed: Option<Fixed>,
    ) -> iceberg::Result<Self> {
        let units = Units::of(metadata.properties())?;
        if let Err(error) = units.check(metadata.current_schema()) {
            // The column may have been dropped or renamed since: no reason to stop.
            tracing::warn!("{}", error.message());
        }
        let mut decoder = Self::with_system(metadata.current_schema(), system)?;
        decoder.members.set_units(&units);
        if empty_string_is_null(metadata.properties())? {
            decoder.members.empty_is_null();
        }
        decoder.policy = Policy::of(metadata, fixed)?;
        if let Some(at) = decoder.policy.rest_column() {
            decoder.members.hide(at);
        }
        Ok(decoder)
    }

    /// A row may take so many bytes of memory, whatever it takes as text: `{}` in a list is two bytes and a value in every
    /// field of a struct.
    pub fn set_row_bytes(&mut self, bytes: usize) {
        self.row_bytes = bytes;
    }

    /// The rows to come have the values `system`; a pipeline column that is not among them has none.
    pub fn set_system(&mut self, system: &[SystemColumn<'_>]) {
        self.system.set(system);
    }

    /// Whether the table has the column `name`, and the pipeline fills it.
    pub(crate) fn fills(&self, name: &str) -> bool {
        self.system.has(name)
    }

    /// Adds `record`, one JSON value by grammar, as a row; or says what the table lacks to take it, and adds nothing.
    ///
    /// # Errors
    /// Why the row is refused; the rows before it are untouched.
    pub fn push(&mut self, record: &[u8]) -> Result<Vec<Lack>, Refusal> {
        match self.push_plain(record, |taken| taken.len() == record.len()) {
            Some(_) => Ok(Vec::new()),
            None => self.push_judged(record),
        }
    }

    /// The same, slower: by the reader that judges what the other one leaves.
    ///
    /// # Errors
    /// The same.
    pub fn push_judged(&mut self, record: &[u8]) -> Result<Vec<Lack>, Refusal> {
        let outcome = std::str::from_utf8(record)
            .map_err(|error| {
                let what = format!("byte {} of the record is not UTF-8", error.valid_up_to());
                Fault::new(Reason::NotUtf8, what)
            })
            .and_then(|text| self.push_object(text))
            .and_then(|unfit| self.push_others(unfit));
        match outcome {
            Ok(lacks) if lacks.is_empty() => {
                self.rows += 1;
                Ok(lacks)
            }
            Ok(lacks) => {
                self.members.truncate(self.rows);
                Ok(lacks)
            }
            Err(fault) => {
                self.members.truncate(self.rows);
                if fault.reason == Reason::RecordTooLarge {
                    self.members.columns.iter_mut().for_each(Column::shrink);
                }
                Err(fault.into_refusal())
            }
        }
    }

    /// The same for a record for which the table lacks something: without it.
    ///
    /// # Errors
    /// Why the row is refused.
    pub(crate) fn push_without(&mut self, record: &[u8]) -> Result<(), Refusal> {
        let fixed = self.policy.fix(Some(Fixed::Late));
        let pushed = self.push_judged(record);
        self.policy.fix(fixed);
        match pushed?.is_empty() {
            true => Ok(()),
            false => {
                Err(Refusal::new(Reason::UnknownField, "the table lacks a column for a field of the row"))
            }
        }
    }

    /// Adds what no column of the record's own takes, and the pipeline's columns. Gives what is lacking for that.
    fn push_others(&mut self, mut unfit: Unfit) -> Result<Vec<Lack>, Fault> {
        self.policy.need_rest(&mut unfit);
        if !unfit.lacks.is_empty() {
            return Ok(unfit.lacks);
        }
        if !unfit.rest.is_empty()
            && let Some(column) = self.policy.rest_column().and_then(|at| self.members.column(at))
        {
            column.push_rest(self.rows, &unfit.rest)?;
        }
        self.system.push(&mut self.members, self.rows)?;
        self.ignored += unfit.ignored;
        Ok(unfit.lacks)
    }

    fn push_object(&mut self, text: &str) -> Result<Unfit, Fault> {
        if !text.starts_with('{') {
            let kind = match Jiter::new(text.as_bytes()).peek() {
                Ok(peek) => scalar::kind(peek),
                Err(_) => "nothing",
            };
            return Err(Fault::new(Reason::NotAnObject, format!("expected a JSON object, found {kind}")));
        }
        let mut source = Source::new(text, std::mem::take(&mut self.tape), self.row_bytes, &self.policy);
        let outcome = source.json.peek().map_err(Fault::from);
        let outcome = outcome.and_then(|_| self.members.push(&mut source, self.rows));
        let outcome = outcome.map_err(|fault| fault.behind(source.offset));
        self.begun_bytes += source.size.begun;
        if outcome.is_ok() {
            self.content_bytes += source.size.content;
        }
        self.tape = source.json.into_tape();
        outcome.map(|()| source.unfit)
    }

    /// Fields that were left out of rows since it was last asked.
    pub(crate) fn take_ignored(&mut self) -> u64 {
        std::mem::take(&mut self.ignored)
    }

    /// Rows since the last batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes of memory the rows since the last batch take.
    pub fn bytes(&self) -> usize {
        self.content_bytes + self.rows * (self.begun_bytes + self.system.len() * 32)
    }

    /// Whether it is time for a batch: it takes `batch_bytes`, or a row with a value in every column would make it take
    /// more than a row may.
    pub fn is_full(&self, batch_bytes: usize) -> bool {
        self.bytes() >= batch_bytes || self.rows.saturating_mul(self.slot_bytes) >= self.row_bytes
    }

    /// The rows since the last batch.
    ///
    /// # Errors
    /// Arrow's, if the columns do not make a batch: a defect of this crate.
    pub fn finish(&mut self) -> iceberg::Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = self
            .members
            .finish(self.rows, &mut self.zeros)
            .and_then(|columns| RecordBatch::try_new_with_options(self.schema.clone(), columns, &options))
            .map_err(|error| {
                iceberg::Error::new(iceberg::ErrorKind::Unexpected, "columns make no batch")
                    .with_source(error)
            })?;
        (self.rows, self.content_bytes, self.begun_bytes) = (0, 0, 0);
        Ok(batch)
    }
}

#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod tests;
