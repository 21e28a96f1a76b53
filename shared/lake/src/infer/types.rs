//! What was seen in the fields of records -> their columns.
//!
//! In: a [`Shape`], and which ids and paths are taken. Out: fields with the type that takes all values that were seen.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, StructType, Type};

use super::Numbers;
use super::shape::{DECIMAL_PRECISION, Shape};
use crate::decode::name::fold;

/// The names of an object are data where there are so many of them.
const MIN_KEYS: usize = 20;
/// Digits of a decimal behind its point at least.
const DECIMAL_DIGITS: u32 = 9;

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

/// Whether a name is that of a time: numbers under it that can be milliseconds since 1970 are.
fn is_time(name: &str) -> bool {
    let folded = fold(name);
    let stem = ["_millis", "_ms", "millis", "ms"].into_iter().find_map(|unit| folded.strip_suffix(unit));
    let stem = stem.unwrap_or(&folded);
    ["time", "timestamp", "date", "_at", "_ts"].iter().any(|word| stem.ends_with(word))
        || ["at", "ts"].contains(&stem)
        || ["At", "Ts", "AtMs", "AtMillis"].iter().any(|word| name.ends_with(word))
}
