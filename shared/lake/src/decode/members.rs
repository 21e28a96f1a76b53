//! JSON objects -> the columns of a struct, or of the table itself.
//!
//! In: objects, pulled from a parser. Out: their values, each in the column that its name stands for. What no column takes
//! is lacking, goes to the rest column, is left out or refuses the row, as `unknown.rs` says.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::FieldRef;
use iceberg::spec::NestedField;
use jiter::Peek;
use records::enrich::{self, FIELDS, PRODUCER_PREFIX, RECORD_ID};
use records::rejection::Reason;

use super::column::Column;
use super::fault::Fault;
use super::name::{self, is_column_name};
use super::scalar;
use super::source::Source;
use super::unit::Units;
use super::unknown::{Fate, Fixed, Lack, MAX_COLUMNS, Policy, is_blank};

/// The columns of a struct, or of the table itself.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) columns: Vec<Column>,
    /// Indexes of the columns that every row must give.
    pub(super) required: Vec<usize>,
    pub(super) by_name: HashMap<String, usize>,
    /// By the name in lower case, for names that have no column in their own spelling; see `name.rs`.
    pub(super) by_folded: HashMap<String, Option<usize>>,
    /// The field whose struct this is, by id, and its path; none and an empty one for the table itself.
    pub(super) parent: Option<i32>,
    pub(super) path: String,
    /// The columns that the pipeline fills itself; none of a struct.
    pub(super) reserved: Vec<&'static str>,
    /// Which column the first key of a record stood for the last time, see `plain.rs`.
    pub(super) first: usize,
    /// Records that were tried, see `plain.rs`.
    pub(super) records: u64,
}

