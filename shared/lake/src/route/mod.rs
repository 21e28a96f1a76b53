//! Which table a record goes to.
//!
//! In: the settings of one stream that feeds many tables, the key of an object, the text of a record. Out: a table, or
//! none: such a record goes to the stream's own table, or to the quarantine. Refused: patterns that name no table.

mod claim;
mod entry;
mod router;
mod spool;

use std::borrow::Cow;

use iceberg::{NamespaceIdent, TableIdent};
use records::field_path::FieldPath;

pub(crate) use self::claim::{Claim, Routed};
pub(crate) use self::router::{Router, Routing};
pub(crate) use self::spool::{Place, Spool};

/// Stands for any text in a pattern, and for the text itself in the table's name.
const ANY: char = '*';
/// Glue takes names of 255 bytes, S3 Tables too.
const MAX_NAME_BYTES: usize = 255;

/// A table, and the value that its name is made of, if it is.
pub(crate) type Named<'a> = (TableIdent, Option<Cow<'a, str>>);

/// How one stream feeds many tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// Objects whose key is `<prefix><name>/...` go to the table `name`, in the namespace of the stream's own table.
    pub prefix: Option<String>,
    /// The field whose value names the table, if one does.
    pub field: Option<FieldPath>,
    /// By what a value becomes a table, in order.
    pub patterns: Vec<Pattern>,
    /// What becomes of records that name no table.
    pub unrouted: Unrouted,
    /// The URI of a folder of definitions: a table that does not exist is created by `<name>.json` there, if that exists.
    pub definitions: Option<String>,
    /// The most tables that one invocation writes to by the values of a field. Values beyond are those of no table.
    pub max_tables: usize,
}

/// What becomes of records that name no table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unrouted {
    /// They are rows of the stream's own table.
    #[default]
    Default,
    /// They are quarantined.
    Quarantine,
}

/// One rule from a value to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What the whole value must be; `*` stands for any text.
    value: String,
    namespace: Vec<String>,
    /// The table's name; `*` stands for the value.
    name: String,
}

impl Pattern {
    /// The rule `VALUE=NAMESPACE.NAME`. None if it is not in this form.
    pub fn parse(text: &str) -> Option<Self> {
        let (value, table) = text.trim().split_once('=')?;
        let mut parts: Vec<String> = table.split('.').map(str::to_owned).collect();
        let name = parts.pop()?;
        let is_complete = !value.is_empty()
            && !parts.is_empty()
            && parts.iter().chain([&name]).all(|part| !part.is_empty());
        let is_fixed = parts.iter().all(|part| !part.contains(ANY));
        (is_complete && is_fixed).then(|| Self { value: value.to_owned(), namespace: parts, name })
    }

    fn table<'a>(&self, value: &Cow<'a, str>) -> Option<Named<'a>> {
        if !matches(&self.value, value) {
            return None;
        }
        let (name, of) = match self.name.contains(ANY) {
            true => (self.name.replace(ANY, &table_name(value)), Some(value.clone())),
            false => (self.name.clone(), None),
        };
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        Some((TableIdent::from_strs(self.namespace.iter().chain([&name])).ok()?, of))
    }
}

impl Routes {
    /// The table that the key of an object names. `own` is the stream's own table.
    pub(crate) fn of_key(&self, key: &str, own: &TableIdent) -> Option<TableIdent> {
        let name = table_name(self.folder(key)?);
        (name.len() <= MAX_NAME_BYTES).then(|| TableIdent::new(own.namespace().clone(), name.into_owned()))
    }

