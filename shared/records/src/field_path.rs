//! Where a field is.
//!
//! In: names and dots, later an object. Out: a [`FieldPath`], later what the object has there. Refused: what names nothing,
//! or more than eight.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::scan;

/// Fields of a path at most.
const MAX_FIELDS: usize = 8;

/// The names of fields from the root of an object inwards: `detail.items`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<String>);

/// A text that is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one to {MAX_FIELDS} names of fields, separated by dots")]
pub struct InvalidPath;

impl FieldPath {
    /// The names.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// The text of the field in `object`, JSON text: of a string what it says, of a number or a boolean its JSON. Of a field
    /// that is given twice the first. None if there is no such field, or it is null, an object or an array.
    pub fn text_in<'a>(&self, object: &'a [u8]) -> Option<Cow<'a, str>> {
        let mut value = object.get(scan::skip_whitespace(object, 0)..)?;
        for name in &self.0 {
            let mut members = scan::members(value, 0).map_while(Result::ok);
            let member =
                members.find(|member| is_name(&value[member.key.clone()], member.has_escapes, name))?;
            value = &value[member.value];
        }
        match value.first()? {
            b'"' if value.contains(&b'\\') => serde_json::from_slice(value).ok().map(Cow::Owned),
            b'"' => std::str::from_utf8(value.get(1..value.len() - 1)?).ok().map(Cow::Borrowed),
            b'{' | b'[' | b'n' => None,
            _ => std::str::from_utf8(value).ok().map(Cow::Borrowed),
        }
    }
}

/// Whether `key`, JSON text with its quotes, says `name`.
fn is_name(key: &[u8], has_escapes: bool, name: &str) -> bool {
    if has_escapes {
        return serde_json::from_slice::<String>(key).is_ok_and(|key| key == name);
    }
    key.get(1..key.len() - 1) == Some(name.as_bytes())
}

impl FromStr for FieldPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        let is_path = names.len() <= MAX_FIELDS && names.iter().all(|name| !name.is_empty());
        if is_path { Ok(Self(names)) } else { Err(InvalidPath) }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_and_dots() {
        for text in ["Records", "detail.items", "a.b.c.d.e.f.g.h"] {
            assert_eq!(text.parse::<FieldPath>().unwrap().to_string(), text);
        }
        for text in ["", ".", "a.", ".a", "a..b", "a.b.c.d.e.f.g.h.i"] {
            assert_eq!(text.parse::<FieldPath>(), Err(InvalidPath), "{text}");
        }
    }

    #[test]
    fn a_field_has_a_text() {
        let path: FieldPath = "detail.type".parse().unwrap();
        for (object, expected) in [
            (r#"{"detail":{"type":"order"}}"#, Some("order")),
            (r#" { "a" : [{"type":"x"}] , "detail" : { "b":{}, "type" : "a\u0062\"" } } "#, Some("ab\"")),
            (r#"{"detail":{"\u0074ype":"escaped"}}"#, Some("escaped")),
            (r#"{"detail":{"type":-7.50e1}}"#, Some("-7.50e1")),
            (r#"{"detail":{"type":true,"type":1}}"#, Some("true")),
            (r#"{"detail":{"type":""}}"#, Some("")),
            (r#"{"detail":{"type":null}}"#, None),
            (r#"{"detail":{"type":{}}}"#, None),
            (r#"{"detail":{"type":[]}}"#, None),
            (r#"{"detail":"type"}"#, None),
            (r#"{"type":"order"}"#, None),
            ("[1]", None),
            ("{\"detail", None),
            ("", None),
        ] {
            assert_eq!(path.text_in(object.as_bytes()).as_deref(), expected, "{object}");
        }
        assert_eq!(path.text_in(b"{\"detail\":{\"type\":\"\xFF\"}}"), None);
    }
}
