//! A strict JSON scanner: it finds where values begin and end, and allocates nothing.
//!
//! In: text in one slice, and the position of a value. Out: exact byte spans. Refused: whatever breaks the
//! grammar of RFC 8259, and nesting deeper than [`DEPTH_LIMIT`]. The scanner checks grammar alone: it does
//! not look at UTF-8 (callers do), and lets lone surrogates in `\u` escapes pass, as the grammar does. Values
//! are not read, so numbers of any size and spelling keep their text.

use std::ops::Range;

pub use crate::nesting::DEPTH_LIMIT;
use crate::nesting::{Container, Nesting, TooDeep};
use crate::special::Specials;
use crate::token::{literal_end, number_end, string_end};

/// Why no value could be delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text ended inside the value: more bytes could complete it.
    #[error("the text ends inside the value")]
    Incomplete,
    /// The grammar is broken: no further bytes can mend it.
    #[error("at byte {at}: expected {expected}")]
    Invalid {
        /// Position in the slice of the byte that does not fit.
        at: usize,
        /// What the grammar allows there.
        expected: &'static str,
    },
}

impl Fault {
    /// The fault as seen from `start`: its position counts from there.
    #[must_use]
    pub fn relative_to(self, start: usize) -> Self {
        match self {
            Self::Incomplete => Self::Incomplete,
            Self::Invalid { at, expected } => Self::Invalid { at: at.saturating_sub(start), expected },
        }
    }

    /// The fault as a clause that also says which byte of `text` was found, and which common mistake it is: `at byte
    /// 7: found '}', expected '"': the comma before it is one too many`.
    pub fn describe(&self, text: &[u8]) -> String {
        match *self {
            Self::Incomplete => format!("at byte {}: the text ends inside a value", text.len()),
            Self::Invalid { at, expected } => match text.get(at) {
                Some(byte) if byte.is_ascii_graphic() => match mistake(text, at, expected) {
                    Mistake::Word { at, word, instead } => {
                        format!("at byte {at}: found {word}, which JSON does not have; {instead}")
                    }
                    Mistake::Other(hint) => {
                        format!("at byte {at}: found '{}', expected {expected}{hint}", char::from(*byte))
                    }
                },
                Some(byte) => format!("at byte {at}: found byte 0x{byte:02X}, expected {expected}"),
                None => format!("at byte {at}: expected {expected}"),
            },
        }
    }
}

/// What a producer did wrong, where that can be told.
enum Mistake<'a> {
    /// A word of another language, at a byte.
    Word { at: usize, word: &'a str, instead: &'static str },
    /// What follows the description, if anything does.
    Other(&'static str),
}

/// Words that other languages write where JSON has a value.
const FOREIGN_WORDS: [(&str, &str); 12] = [
    ("NaN", "send null or a string, or set FRAZIL_NAN=null"),
    ("-NaN", "send null or a string"),
    ("nan", "send null or a string"),
    ("Infinity", "send null or a string, or set FRAZIL_NAN=null"),
    ("-Infinity", "send null or a string, or set FRAZIL_NAN=null"),
    ("+Infinity", "send null or a string"),
    ("inf", "send null or a string"),
    ("-inf", "send null or a string"),
    ("undefined", "send null, or leave the field out"),
    ("None", "send null"),
    ("True", "send true"),
    ("False", "send false"),
];

/// The mistake at `at`, where the grammar has `expected`.
fn mistake<'a>(text: &'a [u8], at: usize, expected: &str) -> Mistake<'a> {
    if matches!(expected, "a JSON value" | "a digit" | "null") {
        let in_word = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'+' | b'-');
        // The fault may be at a later byte of the word; none of the words is longer.
        let before = text[..at].iter().rev().take(9).take_while(|byte| in_word(byte)).count();
        let start = at - before;
        let length = text[start..].iter().take(10).take_while(|byte| in_word(byte)).count();
        let word = str::from_utf8(&text[start..start + length]).unwrap_or_default();
        if let Some((_, instead)) = FOREIGN_WORDS.iter().find(|(foreign, _)| *foreign == word) {
            return Mistake::Word { at: start, word, instead };
        }
    }
    let before = text[..at].trim_ascii_end().last();
    let is_key = expected.starts_with("'\"'");
    Mistake::Other(match text[at] {
        b'\'' if is_key || expected == "a JSON value" => ": JSON has double quotes only",
        b'}' | b']' if before == Some(&b',') => ": the comma before it is one too many",
        b',' if before.is_none() || expected.starts_with("the end") => {
            ": records are separated by line ends, not by commas"
        }
        b'\\' if matches!(text.get(at + 1), Some(b'n' | b'r')) && !is_key => {
            ": a backslash and a letter were sent instead of a line end"
        }
        byte if is_key && (byte.is_ascii_alphabetic() || byte == b'_') => ": keys stand in double quotes",
        _ => "",
    })
}

