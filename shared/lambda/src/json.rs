//! Helpers for reading AWS's JSON by borrowed parts.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A JSON string, borrowed where it has no escapes. (serde borrows in `Cow<str>`, but not in
/// `Option<Cow<str>>`.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The members of a JSON object, their values as text; `None` if `json` is no object.
pub(crate) fn members(json: &str) -> Option<BTreeMap<Text<'_>, &RawValue>> {
    serde_json::from_str(json).ok()
}

/// The content of a string or the text of any other value: what AWS writes now as a number, now as a string.
pub(crate) fn content(value: &RawValue) -> Cow<'_, str> {
    let json = value.get();
    let Some(text) = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) else {
        return Cow::Borrowed(json);
    };
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    serde_json::from_str::<Text<'_>>(json).map_or(Cow::Borrowed(json), |text| text.0)
}

/// The words of an error, without the text of a string that it quotes: events hold data, and errors are logged.
pub(crate) fn in_words(error: &serde_json::Error) -> String {
    let words = error.to_string();
    match (words.find("string \""), words.rfind("\", expected")) {
        (Some(start), Some(end)) => format!("{}string{}", &words[..start], &words[end + 1..]),
        _ => words,
    }
}

/// What stands in the place of an expected event, for error messages: `found keys: a, b`.
pub(crate) fn found(json: &str) -> String {
    const SHOWN: usize = 20;
    let Some(members) = members(json) else {
        return match json.trim_start().chars().next() {
            Some('[') => "found an array".to_owned(),
            Some('{') => "found an object with errors".to_owned(),
            None => "found nothing".to_owned(),
            Some(_) => "found no object".to_owned(),
        };
    };
    if members.is_empty() {
        return "found an empty object".to_owned();
    }
    let mut keys: Vec<&str> = members.keys().take(SHOWN).map(|key| &**key).collect();
    if members.len() > SHOWN {
        keys.push("...");
    }
    format!("found keys: {}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_quote_no_strings() {
        #[derive(Debug, Deserialize)]
        struct Event {
            #[serde(rename = "size")]
            _size: u64,
        }
        for (json, words) in [
            (r#"{"size":"a secret"}"#, "invalid type: string, expected u64 at line 1 column 18"),
            (r#"{"size":"\", expected x"}"#, "invalid type: string, expected u64 at line 1 column 24"),
            (r#""string \"""#, "invalid type: string, expected struct Event at line 1 column 11"),
            (r#"{"size":[]}"#, "invalid type: sequence, expected u64 at line 1 column 8"),
            ("{}", "missing field `size` at line 1 column 2"),
        ] {
            let error = serde_json::from_str::<Event>(json).unwrap_err();
            assert_eq!(in_words(&error), words, "{error}");
        }
    }
}
