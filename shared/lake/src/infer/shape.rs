//! JSON values -> what was seen in one place of the records, and the column for it.
//!
//! In: values, pulled from a parser. Out: a type, or none where no value says one. Bounded: at most so many fields as a
//! [`Budget`] has left; objects nested deeper than [`MAX_DEPTH`] are their text.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, StructType, Type};
use jiter::{Jiter, JiterResult, Peek};

use super::Numbers;
use crate::decode::name::{column_of, fold, is_column_name};
use crate::decode::{double, instant, scaled};

/// Objects and arrays nested deeper become their JSON text.
pub(crate) const MAX_DEPTH: usize = 16;
/// The names of an object are data where there are so many of them.
const MIN_KEYS: usize = 20;
/// Where there are so many, they are data whatever their values are.
const MANY_KEYS: usize = 256;
/// And each stands in at most one of so many objects.
const OBJECTS_PER_KEY: u64 = 10;
/// Digits of a decimal at most, and behind its point at least.
const DECIMAL_PRECISION: u32 = 38;
const DECIMAL_DIGITS: u32 = 9;
/// Milliseconds since 1970 from 2001-09-09 to the end of 2099: no other number under the name of a time is taken for one.
const EPOCH_MILLIS: std::ops::Range<i64> = 1_000_000_000_000..4_102_444_800_000;

/// Fields that may still be remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) fields: usize,
    /// Names of columns of the table that the pipeline fills.
    pub(crate) reserved: &'static [&'static str],
}

/// What was seen in one place of the records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    boolean: bool,
    whole: bool,
    /// A whole number that is no time in milliseconds by its size.
    other_whole: bool,
    fraction: bool,
    /// Most digits behind the point of a number.
    digits: u32,
    instant: bool,
    text: bool,
    array: bool,
    /// How many values there were that are not null.
    values: u64,
    objects: u64,
    /// An object has a field that no field of a struct can stand for.
    odd: bool,
    /// Fields of the objects, in the order in which they were first seen, each in its first spelling.
    fields: Vec<(String, Self)>,
    /// Places in `fields`, by the name in lower case.
    by_name: HashMap<String, usize>,
    element: Option<Box<Self>>,
    /// Of the values of objects whose names are data: they are no longer told apart by name.
    value: Option<Box<Self>>,
}

/// Where the fields of an object go.
enum Place {
    Field(usize),
    /// The names are data.
    Value,
    Nowhere,
}

/// The ids and the paths that new fields cannot have.
pub(crate) struct Names {
    /// The last id that was given out.
    pub(crate) last_id: i32,
    /// Paths in lower case.
    pub(crate) taken: HashSet<String>,
    /// What columns of whole numbers become.
    pub(super) numbers: Numbers,
    /// How many objects the fields are of, where columns are to say what was seen of them.
    pub(super) of: Option<u64>,
}

impl Names {
    /// Ids after `last_id`, paths that are not `taken`.
    pub(crate) fn new(last_id: i32, taken: HashSet<String>) -> Self {
        Self { last_id, taken, numbers: Numbers::AsSeen, of: None }
    }
}

impl Shape {
    /// Takes the value that `json` stands at into account.
    ///
    /// # Errors
    /// The parser's. What came before counts.
    pub(crate) fn observe(
        &mut self,
        json: &mut Jiter<'_>,
        peek: Peek,
        depth: usize,
        budget: &mut Budget,
    ) -> JiterResult<()> {
        self.values += u64::from(peek != Peek::Null);
        match peek {
            Peek::Null => json.known_null()?,
            Peek::True | Peek::False => {
                json.known_bool(peek)?;
                self.boolean = true;
            }
            Peek::String => match instant(json.known_str()?) {
                Some(_) => self.instant = true,
                None => self.text = true,
            },
            Peek::Object | Peek::Array if depth >= MAX_DEPTH => {
                json.known_skip(peek)?;
                self.text = true;
            }
            Peek::Object => {
                self.objects += 1;
                let mut at = json.known_object()?.map(|name| self.place(name, depth, budget));
                while let Some(place) = at {
                    let peek = json.peek()?;
                    let known = match place {
                        Place::Field(at) => self.fields.get_mut(at).map(|(_, shape)| shape),
                        Place::Value => Some(&mut **self.value.get_or_insert_default()),
                        Place::Nowhere => None,
                    };
                    match known {
                        Some(known) => known.observe(json, peek, depth + 1, budget)?,
                        None => json.known_skip(peek)?,
                    }
                    at = json.next_key()?.map(|name| self.place(name, depth, budget));
                }
            }
            Peek::Array => {
                self.array = true;
                let element = self.element.get_or_insert_default();
                let mut next = json.known_array()?;
                while let Some(peek) = next {
                    element.observe(json, peek, depth + 1, budget)?;
                    next = json.array_step()?;
                }
            }
            _ => {
                let number = std::str::from_utf8(json.known_number_bytes(peek)?).unwrap_or_default();
                if number.contains(['.', 'e', 'E']) && double(number).is_ok() {
                    self.fraction = true;
                    self.digits = self.digits.max(digits(number));
                } else if let Ok(whole) = number.parse::<i64>() {
                    self.whole = true;
                    self.other_whole |= !EPOCH_MILLIS.contains(&whole);
                } else {
                    // Beyond a long or a double: only text keeps every digit.
                    self.text = true;
                }
            }
        }
        Ok(())
    }

