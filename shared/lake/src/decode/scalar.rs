//! One JSON value that is no array, object or null -> the value of a primitive Iceberg type.
//!
//! The rules, strict so that nothing is damaged silently: a whole number may be spelled `1.0` or `1e3`; a string may
//! spell a boolean or a number, and of leading zeros it may have the one of two digits (ISO 8601 writes hours so, and
//! transform `partition_hour`; `007` is no number); a decimal is exact or refused; instants are RFC 3339 (UTC where no
//! zone is given; `time.rs` has further spellings) or numbers since 1970, in the unit that `unit.rs` tells; a date may be
//! spelled as the instant at which it begins in UTC; a uuid is canonical; binary is base64
//! (RFC 4648 section 4, padding optional).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurposeConfig;
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use jiter::Peek;

use super::number::{self, Misfit};
use super::time;
use super::unit::{self, Unit};

/// A value with what is needed to decode it to any primitive type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    /// A string, unescaped.
    Text(&'a str),
    /// A number as it is spelled.
    Number(&'a str),
    Boolean(bool),
}

const DAY_NANOS: i128 = 86_400_000_000_000;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<'a> Scalar<'a> {
    pub(super) fn boolean(self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(value),
            Self::Text("true") => Some(true),
            Self::Text("false") => Some(false),
            _ => None,
        }
    }

    pub(super) fn integer<T: TryFrom<i128>>(self) -> Option<T> {
        self.number().and_then(|text| number::scaled(text, 0).ok()).and_then(|value| T::try_from(value).ok())
    }

    pub(super) fn float(self) -> Option<f32> {
        self.number().and_then(|text| number::float(text).ok())
    }

    pub(super) fn double(self) -> Option<f64> {
        self.number().and_then(|text| number::double(text).ok())
    }

    pub(super) fn decimal(self, precision: u32, scale: u32) -> Option<i128> {
        let limit = 10_i128.checked_pow(precision)?;
        self.number()
            .and_then(|text| number::scaled(text, scale).ok())
            .filter(|value| (-limit < *value) && (*value < limit))
    }

    /// Days since 1970. An instant stands for its day where it is the first of it, in UTC: no part of it is lost.
    pub(super) fn date(self, unit: Option<Unit>) -> Option<i32> {
        if let Self::Text(text) = self
            && let Some(days) = time::date(text)
        {
            return Some(days);
        }
        let nanos = self.instant(unit).ok()?;
        (nanos.rem_euclid(DAY_NANOS) == 0).then(|| i32::try_from(nanos / DAY_NANOS).ok()).flatten()
    }

    pub(super) fn time_of_day(self) -> Option<i64> {
        match self {
            Self::Text(text) => time::time_of_day(text),
            _ => None,
        }
    }

    /// Microseconds since 1970, or what was found instead. `unit` is that of numbers, where the table names one.
    pub(super) fn timestamp_micros(self, unit: Option<Unit>) -> Result<i64, Cow<'static, str>> {
        let nanos = self.instant(unit)?;
        i64::try_from(nanos.div_euclid(1000)).map_err(|_| self.describe())
    }

    /// The same in nanoseconds, which 64 bits hold from 1677 to 2262.
    pub(super) fn timestamp_nanos(self, unit: Option<Unit>) -> Result<i64, Cow<'static, str>> {
        i64::try_from(self.instant(unit)?).map_err(|_| "an instant outside the years 1677 to 2262".into())
    }

    fn instant(self, unit: Option<Unit>) -> Result<i128, Cow<'static, str>> {
        let number = match self {
            Self::Text(text) => match time::instant(text) {
                Some(nanos) => return Ok(nanos),
                None => text,
            },
            Self::Number(text) => text,
            Self::Boolean(_) => return Err(self.describe()),
        };
        unit::instant(number, unit).map_err(|misread| misread.map_or_else(|| self.describe(), Cow::from))
    }

    pub(super) fn uuid(self) -> Option<[u8; 16]> {
        match self {
            // Of the spellings that the parser takes, only the hyphenated one has 36 characters.
            Self::Text(text) if text.len() == 36 => {
                uuid::Uuid::try_parse(text).ok().map(uuid::Uuid::into_bytes)
            }
            _ => None,
        }
    }

    pub(super) fn binary(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => BASE64.decode(text).ok(),
            _ => None,
        }
    }

    /// The value as text: a string itself, else as JSON spells it.
    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
            Self::Boolean(true) => "true",
            Self::Boolean(false) => "false",
        }
    }

    /// The value's kind for an error message; never the value itself.
    pub(super) fn describe(self) -> Cow<'static, str> {
        match self {
            Self::Text("") => "an empty string, which frazil.empty-string-is-null=true makes null".into(),
            Self::Text(text) => format!("a string of {} bytes", text.len()).into(),
            Self::Number(text) => match number::scaled(text, 0) {
                Ok(whole) if i64::try_from(whole).is_err() => "a whole number of more than 64 bits".into(),
                Ok(_) => "a whole number".into(),
                Err(Misfit::Fraction) => "a number with a fraction".into(),
                Err(_) => "a number of more than 38 digits".into(),
            },
            Self::Boolean(_) => "a boolean".into(),
        }
    }

    /// The text of a number, or of a string that may spell one.
    fn number(self) -> Option<&'a str> {
        match self {
            Self::Text(text) if matches!(text.as_bytes(), [b'0', b'0'..=b'9']) => Some(&text[1..]),
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Boolean(_) => None,
        }
    }
}

/// The kind of the value that a parser stands at.
pub(super) fn kind(peek: Peek) -> &'static str {
    match peek {
        Peek::Null => "null",
        Peek::True | Peek::False => "a boolean",
        Peek::String => "a string",
        Peek::Array => "an array",
        Peek::Object => "an object",
        _ => "a number",
    }
}
