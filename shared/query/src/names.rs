//! The names of columns, without regard to case where they have no quotes.
//!
//! In: a parsed query. Out: the same with the name of the column that it means in the place of each name without quotes, as
//! `cityName` for `cityname`: DataFusion makes such names lower case, while the events of most producers have capitals. A
//! column that is written in lower case is meant before others; where several differ only by capitals, none is chosen, so
//! that quotes are needed.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, SelectItem, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};

/// Gives the names in `statement` the capitals of the columns of its tables, as `context` has them.
pub(crate) async fn resolve(statement: &mut Statement, context: &SessionContext) -> Result<()> {
    let query = match statement {
        Statement::Statement(query) => query,
        Statement::Explain(explain) => return Box::pin(resolve(&mut explain.statement, context)).await,
        _ => return Ok(()),
    };
    let mut used = Used::default();
    let _ = Visit::visit(&**query, &mut used);
    let mut names = Names { columns: Lower::default(), fields: Lower::default(), tables: used.aliases };
    for name in used.relations {
        // A query of the WITH clause is no table, and what is neither is an error later.
        let Ok(table) = context.table_provider(object_name_to_table_reference(name, true)?).await else {
            continue;
        };
        for column in table.schema().fields() {
            names.columns.add(column);
            names.fields.add_inner(column.data_type());
        }
    }
    let _ = VisitMut::visit(&mut **query, &mut names);
    Ok(())
}

/// Names by what they are in lower case. None where it does not say which one.
#[derive(Default)]
struct Lower(HashMap<String, Option<String>>);

impl Lower {
    fn add(&mut self, field: &Field) {
        let (name, lower) = (field.name(), field.name().to_lowercase());
        let known = self.0.entry(lower.clone()).or_insert_with(|| Some(name.clone()));
        if lower == *name {
            *known = Some(lower);
        } else if known.as_ref().is_some_and(|known| known != name && *known != lower) {
            *known = None;
        }
    }

    fn add_inner(&mut self, of: &DataType) {
        match of {
            DataType::Struct(fields) => fields.iter().for_each(|field| {
                self.add(field);
                self.add_inner(field.data_type());
            }),
            DataType::List(inner) | DataType::LargeList(inner) | DataType::Map(inner, _) => {
                self.add_inner(inner.data_type());
            }
            _ => {}
        }
    }
}

/// What the FROM clauses name.
#[derive(Default)]
struct Used {
    relations: Vec<ObjectName>,
    /// By these, in lower case, columns may be qualified.
    aliases: HashSet<String>,
}

impl Visitor for Used {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let last = name.0.last().and_then(|part| part.as_ident());
        self.aliases.extend(last.map(|name| name.value.to_lowercase()));
        self.relations.push(name.clone());
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } = factor
        {
            self.aliases.insert(alias.name.value.to_lowercase());
        }
        ControlFlow::Continue(())
    }
}

struct Names {
    columns: Lower,
    /// Of the structs in columns.
    fields: Lower,
    /// By these, in lower case, columns may be qualified.
    tables: HashSet<String>,
}

fn set(name: &mut Ident, known: &Lower) {
    if name.quote_style.is_none()
        && let Some(Some(column)) = known.0.get(&name.value.to_lowercase())
    {
        *name = Ident { value: column.clone(), quote_style: Some('"'), span: name.span };
    }
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => set(name, &self.columns),
            Expr::CompoundIdentifier(names) => {
                let is_qualified =
                    names.first().is_some_and(|name| self.tables.contains(&name.value.to_lowercase()));
                let mut names = names.iter_mut().skip(usize::from(is_qualified));
                if let Some(column) = names.next() {
                    set(column, &self.columns);
                }
                names.for_each(|field| set(field, &self.fields));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// A name that a query gives is one that others may ask it for.
    fn pre_visit_select(&mut self, select: &mut datafusion::sql::sqlparser::ast::Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                set(alias, &self.columns);
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use iceberg::TableIdent;
    use lake::{Lake, TableDefinition};

    use crate::{Limits, Session};

    const TABLE: &[u8] = br#"{"name": "clicks", "schema": {"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "userId", "type": "long", "required": false},
        {"id": 3, "name": "page", "type": "string", "required": false},
        {"id": 6, "name": "deviceInfo", "required": false, "type": {"type": "struct", "fields": [
            {"id": 7, "name": "osName", "type": "string", "required": false},
            {"id": 8, "name": "USERid", "type": "string", "required": false}]}}]}}"#;

    #[tokio::test]
    async fn names_without_quotes_mean_columns_with_capitals() {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = format!("file://{}/warehouse", folder.path().display());
        let lake = Lake::open_sqlite(&folder.path().join("catalog.db"), &warehouse).await.unwrap();
        let ident = TableIdent::from_strs(["web", "clicks"]).unwrap();
        lake.create(&ident, TableDefinition::parse(TABLE).unwrap()).await.unwrap();
        let session = Session::new(lake, "web", Limits { memory_bytes: 64 << 20, parallel: 1 }).unwrap();
        for sql in [
            "SELECT userId, USERID + 1 FROM clicks WHERE userid > 1 GROUP BY UserId ORDER BY userid",
            "SELECT c.userId, c.deviceInfo.osName AS os FROM web.clicks c JOIN clicks d ON c.USERID = d.userId",
            "WITH w AS (SELECT count(*) AS USERID FROM clicks) SELECT userId FROM w",
            "SELECT clicks.userid FROM clicks",
            "SELECT userid.page FROM clicks AS userid",
            "SELECT PAGE, deviceInfo.userID FROM clicks",
            "EXPLAIN SELECT userId FROM clicks",
            "SELECT snapshot_id FROM clicks$snapshots",
        ] {
            let rows = session.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            rows.try_collect::<Vec<_>>().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        for sql in ["SELECT kind FROM clicks", "SELECT \"userid\" FROM clicks", "SELECT osname FROM clicks"] {
            assert!(session.run(sql).await.is_err(), "{sql}");
        }
    }
}