/// The end (exclusive) of the value that starts at `start`, where `text[start]` is not whitespace. A number
/// that runs up to the end of `text` counts as complete.
///
/// # Errors
/// [`Fault::Incomplete`] where the text ends too early, [`Fault::Invalid`] at the first byte that
/// breaks the grammar.
pub fn value_end(text: &[u8], start: usize) -> Result<usize, Fault> {
    value_end_within(&mut Specials::of(text), start, 0)
}

/// The values of one text, for a reader that goes from left to right: what was found in a block of the text serves for all
/// values in it.
#[derive(Clone, Debug)]
pub struct Values<'a>(Specials<'a>);

impl<'a> Values<'a> {
    /// Those of `text`.
    pub fn of(text: &'a [u8]) -> Self {
        Self(Specials::of(text))
    }

    /// The end (exclusive) of the string whose opening quote is at `start`, and whether it has escapes.
    ///
    /// # Errors
    /// As of [`value_end`].
    #[inline(always)]
    pub fn string_end(&mut self, start: usize) -> Result<(usize, bool), Fault> {
        string_end(&mut self.0, start)
    }

    /// The end (exclusive) of the value that starts at `start`, within `outer` arrays and objects.
    ///
    /// # Errors
    /// As of [`value_end`].
    #[inline]
    pub fn end(&mut self, start: usize, outer: usize) -> Result<usize, Fault> {
        value_end_within(&mut self.0, start, outer)
    }
}

/// The same of a value that stands within `outer` arrays and objects.
#[inline(always)]
fn value_end_within(specials: &mut Specials<'_>, start: usize, outer: usize) -> Result<usize, Fault> {
    match *specials.text().get(start).ok_or(Fault::Incomplete)? {
        b'{' | b'[' => container_end(specials, start, outer),
        first => scalar_end(specials, start, first),
    }
}

/// The end (exclusive) of the value that starts at `start` with the byte `first`, which is no array and no object.
#[inline(always)]
fn scalar_end(specials: &mut Specials<'_>, start: usize, first: u8) -> Result<usize, Fault> {
    let text = specials.text();
    match first {
        b'"' => string_end(specials, start).map(|(end, _)| end),
        b'-' | b'0'..=b'9' => number_end(text, start),
        b't' => literal_end(text, start, b"true", "true"),
        b'f' => literal_end(text, start, b"false", "false"),
        b'n' => literal_end(text, start, b"null", "null"),
        _ => Err(Fault::Invalid { at: start, expected: "a JSON value" }),
    }
}

/// The end (exclusive) of the array or object that starts at `start`.
fn container_end(specials: &mut Specials<'_>, start: usize, outer: usize) -> Result<usize, Fault> {
    let text = specials.text();
    let mut open = Nesting::within(outer);
    let mut at = start;
    loop {
        let first = *text.get(at).ok_or(Fault::Incomplete)?;
        match first {
            b'{' => {
                open.push(Container::Object).map_err(|TooDeep| too_deep(at))?;
                at = skip_whitespace(text, at + 1);
                if text.get(at) != Some(&b'}') {
                    at = past_key(specials, at, "'\"' or '}'")?.value_start;
                    continue;
                }
                open.pop();
                at += 1;
            }
            b'[' => {
                open.push(Container::Array).map_err(|TooDeep| too_deep(at))?;
                at = skip_whitespace(text, at + 1);
                if text.get(at) != Some(&b']') {
                    continue;
                }
                open.pop();
                at += 1;
            }
            first => at = scalar_end(specials, at, first)?,
        }
        // A value has ended: close what it completes, or step to its neighbour.
        loop {
            let Some(container) = open.innermost() else {
                return Ok(at);
            };
            at = skip_whitespace(text, at);
            match (container, text.get(at)) {
                (_, None) => return Err(Fault::Incomplete),
                (Container::Object, Some(b',')) => {
                    at = past_key(specials, skip_whitespace(text, at + 1), "'\"'")?.value_start;
                    break;
                }
                (Container::Array, Some(b',')) => {
                    at = skip_whitespace(text, at + 1);
                    break;
                }
                (Container::Object, Some(b'}')) | (Container::Array, Some(b']')) => {
                    open.pop();
                    at += 1;
                }
                (Container::Object, Some(_)) => return Err(Fault::Invalid { at, expected: "',' or '}'" }),
                (Container::Array, Some(_)) => return Err(Fault::Invalid { at, expected: "',' or ']'" }),
            }
        }
    }
}

