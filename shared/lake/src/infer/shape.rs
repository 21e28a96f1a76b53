//! JSON values -> what was seen in one place of the records.
//!
//! In: values, pulled from a parser. Out: a [`Shape`], of which `types.rs` makes columns. Bounded: at most so many fields as a
//! [`Budget`] has left; objects nested deeper than [`MAX_DEPTH`] are their text.

use std::collections::HashMap;

use jiter::{Jiter, JiterResult, Peek};

use crate::decode::name::{column_of, fold, is_column_name};
use crate::decode::{double, instant, scaled};

/// Objects and arrays nested deeper become their JSON text.
pub(crate) const MAX_DEPTH: usize = 16;
/// Where an object has so many names, they are data whatever its values are.
const MANY_KEYS: usize = 256;
/// And each stands in at most one of so many objects.
const OBJECTS_PER_KEY: u64 = 10;
/// Digits of a decimal at most.
pub(super) const DECIMAL_PRECISION: u32 = 38;
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
    pub(super) boolean: bool,
    pub(super) whole: bool,
    /// A whole number that is no time in milliseconds by its size.
    pub(super) other_whole: bool,
    pub(super) fraction: bool,
    /// Most digits behind the point of a number.
    pub(super) digits: u32,
    pub(super) instant: bool,
    pub(super) text: bool,
    pub(super) array: bool,
    /// How many values there were that are not null.
    pub(super) values: u64,
    pub(super) objects: u64,
    /// An object has a field that no field of a struct can stand for.
    pub(super) odd: bool,
    /// Fields of the objects, in the order in which they were first seen, each in its first spelling.
    pub(super) fields: Vec<(String, Self)>,
    /// Places in `fields`, by the name in lower case.
    pub(super) by_name: HashMap<String, usize>,
    pub(super) element: Option<Box<Self>>,
    /// Of the values of objects whose names are data: they are no longer told apart by name.
    pub(super) value: Option<Box<Self>>,
}

/// Where the fields of an object go.
enum Place {
    Field(usize),
    /// The names are data.
    Value,
    Nowhere,
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

    pub(super) fn has_rare_names(&self) -> bool {
        let values = self.fields.iter().map(|(_, field)| field.values).sum::<u64>();
        values.saturating_mul(OBJECTS_PER_KEY) <= self.objects.saturating_mul(self.fields.len() as u64)
    }

    /// What was seen under any of the names.
    pub(super) fn merged(&self) -> Self {
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
}

/// Digits behind the point of `number`.
fn digits(number: &str) -> u32 {
    match number.split_once('.') {
        Some((_, fraction)) if !fraction.contains(['e', 'E']) => fraction.trim_end_matches('0').len() as u32,
        _ => (0..DECIMAL_PRECISION).find(|scale| scaled(number, *scale).is_ok()).unwrap_or(0),
    }
    .min(DECIMAL_PRECISION)
}