    /// Takes the JSON text `value` of the field `name` into account, which lies at `depth`. False if there is no room for
    /// the field.
    pub(crate) fn observe_field(
        &mut self,
        name: &str,
        value: &str,
        depth: usize,
        budget: &mut Budget,
    ) -> bool {
        let Place::Field(at) = self.place(name, depth.max(1), budget) else { return false };
        let Some((_, field)) = self.fields.get_mut(at) else { return false };
        let mut json = Jiter::new(value.as_bytes());
        // The framing lets more through than this parser: a text column takes it.
        let read = json.peek().and_then(|peek| field.observe(&mut json, peek, depth, budget));
        field.text |= read.is_err();
        true
    }

    /// The place of the field `name` of an object at `depth`, which is added if it is new and may be a column.
    fn place(&mut self, name: &str, depth: usize, budget: &mut Budget) -> Place {
        if self.value.is_some() {
            return Place::Value;
        }
        if let Some(at) = self.by_name.get(name) {
            return Place::Field(*at);
        }
        // Athena, Glue and Spark fold case.
        let folded = fold(name);
        if let Some(at) = self.by_name.get(&folded) {
            return Place::Field(*at);
        }
        let is_root = depth == 0;
        if !is_root && self.fields.len() >= MANY_KEYS && (budget.fields == 0 || self.has_rare_names()) {
            budget.fields += self.fields.iter().map(|(_, field)| 1 + field.size()).sum::<usize>();
            self.value = Some(Box::new(self.merged()));
            (self.fields, self.by_name) = Default::default();
            return Place::Value;
        }
        if budget.fields == 0 || !is_column_name(name) {
            self.odd = true;
            return Place::Nowhere;
        }
        let column = if is_root { column_of(name, budget.reserved) } else { name.to_owned() };
        let at = *self.by_name.entry(fold(&column)).or_insert(self.fields.len());
        self.by_name.insert(folded, at);
        if at == self.fields.len() {
            budget.fields -= 1;
            self.fields.push((column, Self::default()));
        }
        Place::Field(at)
    }

    /// Fields within.
    fn size(&self) -> usize {
        let within = self.fields.iter().map(|(_, field)| 1 + field.size()).sum::<usize>();
        let boxed = [&self.element, &self.value].into_iter().flatten();
        within + boxed.map(|shape| shape.size()).sum::<usize>()
    }

    fn has_rare_names(&self) -> bool {
        let values = self.fields.iter().map(|(_, field)| field.values).sum::<u64>();
        values.saturating_mul(OBJECTS_PER_KEY) <= self.objects.saturating_mul(self.fields.len() as u64)
    }

    /// What was seen under any of the names.
    fn merged(&self) -> Self {
        let mut merged = Self::default();
        self.fields.iter().for_each(|(_, field)| merged.merge(field));
        merged
    }

    fn merge(&mut self, other: &Self) {
        self.boolean |= other.boolean;
        self.whole |= other.whole;
        self.other_whole |= other.other_whole;
        self.fraction |= other.fraction;
        self.digits = self.digits.max(other.digits);
        self.instant |= other.instant;
        self.text |= other.text;
        self.array |= other.array;
        self.values += other.values;
        self.objects += other.objects;
        self.odd |= other.odd;
        for (into, from) in [(&mut self.element, &other.element), (&mut self.value, &other.value)] {
            if let Some(from) = from {
                into.get_or_insert_default().merge(from);
            }
        }
        for (name, field) in &other.fields {
            let at = *self.by_name.entry(fold(name)).or_insert(self.fields.len());
            if at == self.fields.len() {
                self.fields.push((name.clone(), Self::default()));
            }
            if let Some((_, into)) = self.fields.get_mut(at) {
                into.merge(field);
            }
        }
    }

    /// In words, what was seen in the field of `of` objects.
    fn seen(&self, of: u64) -> String {
        let whole = match self.fraction {
            false if self.other_whole => "whole numbers",
            false => "whole numbers that can be milliseconds",
            true => "numbers",
        };
        let kinds = [
            (self.boolean, "booleans"),
            (self.whole || self.fraction, whole),
            (self.instant, "times"),
            (self.text, "text"),
            (self.objects > 0, "objects"),
            (self.array, "arrays"),
        ];
        let kinds: Vec<&str> = kinds.into_iter().filter(|(seen, _)| *seen).map(|(_, kind)| kind).collect();
        format!("{} in {} of {of} objects", kinds.join(" and "), self.values)
    }