/// The position of the first byte at or after `start` that is no JSON whitespace; the length of `text` if
/// there is none.
#[inline]
pub fn skip_whitespace(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// One member of an object, as spans of the scanned text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, with its quotes, escapes as written.
    pub key: Range<usize>,
    /// The value, without the whitespace around it.
    pub value: Range<usize>,
    /// Whether the key has escapes.
    pub(crate) has_escapes: bool,
}

/// The members of one object, in order, duplicates included. After a fault the iterator yields nothing more.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    specials: Specials<'a>,
    at: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    AfterMember,
    End,
    Failed,
}

/// The members of the object that starts at `start`, where `text[start]` is not whitespace. A value that is
/// no object is a fault of the first step.
pub fn members(text: &[u8], start: usize) -> Members<'_> {
    Members { specials: Specials::of(text), at: start, place: Place::Start }
}

impl Members<'_> {
    /// The end (exclusive) of the object, once all members have been read without a fault.
    pub fn end(&self) -> Option<usize> {
        (self.place == Place::End).then_some(self.at)
    }

    #[inline(always)]
    fn step(&mut self) -> Result<Option<Member>, Fault> {
        let text = self.specials.text();
        let key_start = match self.place {
            Place::Start => {
                self.expect(b'{', "'{'")?;
                let at = skip_whitespace(text, self.at + 1);
                if text.get(at) == Some(&b'}') {
                    return Ok(self.close(at));
                }
                at
            }
            Place::AfterMember => {
                self.at = skip_whitespace(text, self.at);
                if text.get(self.at) == Some(&b'}') {
                    return Ok(self.close(self.at));
                }
                self.expect(b',', "',' or '}'")?;
                skip_whitespace(text, self.at + 1)
            }
            Place::End | Place::Failed => return Ok(None),
        };
        let expected = if self.place == Place::Start { "'\"' or '}'" } else { "'\"'" };
        let Key { end, has_escapes, value_start } = past_key(&mut self.specials, key_start, expected)?;
        let value_end = value_end_within(&mut self.specials, value_start, 1)?;
        self.at = value_end;
        self.place = Place::AfterMember;
        Ok(Some(Member { key: key_start..end, value: value_start..value_end, has_escapes }))
    }

    fn expect(&self, byte: u8, expected: &'static str) -> Result<(), Fault> {
        match self.specials.text().get(self.at) {
            Some(found) if *found == byte => Ok(()),
            Some(_) => Err(Fault::Invalid { at: self.at, expected }),
            None => Err(Fault::Incomplete),
        }
    }

    fn close(&mut self, brace: usize) -> Option<Member> {
        self.at = brace + 1;
        self.place = Place::End;
        None
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member, Fault>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.place = Place::Failed;
        }
        step.transpose()
    }
}

fn too_deep(at: usize) -> Fault {
    Fault::Invalid { at, expected: "at most 512 levels of nesting" }
}

struct Key {
    end: usize,
    has_escapes: bool,
    value_start: usize,
}

