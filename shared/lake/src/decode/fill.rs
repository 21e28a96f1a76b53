//! JSON values -> columns.
//!
//! In: values pulled from a parser. Out: they stand in the columns. A value that does not fit is refused with the path
//! of its field, its kind and what was expected; what was added of its row until then is the caller's to cut off.

use std::collections::HashSet;

use iceberg::spec::PrimitiveType;
use jiter::Peek;
use records::rejection::Reason;

use super::column::{Column, Values};
use super::fault::Fault;
use super::scalar::{self, Scalar};
use super::source::Source;
use super::unit::Unit;
use super::unknown::Lack;

/// Digits of a decimal at most (Iceberg specification, "Primitive Types").
const MAX_DECIMAL_PRECISION: u32 = 38;
/// Keys of a map among which a second one is found by looking at each.
const FEW_KEYS: usize = 16;

impl Column {
    /// Adds the value that the parser stands at.
    pub(super) fn push(&mut self, source: &mut Source<'_>, peek: Peek) -> Result<(), Fault> {
        if matches!(peek, Peek::Null) {
            source.json.known_null()?;
            return self.push_null();
        }
        if self.empty_is_null
            && matches!(peek, Peek::String)
            && source
                .text
                .as_bytes()
                .get(source.json.current_index()..)
                .is_some_and(|rest| rest.starts_with(b"\"\""))
        {
            source.json.known_str()?;
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
                source.size.depth += 1;
                while let Some(peek) = next {
                    let (at, mark) = (element.len() - first, source.unfit.rest.len());
                    source.size.add(element.slot_bytes)?;
                    element.push(source, peek).map_err(|fault| fault.within(&format!("[{at}]")))?;
                    source.unfit.within(mark, format_args!("[{at}]"));
                    next = source.json.array_step()?;
                }
                source.size.depth -= 1;
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
                source.size.depth += 1;
                while let Some(name) = next {
                    source.size.add(key.slot_bytes + value.slot_bytes + name.len())?;
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
                    let mark = source.unfit.rest.len();
                    value.push(source, peek).map_err(|fault| fault.within(&name))?;
                    source.unfit.within(mark, &name);
                    next = source.json.next_key()?.map(str::to_owned);
                }
                source.size.depth -= 1;
                offsets.push(key.len() as i32);
                self.nulls.append_non_null();
                Ok(())
            }
            Values::String { offsets, bytes } if !matches!(peek, Peek::String) => {
                let text = source.skip_value()?;
                source.size.add(text.len())?;
                bytes.extend_from_slice(text.as_bytes());
                offsets.push(bytes.len() as i32);
                self.nulls.append_non_null();
                Ok(())
            }
            _ => {
                let value = match peek {
                    Peek::String => {
                        let text = source.json.known_str()?;
                        if matches!(self.values, Values::String { .. } | Values::Binary { .. }) {
                            source.size.add(text.len())?;
                        }
                        Scalar::Text(text)
                    }
                    Peek::True | Peek::False => Scalar::Boolean(source.json.known_bool(peek)?),
                    Peek::Array | Peek::Object => {
                        return Err(Fault::mismatch(&self.expected(), scalar::kind(peek)));
                    }
                    _ => {
                        let start = source.json.current_index();
                        source.json.known_number_bytes(peek)?;
                        Scalar::Number(&source.text[start..source.json.current_index()])
                    }
                };
                let fault = match self.push_scalar(value) {
                    Ok(()) => return Ok(()),
                    Err(fault) => fault,
                };
                let Some(wider) = self.wider(value).filter(|_| source.policy.may_widen(self.id)) else {
                    return Err(fault);
                };
                source.unfit.lacks.push(Lack::Promotion(self.id, wider));
                // The row is not kept, but the rest of it is looked at.
                self.nulls.append_non_null();
                self.push_placeholders(1);
                Ok(())
            }
        }
    }

    /// The type that the column can be promoted to (Iceberg specification, "Schema Evolution") and that holds `value`.
    fn wider(&self, value: Scalar<'_>) -> Option<PrimitiveType> {
        match &self.values {
            Values::Int(_) => value.integer::<i64>().map(|_| PrimitiveType::Long),
            Values::Float(_) => value.double().map(|_| PrimitiveType::Double),
            Values::Decimal { precision, scale, .. } => (*precision + 1..=MAX_DECIMAL_PRECISION)
                .find(|wider| value.decimal(*wider, *scale).is_some())
                .map(|precision| PrimitiveType::Decimal { precision, scale: *scale }),
            _ => None,
        }
    }

    /// Adds what goes to the rest column to row `row`: a JSON object of the values by their paths, or a map of their texts.
    pub(super) fn push_rest(&mut self, row: usize, rest: &[(String, String)]) -> Result<(), Fault> {
        let mut paths = HashSet::new();
        if let Some((path, _)) = rest.iter().find(|(path, _)| !paths.insert(path)) {
            return Err(Fault::new(Reason::DuplicateField, "the row gives this field twice").within(path));
        }
        self.fill(row);
        if let Values::Map { offsets, key, value } = &mut self.values {
            for (path, text) in rest {
                key.push_scalar(Scalar::Text(path))?;
                value.push_scalar(Scalar::Text(text))?;
            }
            offsets.push(key.len() as i32);
            self.nulls.append_non_null();
            return Ok(());
        }
        let fields: Vec<String> =
            rest.iter().map(|(path, text)| format!("{}:{text}", serde_json::Value::from(&**path))).collect();
        self.push_scalar(Scalar::Text(&format!("{{{}}}", fields.join(","))))
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
            Values::Date(values) => push!(values, value.date(self.unit)),
            Values::Time(values) => push!(values, value.time_of_day()),
            Values::Timestamp(values) => match value.timestamp_micros(self.unit) {
                Ok(decoded) => values.push(decoded),
                Err(found) => return Err(Fault::mismatch(&self.expected(), &found)),
            },
            Values::TimestampNanos(values) => match value.timestamp_nanos(self.unit) {
                Ok(decoded) => values.push(decoded),
                Err(found) => return Err(Fault::mismatch(&self.expected(), &found)),
            },
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

    /// Adds a null, or refuses in a required column.
    pub(super) fn push_null(&mut self) -> Result<(), Fault> {
        if self.required {
            let what =
                format!("the column is required (expected {}, found null or nothing)", self.expected());
            return Err(Fault::new(Reason::MissingRequired, what));
        }
        self.nulls.append_null();
        self.push_placeholders(1);
        Ok(())
    }

    /// Bytes a row that the column takes from its first value on. The fields of a struct begin by themselves.
    pub(super) fn begun_bytes(&self) -> usize {
        match &self.values {
            Values::Struct(_) => 1,
            _ => self.slot_bytes,
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
            Values::Date(_) => "date (YYYY-MM-DD, or an instant that is midnight in UTC)".into(),
            Values::Time(_) => "time (HH:MM:SS.ffffff)".into(),
            Values::Timestamp(_) | Values::TimestampNanos(_) => {
                let unit = self.unit.map_or("seconds, milliseconds, microseconds or nanoseconds", Unit::name);
                format!("timestamp (RFC 3339, or a number of {unit} since 1970)")
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
