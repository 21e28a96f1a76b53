//! One column's values, growing row by row, until they become an Arrow array.
//!
//! In: JSON values pulled from a parser. Out: an Arrow array of the Iceberg type's Arrow mapping (Iceberg
//! specification, "Parquet" under Appendix A). A value that does not fit is refused with the path of its field, its kind and
//! what was expected; the caller then cuts all columns back to the rows that stand, which is why these are plain
//! vectors and not Arrow's own builders.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray, ListArray, MapArray,
    PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef};
use iceberg::spec::{NestedField, PrimitiveType, Type};
use jiter::{Jiter, Peek};
use records::rejection::Reason;
use records::scan;

use super::scalar::{self, Scalar};
use super::{Fault, is_column_name};

/// Keys of a map among which a second one is found by looking at each.
const FEW_KEYS: usize = 16;

/// A record while it is read.
pub(super) struct Source<'a> {
    pub(super) json: Jiter<'a>,
    /// What `json` reads, and where that begins in the record.
    text: &'a str,
    pub(super) offset: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str, tape: Vec<u8>) -> Self {
        Self { json: Jiter::with_tape(text.as_bytes(), tape), text, offset: 0 }
    }

    /// Steps over the value that the parser stands at. Its text, byte for byte.
    ///
    /// The grammar alone counts here: the parser's own skip refuses what only matters to a reader of the value
    /// (lone surrogates, numbers of thousands of digits) and nests less deep than the framing does.
    fn skip_value(&mut self) -> Result<&'a str, Fault> {
        let start = self.json.current_index();
        let end = scan::value_end(self.text.as_bytes(), start)
            .map_err(|_| Fault::invalid_json("a value breaks the JSON grammar", start))?;
        let (read, rest) = self.text.split_at(end);
        let tape = std::mem::replace(&mut self.json, Jiter::new(b"")).into_tape();
        *self = Self { json: Jiter::with_tape(rest.as_bytes(), tape), text: rest, offset: self.offset + end };
        Ok(&read[start..])
    }
}

/// One column, at any depth of the schema.
#[derive(Debug)]
pub(super) struct Column {
    name: String,
    required: bool,
    /// Filled by the pipeline, never from JSON.
    hidden: bool,
    field: FieldRef,
    nulls: NullBufferBuilder,
    values: Values,
}

/// The values of a column by the rule that decodes them. Variable-length values are one buffer and its offsets.
#[derive(Debug)]
enum Values {
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal { precision: u32, scale: u32, values: Vec<i128> },
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    TimestampNanos(Vec<i64>),
    String { offsets: Vec<i32>, bytes: Vec<u8> },
    Binary { offsets: Vec<i64>, bytes: Vec<u8> },
    Uuid(Vec<u8>),
    Fixed { width: usize, bytes: Vec<u8> },
    Struct(Members),
    List { offsets: Vec<i32>, element: Box<Column> },
    Map { offsets: Vec<i32>, key: Box<Column>, value: Box<Column> },
}

/// The columns of a struct, or of the table itself.
#[derive(Debug)]
pub(super) struct Members {
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
}

/// What a key of an object stands for.
enum Slot {
    Column(usize),
    Unknown(String),
}

impl Members {
    /// Columns for `fields`, which `arrow` describes in the same order. `hidden` fields take no JSON.
    pub(super) fn new(
        fields: &[Arc<NestedField>],
        arrow: &[FieldRef],
        hidden: &[&str],
    ) -> Result<Self, iceberg::Error> {
        let columns = fields
            .iter()
            .zip(arrow)
            .map(|(field, arrow)| {
                let column = Column::new(field, arrow)?;
                Ok(Column { hidden: hidden.contains(&field.name.as_str()), ..column })
            })
            .collect::<Result<Vec<_>, iceberg::Error>>()?;
        let by_name = columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        Ok(Self { columns, by_name })
    }