/// Reads `"key" :` and the whitespace around the colon.
#[inline(always)]
fn past_key(specials: &mut Specials<'_>, start: usize, expected: &'static str) -> Result<Key, Fault> {
    let text = specials.text();
    match text.get(start) {
        Some(b'"') => {}
        Some(_) => return Err(Fault::Invalid { at: start, expected }),
        None => return Err(Fault::Incomplete),
    }
    let (end, has_escapes) = string_end(specials, start)?;
    let colon = skip_whitespace(text, end);
    match text.get(colon) {
        Some(b':') => Ok(Key { end, has_escapes, value_start: skip_whitespace(text, colon + 1) }),
        Some(_) => Err(Fault::Invalid { at: colon, expected: "':'" }),
        None => Err(Fault::Incomplete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    fn end(text: &str) -> Result<usize, Fault> {
        value_end(text.as_bytes(), 0)
    }

    /// Whether the whole text is one value with whitespace around it.
    fn accepts(text: &[u8]) -> bool {
        value_end(text, skip_whitespace(text, 0)).is_ok_and(|end| skip_whitespace(text, end) == text.len())
    }

    #[test]
    fn values_end_where_they_end() {
        for value in [
            "{}",
            "[]",
            "\"\"",
            "0",
            "-0",
            "12.5e-3",
            "true",
            "false",
            "null",
            "[[],{}]",
            "{ \"a\" : [1 , 2] }",
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00Ff\\ud800\"",
            "\"a string of more than eight bytes, é and \\\\\"",
            "{\"a\":{\"b\":[{\"c\":null}]},\"d\":-1.0E+5}",
        ] {
            assert_eq!(end(value), Ok(value.len()), "{value}");
            for rest in [" ", ",", "}", "]", "\n{", "\""] {
                assert_eq!(end(&format!("{value}{rest}")), Ok(value.len()), "{value}{rest}");
            }
        }
        assert_eq!(value_end(b"  [1] ", 2), Ok(5));
        assert_eq!(end(""), Err(Fault::Incomplete));
        assert_eq!(value_end(b"1", 7), Err(Fault::Incomplete));
    }

    #[test]
    fn what_the_grammar_forbids_is_invalid_where_it_stands() {
        for (text, wrong_at) in [
            ("{,}", 1),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("{\"a\":1 \"b\":2}", 7),
            ("{a:1}", 1),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("[}", 1),
            ("{]", 1),
            ("[1}", 2),
            ("01", 1),
            ("-01", 2),
            ("-a", 1),
            ("+1", 0),
            (".5", 0),
            ("1.a", 2),
            ("1e,", 2),
            ("1e+,", 3),
            ("NaN", 0),
            ("tru3", 3),
            ("nul ", 3),
            ("'a'", 0),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 5),
            ("\"a\nb\"", 2),
            ("\"123456789\u{1}\"", 10),
            ("\u{feff}{}", 0),
        ] {
            assert!(
                matches!(end(text), Err(Fault::Invalid { at, .. }) if at == wrong_at),
                "{text}: {:?}",
                end(text)
            );
        }
    }

    #[test]
    fn faults_name_the_byte_that_was_found() {
        let describe = |text: &str| end(text).unwrap_err().describe(text.as_bytes());
        assert_eq!(describe("[1 2]"), "at byte 3: found '2', expected ',' or ']'");
        assert_eq!(describe("{\"a\":Nano}"), "at byte 5: found 'N', expected a JSON value");
        assert_eq!(describe("\"\\'\""), "at byte 2: found ''', expected one of \"\\/bfnrtu");
        assert_eq!(
            describe("\"a\n\""),
            "at byte 2: found byte 0x0A, expected a character (control characters must be escaped)"
        );
        assert_eq!(describe("[1,"), "at byte 3: the text ends inside a value");
        assert_eq!(
            value_end(b"  [,", 2).unwrap_err().relative_to(2).to_string(),
            "at byte 1: expected a JSON value"
        );
    }

    #[test]
    fn common_mistakes_are_told() {
        let describe = |text: &str| end(text).unwrap_err().describe(text.as_bytes());
        for (word, instead) in FOREIGN_WORDS {
            let expected = format!("at byte 5: found {word}, which JSON does not have; {instead}");
            for text in [format!("{{\"a\":{word}}}"), format!("{{\"a\":{word},\"b\":1}}")] {
                assert_eq!(describe(&text), expected);
            }
        }
        for (text, hint) in [
            ("{'a': 1}", "double quotes only"),
            ("{\"a\": 'b'}", "double quotes only"),
            ("{a: 1}", "keys stand in double quotes"),
            ("{\"a\":1,}", "one too many"),
            ("{\"a\":[1,\n]}", "one too many"),
            (",", "not by commas"),
            ("\\n", "instead of a line end"),
        ] {
            let described = describe(text);
            assert!(described.contains(": found '") && described.contains(hint), "{text}: {described}");
        }
    }

    #[test]
    fn nesting_is_followed_to_the_limit_and_no_further() {
        for (open, close) in [("[", "]"), ("{\"a\":[", "]}")] {
            let depth = DEPTH_LIMIT / open.matches(['[', '{']).count();
            let text = format!("{}{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(end(&text), Ok(text.len()));
            let deeper = format!("[{text}]");
            assert!(matches!(end(&deeper), Err(Fault::Invalid { .. })));
        }
        // The object around them counts for its members.
        let are_followed = |depth: usize| {
            let text = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            members(text.as_bytes(), 0).all(|member| member.is_ok())
        };
        assert!(are_followed(DEPTH_LIMIT - 1) && !are_followed(DEPTH_LIMIT));
    }

    #[test]
    fn members_give_the_spans_of_keys_and_values() {
        let text = b"xx{ \"a\" : 1 , \"\\\"b\":[ {} ],\"a\":null }yy";
        let mut members = members(text, 2);
        let mut spans = Vec::new();
        assert_eq!(members.end(), None);
        for member in &mut members {
            let Member { key, value, .. } = member.unwrap();
            spans.push((str::from_utf8(&text[key]).unwrap(), str::from_utf8(&text[value]).unwrap()));
        }
        assert_eq!(spans, [("\"a\"", "1"), ("\"\\\"b\"", "[ {} ]"), ("\"a\"", "null")]);
        assert_eq!(members.end(), Some(text.len() - 2));
    }

    #[test]
    fn members_stop_at_a_fault() {
        for text in ["", "[1]", "{\"a\":1,}", "{\"a\":1;}", "{\"a\":1", "{", "{1}", "{\"a\":1,\"b\":x}"] {
            let mut members = members(text.as_bytes(), 0);
            assert!(members.find(Result::is_err).is_some(), "{text}");
            assert_eq!(members.next(), None);
            assert_eq!(members.end(), None);
        }
    }

    fn document() -> impl Strategy<Value = String> {
        let space = "[ \n\r\t]{0,2}";
        let leaf = prop_oneof![
            "(-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,4})?([eE][-+]?[0-9]{1,3})?|true|false|null)",
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            "\"(\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|[ -!#-\\[\\]-~]|é|\u{10348}){0,20}\"",
        ];
        let value = leaf.prop_recursive(6, 32, 4, move |inner| {
            let member = (space, "\"[a-z]{0,12}\"", space, inner.clone())
                .prop_map(|(space, key, other, value)| format!("{space}{key}{other}:{space}{value}{other}"));
            prop_oneof![
                (space, prop::collection::vec(inner, 0..4))
                    .prop_map(|(space, items)| format!("[{space}{}]", items.join(&format!("{space},")))),
                prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        });
        value.boxed()
    }

    proptest! {
        #[test]
        fn valid_documents_are_spanned_exactly_and_their_truncations_are_incomplete(text in document()) {
            prop_assert_eq!(end(&text), Ok(text.len()));
            prop_assert_eq!(end(&format!("{text} {text}")), Ok(text.len()));
            let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
            for cut in 0..text.len() {
                let result = value_end(&text.as_bytes()[..cut], 0);
                let holds = result == Err(Fault::Incomplete) || (is_number && result == Ok(cut));
                prop_assert!(holds, "cut at {}: {:?}", cut, result);
            }
        }

        #[test]
        fn damaged_documents_are_judged_as_serde_json_judges_them(
            text in document(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(
                b"{}[]\",:\\u0123456789.eE+-tfn \n\x01\x1f\x20\x7f\x80\xff".to_vec()), 0..3), 1..4),
        ) {
            let mut text = text.into_bytes();
            for (index, byte, kind) in edits {
                let at = index.index(text.len() + 1);
                match kind {
                    0 => text.insert(at, byte),
                    1 if at < text.len() => text[at] = byte,
                    _ if at < text.len() => { text.remove(at); }
                    _ => {}
                }
            }
            let theirs = serde_json::from_slice::<IgnoredAny>(&text);
            prop_assert_eq!(accepts(&text), theirs.is_ok(), "{}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn members_agree_with_value_end(value in document()) {
            let text = format!("{{\"k\":{value},\"l\":[{value}]}}");
            let mut members = members(text.as_bytes(), 0);
            let values: Vec<usize> = members.by_ref().map(|member| member.unwrap().value.len()).collect();
            prop_assert_eq!(values.len(), 2);
            prop_assert_eq!(values[0] + 2, values[1]);
            prop_assert_eq!(members.end(), Some(text.len()));
        }
    }
}