impl Members {
    /// Columns for the `fields` of a table, which `arrow` describes in the same order. `hidden` ones take no JSON.
    pub(super) fn of_table(
        fields: &[Arc<NestedField>],
        arrow: &[FieldRef],
        hidden: &[&'static str],
    ) -> Result<Self, iceberg::Error> {
        Self::new(fields, arrow, hidden, None, String::new())
    }

    pub(super) fn new(
        fields: &[Arc<NestedField>],
        arrow: &[FieldRef],
        hidden: &[&'static str],
        parent: Option<i32>,
        path: String,
    ) -> Result<Self, iceberg::Error> {
        let columns = fields
            .iter()
            .zip(arrow)
            .enumerate()
            .map(|(at, (field, arrow))| {
                let column = Column::new(field, arrow, &path)?;
                Ok(Column { hidden: hidden.contains(&field.name.as_str()), follower: at + 1, ..column })
            })
            .collect::<Result<Vec<_>, iceberg::Error>>()?;
        let by_name = columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        let names = columns.iter().map(|column| (&*column.name, column.hidden));
        let by_folded = name::by_folded(names, hidden);
        let is_required = |at: &usize| columns[*at].required && !columns[*at].hidden;
        let required = (0..columns.len()).filter(is_required).collect();
        let reserved = hidden.to_vec();
        Ok(Self { columns, required, by_name, by_folded, parent, path, reserved, first: 0, records: 0 })
    }

    /// Sets the units of all timestamp columns.
    pub(super) fn set_units(&mut self, units: &Units) {
        for column in &mut self.columns {
            column.set_units(units, "", units.default);
        }
    }

    /// Empty strings are null in all columns but those of strings.
    pub(super) fn empty_is_null(&mut self) {
        self.columns.iter_mut().for_each(Column::empty_is_null);
    }

    /// Column `at` takes no JSON.
    pub(super) fn hide(&mut self, at: usize) {
        if let Some(column) = self.columns.get_mut(at) {
            column.hidden = true;
            self.by_folded.insert(name::fold(&column.name), None);
        }
    }

    /// The path of a column `name` in here.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether these are the table's own columns, not those of a struct.
    pub(super) fn is_table(&self) -> bool {
        self.parent.is_none()
    }

    pub(super) fn column(&mut self, at: usize) -> Option<&mut Column> {
        self.columns.get_mut(at)
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// Bytes that a row takes whatever it holds, once every column has a value.
    pub(super) fn slot_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.slot_bytes).sum()
    }
}

/// What a key of an object stands for.
enum Slot {
    Column(usize),
    /// The column that has the name in another spelling.
    Folded(usize),
    Unknown(String),
}

impl Members {
    /// Adds the object that the parser stands at as row `row`. Columns that it has no value for stay behind; `hidden` ones
    /// take none from JSON.
    pub(super) fn push(&mut self, source: &mut Source<'_>, row: usize) -> Result<(), Fault> {
        let mut expected = 0;
        let mut slot = source.json.known_object()?.map(|key| self.resolve(key, expected));
        while let Some(found) = slot {
            let peek = source.json.peek()?;
            match found {
                Slot::Folded(_) | Slot::Unknown(_) if matches!(peek, Peek::Null) => {
                    source.json.known_null()?;
                }
                Slot::Column(at) | Slot::Folded(at) => {
                    let column = &mut self.columns[at];
                    if column.len() > row {
                        let spelling = if matches!(found, Slot::Folded(_)) {
                            ", the second time in another case"
                        } else {
                            ""
                        };
                        let what = format!("the row gives this field twice{spelling}");
                        return Err(Fault::new(Reason::DuplicateField, what).within(&column.name));
                    }
                    if column.len() == 0 && source.size.depth == 0 {
                        source.size.begun += column.begun_bytes();
                    }
                    column.fill(row);
                    let mark = source.unfit.rest.len();
                    column.push(source, peek).map_err(|fault| fault.within(&column.name))?;
                    source.unfit.within(mark, &column.name);
                    expected = at + 1;
                }
                // The pipeline's own columns are used where the table has them.
                Slot::Unknown(name) if self.is_own(&name) && matches!(peek, Peek::String) => {
                    let start = source.json.current_index();
                    if !enrich::is_written(&name, source.json.known_str()?) {
                        let value = &source.text[start..source.json.current_index()];
                        self.push_unknown(source, name, peek, value)?;
                    }
                }
                Slot::Unknown(name) if source.policy.is_strict() => {
                    return Err(self.unknown(&name, peek, source.policy));
                }
                Slot::Unknown(name) => {
                    let value = source.skip_value()?;
                    self.push_unknown(source, name, peek, value)?;
                }
            }
            slot = source.json.next_key()?.map(|key| self.resolve(key, expected));
        }
        for at in &self.required {
            let column = &mut self.columns[*at];
            if column.len() <= row {
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
            _ => match self.by_folded.get(&name::fold(key)) {
                Some(Some(at)) => Slot::Folded(*at),
                _ => Slot::Unknown(key.to_owned()),
            },
        }
    }

    /// Whether transform writes a field of this name.
    fn is_own(&self, name: &str) -> bool {
        // Where the source has a record's id, nothing that the record says is from transform.
        self.is_table() && !self.reserved.contains(&RECORD_ID) && FIELDS.contains(&name)
    }

    /// Takes the `value` of a field that has no column.
    fn push_unknown(
        &self,
        source: &mut Source<'_>,
        name: String,
        peek: Peek,
        value: &str,
    ) -> Result<(), Fault> {
        let column = self.new_column(&name, source.policy);
        let fate = source.policy.fate(column.as_deref().map(|name| self.path_of(name)).as_deref());
        match (fate, column) {
            (Fate::Lack, Some(_)) if is_blank(value) => {}
            (Fate::Lack, Some(name)) => {
                let value = value.to_owned();
                source.unfit.lacks.push(Lack::Column { parent: self.parent, name, value });
            }
            (Fate::Ignore, _) => source.unfit.ignored += 1,
            (Fate::Rest, _) => {
                source.size.add(name.len() + value.len())?;
                source.unfit.rest.push((name, value.to_owned()));
            }
            (Fate::Refuse | Fate::Lack, _) => return Err(self.unknown(&name, peek, source.policy)),
        }
        Ok(())
    }

    /// The name of a new column for the field `name`. None if there can be none: the name is none of a column, the pipeline
    /// writes the field itself, or several columns have it in other spellings.
    fn new_column(&self, name: &str, policy: &Policy) -> Option<String> {
        if !is_column_name(name)
            || self.is_own(&name::fold(name))
            || (self.is_table() && policy.is_rest(name))
        {
            return None;
        }
        let column = if self.is_table() { name::column_of(name, &self.reserved) } else { name.to_owned() };
        let is_free = column != name || !self.by_folded.contains_key(&name::fold(name));
        is_free.then_some(column)
    }

    fn unknown(&self, name: &str, peek: Peek, policy: &Policy) -> Fault {
        let kind = scalar::kind(peek);
        if !is_column_name(name) {
            let what = format!("no column can have this name (found {kind})");
            return Fault::new(Reason::InvalidName, what).within(name);
        }
        let folded = name::fold(name);
        if self.columns.iter().any(|column| column.hidden && column.name == folded) {
            let what = format!(
                "the pipeline writes this column itself, and the table has no column {PRODUCER_PREFIX}{folded} to keep \
                 the producer's value (found {kind})"
            );
            return Fault::new(Reason::ReservedField, what).within(name);
        }
        let own = folded.strip_prefix(PRODUCER_PREFIX).filter(|own| self.is_own(own));
        let hint = match own {
            Some(own) => format!(" to keep the producer's own {own}"),
            None if self.by_folded.contains_key(&folded) && !self.reserved.contains(&&*folded) => {
                ", but several whose names differ from it by case only".to_owned()
            }
            None if policy.is_taken(&self.path_of(name)) => {
                ", and another column or partition has the path that it would have".to_owned()
            }
            None => match policy.fixed() {
                Some(Fixed::Denied) => ", and the catalog does not let this function add it".to_owned(),
                Some(Fixed::Late) => ", and it could not be added in the time of the invocation".to_owned(),
                Some(Fixed::Full) => {
                    let what = format!(
                        "the table has no such column, and would have more than {MAX_COLUMNS} with all that come with it \
                         (found {kind})"
                    );
                    return Fault::new(Reason::TooManyColumns, what).within(name);
                }
                None => String::new(),
            },
        };
        let what = format!("the table has no such column{hint} (found {kind})");
        Fault::new(Reason::UnknownField, what).within(name)
    }
}