    pub(super) fn column(&mut self, at: usize) -> Option<&mut Column> {
        self.columns.get_mut(at)
    }

    /// Adds the object that the parser stands at as row `row`: one value to every column but the `hidden` ones.
    pub(super) fn push(&mut self, source: &mut Source<'_>, row: usize) -> Result<(), Fault> {
        let mut expected = 0;
        let mut slot = source.json.known_object()?.map(|key| self.resolve(key, expected));
        while let Some(found) = slot {
            let peek = source.json.peek()?;
            match found {
                Slot::Column(at) => {
                    let column = &mut self.columns[at];
                    if column.len() > row {
                        return Err(Fault::new(Reason::DuplicateField, "the row gives this field twice")
                            .within(&column.name));
                    }
                    column.push(source, peek).map_err(|fault| fault.within(&column.name))?;
                    expected = at + 1;
                }
                Slot::Unknown(_) if matches!(peek, Peek::Null) => source.json.known_null()?,
                Slot::Unknown(name) => return Err(self.unknown(&name, peek)),
            }
            slot = source.json.next_key()?.map(|key| self.resolve(key, expected));
        }
        for column in &mut self.columns {
            if column.len() == row && !column.hidden {
                column.push_null().map_err(|fault| fault.within(&column.name))?;
            }
        }
        Ok(())
    }

    /// Rows usually have the same fields in the same order: `expected` and its successor are tried first.
    fn resolve(&self, key: &str, expected: usize) -> Slot {
        let near = (expected..self.columns.len().min(expected + 2)).find(|at| self.columns[*at].name == key);
        match near.or_else(|| self.by_name.get(key).copied()) {
            Some(at) if !self.columns[at].hidden => Slot::Column(at),
            _ => Slot::Unknown(key.to_owned()),
        }
    }

    fn unknown(&self, name: &str, peek: Peek) -> Fault {
        let kind = scalar::kind(peek);
        if !is_column_name(name) {
            let what = format!("no column can have this name (found {kind})");
            return Fault::new(Reason::InvalidName, what).within(name);
        }
        if self.columns.iter().any(|column| column.name == name) {
            let what = format!("the pipeline writes this column itself (found {kind})");
            return Fault::new(Reason::ReservedField, what).within(name);
        }
        let twin = self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        let hint =
            twin.map_or(String::new(), |twin| format!(", but {:?}: names are case-sensitive", twin.name));
        let what = format!("the table has no such column{hint} (found {kind})");
        Fault::new(Reason::UnknownField, what).within(name)
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.iter_mut().map(Column::finish).collect()
    }

    /// Bytes that a row takes whatever it holds.
    pub(super) fn fixed_row_bytes(&self) -> usize {
        self.columns.iter().map(Column::fixed_row_bytes).sum()
    }
}