    /// The fields of which a value says the type, as they follow those of the struct at `parent`. None of them has a path
    /// that is taken.
    pub(crate) fn columns(&self, parent: &str, names: &mut Names) -> Vec<NestedFieldRef> {
        let path = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        // Before those within: `a.b` is also how a field of a struct is named.
        let free: Vec<&(String, Self)> =
            self.fields.iter().filter(|(name, _)| names.taken.insert(fold(&path(name)))).collect();
        let mut columns = Vec::with_capacity(free.len());
        for (name, shape) in free {
            let id = names.last_id + 1;
            names.last_id = id;
            match shape.column_type(name, &path(name), names) {
                Some(kind) => {
                    let field = NestedField::optional(id, name, kind);
                    columns.push(Arc::new(match names.of {
                        Some(of) => field.with_doc(shape.seen(of)),
                        None => field,
                    }));
                }
                None => names.last_id = id - 1,
            }
        }
        columns
    }

    /// The type for the values under `name`, at `path`. None if there was nothing but null, `[]` and `{}`.
    fn column_type(&self, name: &str, path: &str, names: &mut Names) -> Option<Type> {
        let is_time = self.whole && !self.other_whole && !self.fraction && is_time(name);
        let number = (self.whole || self.fraction) && !is_time;
        let instant = self.instant || is_time;
        let kinds = [self.boolean, number, instant, self.text, self.objects > 0, self.array];
        let text = Some(Type::Primitive(PrimitiveType::String));
        match kinds.iter().filter(|seen| **seen).count() {
            0 => return None,
            1 => {}
            _ => return text,
        }
        Some(Type::Primitive(if self.boolean {
            PrimitiveType::Boolean
        } else if number {
            match names.numbers {
                Numbers::Decimal => PrimitiveType::Decimal {
                    precision: DECIMAL_PRECISION,
                    scale: self.digits.max(DECIMAL_DIGITS),
                },
                Numbers::AsSeen if !self.fraction => PrimitiveType::Long,
                Numbers::AsSeen | Numbers::Double => PrimitiveType::Double,
            }
        } else if instant {
            PrimitiveType::Timestamptz
        } else if self.objects > 0 {
            return self.object_type(path, names);
        } else if self.array {
            return self.element.as_ref().and_then(|element| {
                let id = names.last_id + 1;
                names.last_id = id;
                let path = format!("{path}.element");
                let kind = element.column_type(name, &path, names)?;
                names.taken.insert(fold(&path));
                Some(Type::List(ListType::new(NestedField::list_element(id, kind, false).into())))
            });
        } else {
            PrimitiveType::String
        }))
    }

    fn object_type(&self, path: &str, names: &mut Names) -> Option<Type> {
        let text = Some(Type::Primitive(PrimitiveType::String));
        if let Some(value) = &self.value {
            return value.map_type(path, names);
        }
        // What is in no field would be lost.
        if self.odd {
            return text;
        }
        if self.fields.len() >= MIN_KEYS && self.has_rare_names() {
            let merged = self.merged();
            if merged.has_one_kind() {
                return merged.map_type(path, names);
            }
        }
        let is_taken = |name: &str| names.taken.contains(&fold(&format!("{path}.{name}")));
        if self.fields.iter().any(|(name, _)| is_taken(name)) {
            return text;
        }
        let of = names.of;
        names.of = of.map(|_| self.objects);
        let fields = self.columns(path, names);
        names.of = of;
        (!fields.is_empty()).then(|| Type::Struct(StructType::new(fields)))
    }

    fn has_one_kind(&self) -> bool {
        let number = self.whole || self.fraction;
        let kinds = [self.boolean, number, self.instant, self.text, self.objects > 0, self.array];
        kinds.iter().filter(|seen| **seen).count() == 1
    }

    /// A map of texts to what these values are.
    fn map_type(&self, path: &str, names: &mut Names) -> Option<Type> {
        let (key, value) = (names.last_id + 1, names.last_id + 2);
        names.last_id = value;
        let value_path = format!("{path}.value");
        let kind = self.column_type("", &value_path, names)?;
        names.taken.extend([fold(&value_path), fold(&format!("{path}.key"))]);
        Some(Type::Map(MapType::new(
            NestedField::map_key_element(key, Type::Primitive(PrimitiveType::String)).into(),
            NestedField::map_value_element(value, kind, false).into(),
        )))
    }
}

/// Digits behind the point of `number`.
fn digits(number: &str) -> u32 {
    match number.split_once('.') {
        Some((_, fraction)) if !fraction.contains(['e', 'E']) => fraction.trim_end_matches('0').len() as u32,
        _ => (0..DECIMAL_PRECISION).find(|scale| scaled(number, *scale).is_ok()).unwrap_or(0),
    }
    .min(DECIMAL_PRECISION)
}

/// Whether a name is that of a time: numbers under it that can be milliseconds since 1970 are.
fn is_time(name: &str) -> bool {
    let folded = fold(name);
    let stem = ["_millis", "_ms", "millis", "ms"].into_iter().find_map(|unit| folded.strip_suffix(unit));
    let stem = stem.unwrap_or(&folded);
    ["time", "timestamp", "date", "_at", "_ts"].iter().any(|word| stem.ends_with(word))
        || ["at", "ts"].contains(&stem)
        || ["At", "Ts", "AtMs", "AtMillis"].iter().any(|word| name.ends_with(word))
}
