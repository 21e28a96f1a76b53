//! The variables of a stream that feeds many tables.
//!
//! In: the environment. Out: [`Routes`], or None for a stream of one table. Refused: patterns that name no table, and
//! settings that have no effect without another one.

use iceberg::TableIdent;
use lake::{Pattern, Routes, Unrouted};
use lambda::env::{Environment, VariableError};
use records::field_path::FieldPath;

const FIELD: &str = "FRAZIL_ROUTE_FIELD";
const PATTERNS: &str = "FRAZIL_ROUTES";
/// More tables than one invocation can commit to in its time.
const MAX_TABLES: usize = 1_000;
const DEFAULT_TABLES: usize = 200;

/// Reads `FRAZIL_ROUTE_PREFIX`, `FRAZIL_ROUTE_FIELD`, `FRAZIL_ROUTES`, `FRAZIL_UNROUTED`, `FRAZIL_TABLE_DEFINITIONS` and
/// `FRAZIL_MAX_TABLES`. Without patterns each value is a table in the namespace of `own`, the stream's own table.
///
/// # Errors
/// Which variable is wrong.
pub fn routes(environment: &Environment, own: &TableIdent) -> Result<Option<Routes>, VariableError> {
    let text = |name| environment.text(name).map(str::to_owned);
    let prefix = text("FRAZIL_ROUTE_PREFIX");
    let field = "the path of a field, one to eight names from the root with dots between them";
    let field: Option<FieldPath> = environment.parse(FIELD, field)?;
    let patterns = match environment.text(PATTERNS) {
        Some(list) => list.split(',').map(pattern).collect::<Result<Vec<Pattern>, VariableError>>()?,
        None => Pattern::parse(&format!("*={}.*", own.namespace().join("."))).into_iter().collect(),
    };
    let unrouted = [("default", Unrouted::Default), ("quarantine", Unrouted::Quarantine)];
    let unrouted = environment.choice("FRAZIL_UNROUTED", &unrouted)?.unwrap_or_default();
    let definitions = text("FRAZIL_TABLE_DEFINITIONS");
    let max_tables = environment.number("FRAZIL_MAX_TABLES", "tables", 1..=MAX_TABLES)?;
    if prefix.is_none() && field.is_none() {
        for name in [PATTERNS, "FRAZIL_UNROUTED", "FRAZIL_TABLE_DEFINITIONS", "FRAZIL_MAX_TABLES"] {
            if let Some(value) = text(name) {
                let expected = format!("{FIELD} or FRAZIL_ROUTE_PREFIX with it");
                return Err(VariableError::Invalid { name, value, expected });
            }
        }
        return Ok(None);
    }
    let max_tables = max_tables.unwrap_or(DEFAULT_TABLES);
    Ok(Some(Routes { prefix, field, patterns, unrouted, definitions, max_tables }))
}

fn pattern(text: &str) -> Result<Pattern, VariableError> {
    Pattern::parse(text).ok_or_else(|| VariableError::Invalid {
        name: PATTERNS,
        value: text.to_owned(),
        expected: "VALUE=NAMESPACE.NAME, with commas between them; * stands for any text".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Routes>, String> {
        let own = TableIdent::from_strs(["shop", "events"]).unwrap();
        routes(&variables.iter().copied().collect(), &own).map_err(|error| error.to_string())
    }

    #[test]
    fn a_stream_has_one_table_unless_it_is_said() {
        assert_eq!(read(&[]), Ok(None));
        let routes = read(&[("FRAZIL_ROUTE_FIELD", "detail.type")]).unwrap().unwrap();
        assert_eq!(routes.field, Some("detail.type".parse().unwrap()));
        assert_eq!(routes.patterns, [Pattern::parse("*=shop.*").unwrap()]);
        assert_eq!((routes.unrouted, routes.max_tables), (Unrouted::Default, 200));
        let routes = read(&[
            ("FRAZIL_ROUTE_PREFIX", "raw/"),
            ("FRAZIL_ROUTES", "a*=n.a,*=n.rest"),
            ("FRAZIL_UNROUTED", "quarantine"),
        ]);
        let routes = routes.unwrap().unwrap();
        assert_eq!((routes.prefix.as_deref(), routes.patterns.len()), (Some("raw/"), 2));
        assert_eq!(routes.unrouted, Unrouted::Quarantine);
    }

    #[test]
    fn errors_name_the_variable() {
        for (variables, expected) in [
            (
                &[("FRAZIL_ROUTE_FIELD", "a..b")][..],
                "FRAZIL_ROUTE_FIELD=a..b: expected the path of a field, one to eight names from the root with dots between them",
            ),
            (
                &[("FRAZIL_ROUTE_FIELD", "a"), ("FRAZIL_ROUTES", "x=n.t,y=t")],
                "FRAZIL_ROUTES=y=t: expected VALUE=NAMESPACE.NAME, with commas between them; * stands for any text",
            ),
            (
                &[("FRAZIL_UNROUTED", "quarantine")],
                "FRAZIL_UNROUTED=quarantine: expected FRAZIL_ROUTE_FIELD or FRAZIL_ROUTE_PREFIX with it",
            ),
        ] {
            assert_eq!(read(variables), Err(expected.to_owned()));
        }
    }
}