    /// The folder of `key` that names a table.
    pub(crate) fn folder<'a>(&self, key: &'a str) -> Option<&'a str> {
        let (name, rest) = key.strip_prefix(self.prefix.as_deref()?)?.split_once('/')?;
        (!name.is_empty() && !rest.is_empty()).then_some(name)
    }

    /// The namespaces of the tables that patterns name.
    pub fn namespaces(&self) -> impl Iterator<Item = NamespaceIdent> {
        self.patterns.iter().filter_map(|pattern| NamespaceIdent::from_strs(&pattern.namespace).ok())
    }

    /// The table that the value of the field in `record`, JSON text, names.
    pub(crate) fn of_record<'a>(&self, record: &'a [u8]) -> Option<Named<'a>> {
        let value = self.field.as_ref()?.text_in(record)?;
        self.patterns.iter().find_map(|pattern| pattern.table(&value))
    }
}

/// Whether `value` is what `pattern` says. Takes time in proportion to the product of their lengths at most.
fn matches(pattern: &str, value: &str) -> bool {
    let mut parts = pattern.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = value.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// `text` as a table's name: in lower case, `_` for all but ASCII letters, digits and underscores, which are what
/// Athena and S3 Tables take.
fn table_name(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if text.bytes().all(is_plain) {
        return text.into();
    }
    let taken = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '_' };
    text.chars().map(taken).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(prefix: Option<&str>, field: Option<&str>, patterns: &[&str]) -> Routes {
        Routes {
            prefix: prefix.map(str::to_owned),
            field: field.map(|path| path.parse().unwrap()),
            patterns: patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
            unrouted: Unrouted::Default,
            definitions: None,
            max_tables: 100,
        }
    }

    #[test]
    fn a_field_names_the_table() {
        let routes = routes(
            None,
            Some("detail.type"),
            &["order_*=shop.orders", "*_click*=web.clicks", "7=n.seven", "true=n.yes", "x*=shop.*"],
        );
        for (record, expected) in [
            (r#"{"detail":{"type":"order_created"}}"#, Some("shop.orders")),
            (r#"{"a":[{"type":"x"}],"detail":{"b":{},"type":"order_"}}"#, Some("shop.orders")),
            (r#"{"detail":{"type":"a_click_b"}}"#, Some("web.clicks")),
            (r#"{"detail":{"type":"an_order_"}}"#, None),
            (r#"{"detail":{"type":7}}"#, Some("n.seven")),
            (r#"{"detail":{"type":true}}"#, Some("n.yes")),
            (r#"{"detail":{"type":null}}"#, None),
            (r#"{"detail":{"type":{}}}"#, None),
            (r#"{"detail":"type"}"#, None),
            (r#"{"type":"order_created"}"#, None),
            (r#"{"detail":{"type":"x-Ray Event"}}"#, Some("shop.x_ray_event")),
            ("[1]", None),
            ("{\"detail", None),
        ] {
            let table = routes.of_record(record.as_bytes()).map(|(table, _)| table.to_string());
            assert_eq!(table.as_deref(), expected, "{record}");
        }
        let long = format!(r#"{{"detail":{{"type":"x{}"}}}}"#, "y".repeat(1 << 20));
        assert!(routes.of_record(long.as_bytes()).is_none());
    }

    #[test]
    fn a_folder_names_the_table() {
        let own = TableIdent::from_strs(["shop", "events"]).unwrap();
        let routes = routes(Some("raw/"), None, &[]);
        for (key, expected) in [
            ("raw/orders/2026/01/01/00/a-1", Some("shop.orders")),
            ("raw/Order-Items/a", Some("shop.order_items")),
            ("raw/a", None),
            ("raw//a", None),
            ("raw/orders/", None),
            ("other/orders/a", None),
        ] {
            let table = routes.of_key(key, &own).map(|table| table.to_string());
            assert_eq!(table.as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn a_pattern_names_a_value_and_a_table() {
        for text in ["a", "=a.b", "a=b", "a=.b", "a=b.", "a=*.b", "a=b..c"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
        assert!(Pattern::parse(" a=b.c.d ").is_some());
    }

    #[test]
    fn an_asterisk_stands_for_any_text() {
        for (pattern, value, expected) in [
            ("*", "", true),
            ("*", "a", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("**", "x", true),
            ("a*bc*c", "abc", false),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} {value}");
        }
    }
}