impl Column {
    fn new(field: &NestedField, arrow: &FieldRef) -> Result<Self, iceberg::Error> {
        let values = match (field.field_type.as_ref(), arrow.data_type()) {
            (Type::Primitive(primitive), _) => match primitive {
                PrimitiveType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
                PrimitiveType::Int => Values::Int(Vec::new()),
                PrimitiveType::Long => Values::Long(Vec::new()),
                PrimitiveType::Float => Values::Float(Vec::new()),
                PrimitiveType::Double => Values::Double(Vec::new()),
                PrimitiveType::Decimal { precision, scale } => {
                    Values::Decimal { precision: *precision, scale: *scale, values: Vec::new() }
                }
                PrimitiveType::Date => Values::Date(Vec::new()),
                PrimitiveType::Time => Values::Time(Vec::new()),
                PrimitiveType::Timestamp | PrimitiveType::Timestamptz => Values::Timestamp(Vec::new()),
                PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => {
                    Values::TimestampNanos(Vec::new())
                }
                PrimitiveType::String => Values::String { offsets: vec![0], bytes: Vec::new() },
                PrimitiveType::Uuid => Values::Uuid(Vec::new()),
                PrimitiveType::Fixed(width) => Values::Fixed { width: *width as usize, bytes: Vec::new() },
                PrimitiveType::Binary => Values::Binary { offsets: vec![0], bytes: Vec::new() },
            },
            (Type::Struct(fields), DataType::Struct(arrow)) => {
                Values::Struct(Members::new(fields.fields(), arrow, &[])?)
            }
            (Type::List(list), DataType::List(element)) => {
                Values::List { offsets: vec![0], element: Box::new(Self::new(&list.element_field, element)?) }
            }
            (Type::Map(map), DataType::Map(entries, _)) => {
                let DataType::Struct(entry) = entries.data_type() else { return Err(unsupported(field)) };
                let [key, value] = &entry[..] else { return Err(unsupported(field)) };
                Values::Map {
                    offsets: vec![0],
                    key: Box::new(Self::new(&map.key_field, key)?),
                    value: Box::new(Self::new(&map.value_field, value)?),
                }
            }
            _ => return Err(unsupported(field)),
        };
        Ok(Self {
            name: field.name.clone(),
            required: field.required,
            hidden: false,
            field: arrow.clone(),
            nulls: NullBufferBuilder::new(0),
            values,
        })
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Adds the value that the parser stands at.
    fn push(&mut self, source: &mut Source<'_>, peek: Peek) -> Result<(), Fault> {
        if matches!(peek, Peek::Null) {
            source.json.known_null()?;
            return self.push_null();
        }
        let row = self.len();
        match &mut self.values {
            Values::Struct(members) => {
                if !matches!(peek, Peek::Object) {
                    return Err(Fault::mismatch("struct", scalar::kind(peek)));
                }
                members.push(source, row)?;
                self.nulls.append_non_null();
                Ok(())
            }
            Values::List { offsets, element } => {
                if !matches!(peek, Peek::Array) {
                    return Err(Fault::mismatch("list", scalar::kind(peek)));
                }
                let first = element.len();
                let mut next = source.json.known_array()?;
                while let Some(peek) = next {
                    let at = element.len() - first;
                    element.push(source, peek).map_err(|fault| fault.within(&format!("[{at}]")))?;
                    next = source.json.array_step()?;
                }
                offsets.push(element.len() as i32);
                self.nulls.append_non_null();
                Ok(())
            }
            Values::Map { offsets, key, value } => {
                if !matches!(peek, Peek::Object) {
                    return Err(Fault::mismatch("map", scalar::kind(peek)));
                }
                let mut seen = HashSet::new();
                let first = key.len();
                let mut next = source.json.known_object()?.map(str::to_owned);
                while let Some(name) = next {
                    key.push_scalar(Scalar::Text(&name)).map_err(|fault| fault.within(&name))?;
                    // The value counts, not the spelling: `7` and `7.0` are one key of a map of ints.
                    let last = key.len() - 1;
                    let repeated = if last - first < FEW_KEYS {
                        (first..last).any(|at| key.value_bytes(at) == key.value_bytes(last))
                    } else {
                        if seen.is_empty() {
                            seen.extend((first..last).map(|at| key.value_bytes(at).into_owned()));
                        }
                        !seen.insert(key.value_bytes(last).into_owned())
                    };
                    if repeated {
                        return Err(
                            Fault::new(Reason::DuplicateField, "the map gives this key twice").within(&name)
                        );
                    }
                    let peek = source.json.peek()?;
                    value.push(source, peek).map_err(|fault| fault.within(&name))?;
                    next = source.json.next_key()?.map(str::to_owned);
                }
                offsets.push(key.len() as i32);
                self.nulls.append_non_null();
                Ok(())
            }
            Values::String { offsets, bytes } if !matches!(peek, Peek::String) => {
                bytes.extend_from_slice(source.skip_value()?.as_bytes());
                offsets.push(bytes.len() as i32);
                self.nulls.append_non_null();
                Ok(())
            }
            _ => match peek {
                Peek::String => self.push_scalar(Scalar::Text(source.json.known_str()?)),
                Peek::True | Peek::False => self.push_scalar(Scalar::Boolean(source.json.known_bool(peek)?)),
                Peek::Array | Peek::Object => Err(Fault::mismatch(&self.expected(), scalar::kind(peek))),
                _ => {
                    let start = source.json.current_index();
                    source.json.known_number_bytes(peek)?;
                    self.push_scalar(Scalar::Number(&source.text[start..source.json.current_index()]))
                }
            },
        }
    }

    /// Adds a value that is neither null nor an array or object.
    pub(super) fn push_scalar(&mut self, value: Scalar<'_>) -> Result<(), Fault> {
        let misfit = |expected: String| Fault::mismatch(&expected, &value.describe());
        macro_rules! push {
            ($values:expr, $decoded:expr) => {
                match $decoded {
                    Some(decoded) => $values.push(decoded),
                    None => return Err(misfit(self.expected())),
                }
            };
        }
        match &mut self.values {
            Values::Boolean(values) => match value.boolean() {
                Some(decoded) => values.append(decoded),
                None => return Err(misfit(self.expected())),
            },
            Values::Int(values) => push!(values, value.integer()),
            Values::Long(values) => push!(values, value.integer()),
            Values::Float(values) => push!(values, value.float()),
            Values::Double(values) => push!(values, value.double()),
            Values::Decimal { precision, scale, values } => push!(values, value.decimal(*precision, *scale)),
            Values::Date(values) => push!(values, value.date()),
            Values::Time(values) => push!(values, value.time_of_day()),
            Values::Timestamp(values) => push!(values, value.timestamp_micros()),
            Values::TimestampNanos(values) => push!(values, value.timestamp_nanos()),
            Values::String { offsets, bytes } => {
                bytes.extend_from_slice(value.text().as_bytes());
                offsets.push(bytes.len() as i32);
            }
            Values::Uuid(bytes) => match value.uuid() {
                Some(decoded) => bytes.extend_from_slice(&decoded),
                None => return Err(misfit(self.expected())),
            },
            Values::Fixed { width, bytes } => {
                match value.binary().filter(|decoded| decoded.len() == *width) {
                    Some(decoded) => bytes.extend_from_slice(&decoded),
                    None => return Err(misfit(self.expected())),
                }
            }
            Values::Binary { offsets, bytes } => match value.binary() {
                Some(decoded) => {
                    bytes.extend_from_slice(&decoded);
                    offsets.push(bytes.len() as i64);
                }
                None => return Err(misfit(self.expected())),
            },
            Values::Struct(_) | Values::List { .. } | Values::Map { .. } => {
                return Err(misfit(self.expected()));
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Bytes that tell the value of row `at` from any other of a primitive column.
    fn value_bytes(&self, at: usize) -> Cow<'_, [u8]> {
        let bytes: Vec<u8> = match &self.values {
            Values::String { offsets, bytes } => {
                return bytes[offsets[at] as usize..offsets[at + 1] as usize].into();
            }
            Values::Binary { offsets, bytes } => {
                return bytes[offsets[at] as usize..offsets[at + 1] as usize].into();
            }
            Values::Uuid(bytes) => return bytes[at * 16..][..16].into(),
            Values::Fixed { width, bytes } => return bytes[at * *width..][..*width].into(),
            Values::Boolean(values) => vec![u8::from(values.get_bit(at))],
            Values::Int(values) | Values::Date(values) => values[at].to_ne_bytes().into(),
            Values::Long(values)
            | Values::Time(values)
            | Values::Timestamp(values)
            | Values::TimestampNanos(values) => values[at].to_ne_bytes().into(),
            Values::Float(values) => values[at].to_ne_bytes().into(),
            Values::Double(values) => values[at].to_ne_bytes().into(),
            Values::Decimal { values, .. } => values[at].to_ne_bytes().into(),
            Values::Struct(_) | Values::List { .. } | Values::Map { .. } => Vec::new(),
        };
        bytes.into()
    }

    /// Adds a null, or refuses in a required column.
    fn push_null(&mut self) -> Result<(), Fault> {
        if self.required {
            let what =
                format!("the column is required (expected {}, found null or nothing)", self.expected());
            return Err(Fault::new(Reason::MissingRequired, what));
        }
        self.nulls.append_null();
        self.push_placeholder();
        Ok(())
    }

    /// What stands where a parent is null: Arrow wants a slot in every child.
    fn push_masked(&mut self) {
        self.nulls.append(self.required);
        self.push_placeholder();
    }

    fn push_placeholder(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int(values) | Values::Date(values) => values.push(0),
            Values::Long(values)
            | Values::Time(values)
            | Values::Timestamp(values)
            | Values::TimestampNanos(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::String { offsets, bytes } => offsets.push(bytes.len() as i32),
            Values::Binary { offsets, bytes } => offsets.push(bytes.len() as i64),
            Values::Uuid(bytes) => bytes.extend_from_slice(&[0; 16]),
            Values::Fixed { width, bytes } => bytes.resize(bytes.len() + *width, 0),
            Values::Struct(members) => members.columns.iter_mut().for_each(Self::push_masked),
            Values::List { offsets, element } => offsets.push(element.len() as i32),
            Values::Map { offsets, key, .. } => offsets.push(key.len() as i32),
        }
    }

    /// Cuts the column back to its first `rows` values.
    fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int(values) | Values::Date(values) => values.truncate(rows),
            Values::Long(values)
            | Values::Time(values)
            | Values::Timestamp(values)
            | Values::TimestampNanos(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::String { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets[offsets.len() - 1] as usize);
            }
            Values::Binary { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets[offsets.len() - 1] as usize);
            }
            Values::Uuid(bytes) => bytes.truncate(rows * 16),
            Values::Fixed { width, bytes } => bytes.truncate(rows * *width),
            Values::Struct(members) => members.truncate(rows),
            Values::List { offsets, element } => {
                offsets.truncate(rows + 1);
                element.truncate(offsets[offsets.len() - 1] as usize);
            }
            Values::Map { offsets, key, value } => {
                offsets.truncate(rows + 1);
                let entries = offsets[offsets.len() - 1] as usize;
                key.truncate(entries);
                value.truncate(entries);
            }
        }
    }

