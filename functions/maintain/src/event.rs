//! An event -> what is to be done.
//!
//! In: the event, JSON. Out: a [`Task`]. Refused: the question for the freshness of what can be no table.

use anyhow::{Context as _, bail};
use iceberg::TableIdent;
use serde_json::Value;

/// The member that asks for the age of a table's newest row.
const FRESHNESS: &str = "freshness";

/// What an invocation is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// The upkeep of all tables, which any event stands for that asks for nothing else.
    Upkeep,
    /// `{"freshness": "NAMESPACE.NAME"}`: how old the newest row of that table is.
    Freshness(TableIdent),
}

impl Task {
    /// What `event` asks for.
    ///
    /// # Errors
    /// It is no JSON, or the table has no name.
    pub fn of(event: &str) -> anyhow::Result<Self> {
        let event: Value = serde_json::from_str(event).context("the event is no JSON")?;
        match event.get(FRESHNESS) {
            None => Ok(Self::Upkeep),
            Some(table) => match table.as_str().and_then(settings::table_ident) {
                Some(table) => Ok(Self::Freshness(table)),
                None => bail!("{FRESHNESS} in the event is {table}: expected NAMESPACE.NAME"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_asks_for_nothing_is_for_the_upkeep() {
        for event in
            ["{}", "null", "[]", r#"{"detail-type": "Scheduled Event", "detail": {"freshness": "a.b"}}"#]
        {
            assert_eq!(Task::of(event).unwrap(), Task::Upkeep, "{event}");
        }
    }

    #[test]
    fn a_table_is_named_as_everywhere() {
        let table = TableIdent::from_strs(["shop", "events"]).unwrap();
        assert_eq!(Task::of(r#"{"freshness": "shop.events"}"#).unwrap(), Task::Freshness(table));
        for (event, error) in [
            (r#"{"freshness": "events"}"#, r#"freshness in the event is "events": expected NAMESPACE.NAME"#),
            (r#"{"freshness": 1}"#, "freshness in the event is 1: expected NAMESPACE.NAME"),
            ("freshness", "the event is no JSON"),
        ] {
            assert_eq!(Task::of(event).unwrap_err().to_string(), error);
        }
    }
}
