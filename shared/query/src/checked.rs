//! What a statement may be.
//!
//! In: a parsed statement. Out: nothing. Refused: whatever is not a query or its EXPLAIN, and the parts of a query that
//! DataFusion's planner passes over without a word, which would give other rows than asked for.

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_err};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, Statement as Sql, TableFactor, Visit as _, Visitor};

/// Checks a statement. No query of a WITH clause may have one of `taken` as its name.
pub(crate) fn check(statement: &Statement, taken: &[String]) -> Result<()> {
    match statement {
        Statement::Statement(sql) if matches!(**sql, Sql::Query(_)) => {
            match sql.visit(&mut PassedOver { taken }) {
                ControlFlow::Break(what) => plan_err!("{what}"),
                ControlFlow::Continue(()) => Ok(()),
            }
        }
        Statement::Explain(explain) => check(&explain.statement, taken),
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or_default();
            plan_err!("only queries are run here, which change nothing: {verb} is refused")
        }
    }
}

struct PassedOver<'a> {
    taken: &'a [String],
}

impl Visitor for PassedOver<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        for cte in ctes {
            let name = &cte.alias.name;
            let name =
                if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
            if self.taken.contains(&name) {
                return ControlFlow::Break(format!(
                    "{name} is a query of the WITH clause, which has no AS OF: name the table with its namespace"
                ));
            }
        }
        if !query.locks.is_empty() || query.for_clause.is_some() {
            return ControlFlow::Break("a FOR clause at the end of a query has no meaning here".to_owned());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        let what = match factor {
            TableFactor::Table { version: Some(version), name, .. } => Some(format!(
                "{name}: {version} is not understood here: write FOR TIMESTAMP AS OF or FOR VERSION AS OF"
            )),
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                Some("TABLESAMPLE is not supported".to_owned())
            }
            TableFactor::Table { name, partitions, with_hints, index_hints, json_path, .. }
                if !partitions.is_empty()
                    || !with_hints.is_empty()
                    || !index_hints.is_empty()
                    || json_path.is_some() =>
            {
                Some(format!("nothing may be said of the table {name} but its version and its alias"))
            }
            _ => None,
        };
        what.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}