    /// The values so far as an Arrow array; the column is empty afterwards.
    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let rows = self.len();
        let nulls = self.nulls.finish().filter(|nulls| nulls.null_count() > 0);
        let data_type = self.field.data_type().clone();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => primitive::<Int32Type>(values, nulls, data_type)?,
            Values::Long(values) => primitive::<Int64Type>(values, nulls, data_type)?,
            Values::Float(values) => primitive::<Float32Type>(values, nulls, data_type)?,
            Values::Double(values) => primitive::<Float64Type>(values, nulls, data_type)?,
            Values::Decimal { values, .. } => primitive::<Decimal128Type>(values, nulls, data_type)?,
            Values::Date(values) => primitive::<Date32Type>(values, nulls, data_type)?,
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls, data_type)?,
            Values::Timestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls, data_type)?,
            Values::TimestampNanos(values) => primitive::<TimestampNanosecondType>(values, nulls, data_type)?,
            Values::String { offsets, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(offsets, vec![0])));
                Arc::new(StringArray::try_new(offsets, Buffer::from_vec(renew(bytes, Vec::new())), nulls)?)
            }
            Values::Binary { offsets, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(offsets, vec![0])));
                Arc::new(LargeBinaryArray::try_new(
                    offsets,
                    Buffer::from_vec(renew(bytes, Vec::new())),
                    nulls,
                )?)
            }
            Values::Uuid(bytes) => {
                Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(std::mem::take(bytes)), nulls)?)
            }
            Values::Fixed { width, bytes } => {
                let bytes = Buffer::from_vec(std::mem::take(bytes));
                Arc::new(FixedSizeBinaryArray::try_new(*width as i32, bytes, nulls)?)
            }
            Values::Struct(members) => {
                let DataType::Struct(fields) = data_type else { return Err(mapping(&self.name)) };
                Arc::new(StructArray::try_new_with_length(fields, members.finish()?, nulls, rows)?)
            }
            Values::List { offsets, element } => {
                let DataType::List(field) = data_type else { return Err(mapping(&self.name)) };
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(offsets, vec![0])));
                Arc::new(ListArray::try_new(field, offsets, element.finish()?, nulls)?)
            }
            Values::Map { offsets, key, value } => {
                let DataType::Map(field, sorted) = data_type else { return Err(mapping(&self.name)) };
                let DataType::Struct(fields) = field.data_type() else { return Err(mapping(&self.name)) };
                let entries =
                    StructArray::try_new(fields.clone(), vec![key.finish()?, value.finish()?], None)?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(offsets, vec![0])));
                Arc::new(MapArray::try_new(field, offsets, entries, nulls, sorted)?)
            }
        })
    }

    fn fixed_row_bytes(&self) -> usize {
        match &self.values {
            Values::Boolean(_) => 1,
            Values::Int(_) | Values::Float(_) | Values::Date(_) => 4,
            Values::Decimal { .. } | Values::Uuid(_) => 16,
            Values::Fixed { width, .. } => *width,
            Values::Struct(members) => members.fixed_row_bytes(),
            _ => 8,
        }
    }

    /// The type as a person would name it.
    fn expected(&self) -> String {
        match &self.values {
            Values::Boolean(_) => "boolean".into(),
            Values::Int(_) => "int (a whole number of 32 bits)".into(),
            Values::Long(_) => "long (a whole number of 64 bits)".into(),
            Values::Float(_) => "float (a number of single precision)".into(),
            Values::Double(_) => "double (a number)".into(),
            Values::Decimal { precision, scale, .. } => {
                format!("decimal({precision},{scale}) (a number that it holds exactly)")
            }
            Values::Date(_) => "date (YYYY-MM-DD)".into(),
            Values::Time(_) => "time (HH:MM:SS.ffffff)".into(),
            Values::Timestamp(_) | Values::TimestampNanos(_) => {
                "timestamp (RFC 3339, or whole milliseconds since 1970)".into()
            }
            Values::String { .. } => "string".into(),
            Values::Binary { .. } => "binary (base64)".into(),
            Values::Uuid(_) => "uuid (8-4-4-4-12 hexadecimal digits)".into(),
            Values::Fixed { width, .. } => format!("fixed[{width}] (base64 of {width} bytes)"),
            Values::Struct(_) => "struct".into(),
            Values::List { .. } => "list".into(),
            Values::Map { .. } => "map".into(),
        }
    }
}

/// Takes `values` out and leaves `fresh` with as much room as they had.
fn renew<T>(values: &mut Vec<T>, mut fresh: Vec<T>) -> Vec<T> {
    fresh.reserve(values.len());
    std::mem::replace(values, fresh)
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: DataType,
) -> Result<ArrayRef, ArrowError> {
    let values = renew(values, Vec::new());
    Ok(Arc::new(PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls)?.with_data_type(data_type)))
}

fn unsupported(field: &NestedField) -> iceberg::Error {
    let what =
        format!("column {:?} has the type {}, which this release cannot write", field.name, field.field_type);
    iceberg::Error::new(iceberg::ErrorKind::FeatureUnsupported, what)
}

fn mapping(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("column {name:?} has another Arrow type than its Iceberg type maps to"))
}
