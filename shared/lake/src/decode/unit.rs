//! Numbers in timestamp columns: in which unit they count.
//!
//! In: the table properties `frazil.timestamp-unit` and `frazil.timestamp-unit.<column>` (`s`, `ms`, `us` or `ns`), and
//! numbers as they are spelled. Out: nanoseconds since 1970-01-01T00:00:00Z, exact; what is finer is cut. Refused:
//! properties of other values or of columns that the schema lacks, instants outside the years 0000 to 9999, and, where
//! no property names the unit, numbers from which it cannot be told.
//!
//! | number, without its sign | unit         | instants                     |
//! |--------------------------|--------------|------------------------------|
//! | below 10^8               | refused      |                              |
//! | 10^8 to 10^11            | seconds      | 1973 to 5138; 1966 backwards |
//! | 10^11 to 10^14           | milliseconds | the same                     |
//! | 10^14 to 10^17           | microseconds | the same                     |
//! | 10^17 to 10^20           | nanoseconds  | the same                     |
//! | from 10^20               | refused      |                              |
//!
//! Each unit begins with its lower bound. Between 1966-10-31 and 1973-03-03 no unit can be told, so zero is refused too.
//! So is what producers write that mean something else: see [`is_telling`].

use std::collections::HashMap;
use std::ops::RangeInclusive;

use iceberg::spec::Schema;
use iceberg::{Error, ErrorKind, Result};

use super::number::{self, Misfit};

const PROPERTY: &str = "frazil.timestamp-unit";

/// What a number counts since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// The units of the numbers in a table's timestamp columns.
#[derive(Debug, Default)]
pub(crate) struct Units {
    pub(super) default: Option<Unit>,
    pub(super) by_column: HashMap<String, Unit>,
}

/// Nanoseconds of the first and the last instant that RFC 3339 can spell. Calendars, those of the partition transforms
/// too, end before the numbers do.
const YEARS: RangeInclusive<i128> = -62_167_219_200_000_000_000..=253_402_300_799_999_999_999;

const UNTOLD: &str =
    "a number whose unit cannot be told (set the table property frazil.timestamp-unit to s, ms, us or ns)";
const TOO_SMALL: &str = "a number below 100,000,000, whose unit cannot be told (set the table property \
                         frazil.timestamp-unit to s, ms, us or ns)";
const TOO_LARGE: &str = "a number beyond nanoseconds (10^20 or more)";
const OUTSIDE: &str = "a number outside the years 0000 to 9999";

impl Unit {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "s" => Self::Seconds,
            "ms" => Self::Millis,
            "us" => Self::Micros,
            "ns" => Self::Nanos,
            _ => return None,
        })
    }

    /// In words, in the plural.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        }
    }

    /// Nanoseconds are the number times ten to this power.
    fn scale(self) -> u32 {
        match self {
            Self::Seconds => 9,
            Self::Millis => 6,
            Self::Micros => 3,
            Self::Nanos => 0,
        }
    }

    /// The unit in which a number with this whole part counts, or why it cannot be told.
    fn of_magnitude(whole: u128) -> std::result::Result<Self, &'static str> {
        let (unit, seconds) = match whole.checked_ilog10().unwrap_or(0) {
            0..8 => return Err(TOO_SMALL),
            8..11 => return Ok(Self::Seconds),
            11..14 => (Self::Millis, whole),
            14..17 => (Self::Micros, whole / 1_000),
            17..20 => (Self::Nanos, whole / 1_000_000),
            _ => return Err(TOO_LARGE),
        };
        if is_telling(whole, seconds) { Ok(unit) } else { Err(UNTOLD) }
    }
}

/// Whether a number means what its magnitude says. `seconds` is the number read in the next coarser unit, as seconds.
///
/// Three spellings are too common to be taken for instants that nobody means: the end of the year 9999, for "never",
/// which in the next finer unit lies in January 1978; digits of the calendar (`YYYYMMDDHHMMSS`, with milliseconds or
/// without), which would lie in the years 2594 to 2635; and the largest number of 64 bits, for "never" again.
fn is_telling(whole: u128, seconds: u128) -> bool {
    // A day to both sides, since the end of the year is another instant in each zone.
    let is_never = (253_402_128_000..=253_402_387_199).contains(&seconds);
    // Nanoseconds lie far beyond these, whatever they are divided by.
    let calendar = if whole < 100_000_000_000_000 { whole } else { whole / 1_000 };
    let is_calendar = (19_700_101_000_000..=20_991_231_235_959).contains(&calendar);
    !is_never && !is_calendar && whole != i64::MAX as u128
}

/// Nanoseconds since 1970 of the number `text`, which counts in `unit` if the table names one. The error is what was found
/// instead, or nothing if `text` is no number.
pub(super) fn instant(text: &str, unit: Option<Unit>) -> std::result::Result<i128, Option<&'static str>> {
    let of_misfit = |misfit| match misfit {
        Misfit::NotANumber => None,
        Misfit::Fraction | Misfit::Range if unit.is_none() => Some(TOO_LARGE),
        Misfit::Fraction | Misfit::Range => Some(OUTSIDE),
    };
    let (floor, exact) = number::floored(text, 0).map_err(of_misfit)?;
    let unit = match unit {
        Some(unit) => unit,
        // -1.5 lies between -2 and -1, and its whole part is 1.
        None => Unit::of_magnitude(floor.unsigned_abs() - u128::from(floor < 0 && !exact))?,
    };
    let nanos = match exact {
        true => floor.checked_mul(10_i128.pow(unit.scale())).ok_or(OUTSIDE)?,
        false => number::floored(text, unit.scale()).map_err(of_misfit)?.0,
    };
    if YEARS.contains(&nanos) { Ok(nanos) } else { Err(Some(OUTSIDE)) }
}

impl Units {
    /// The units that a table's `properties` name for columns of `schema`.
    ///
    /// # Errors
    /// A property names no unit.
    pub(crate) fn of(properties: &HashMap<String, String>) -> Result<Self> {
        let mut units = Self::default();
        for (name, value) in properties {
            let Some(column) = name.strip_prefix(PROPERTY) else { continue };
            let column = match column.strip_prefix('.') {
                Some(column) => column,
                None if column.is_empty() => column,
                // Another property.
                None => continue,
            };
            let unit = Unit::parse(value).ok_or_else(|| {
                let what = format!(
                    "table property {name}={value}: expected s, ms, us or ns; set it to one of them or remove it"
                );
                Error::new(ErrorKind::DataInvalid, what)
            })?;
            match name == PROPERTY {
                true => units.default = Some(unit),
                false => {
                    units.by_column.insert(column.to_owned(), unit);
                }
            }
        }
        Ok(units)
    }

    /// That `schema` has every column that a unit is named for.
    ///
    /// # Errors
    /// It lacks one.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        let mut missing: Vec<&str> = self.by_column.keys().map(String::as_str).collect();
        missing.retain(|column| schema.field_id_by_name(column).is_none());
        missing.sort_unstable();
        let Some(column) = missing.first() else { return Ok(()) };
        let what = format!(
            "table property {PROPERTY}.{column}: the table has no column {column:?}; name a column as the schema does, \
             nested ones as outer.inner"
        );
        Err(Error::new(ErrorKind::DataInvalid, what))
    }
}
