//! Topics -> tables.
//!
//! In: rules, and a topic. Out: the table of the first rule whose pattern is the whole topic, or else the table of all
//! topics. Refused: rules that are none; topics without a rule, and those that give no name for a table.

use iceberg::TableIdent;
use lambda::env::VariableError;
use regex_lite::{Captures, Regex};

/// The variable that holds the rules.
pub(crate) const VARIABLE: &str = "FRAZIL_TOPIC_TABLES";
const EXPECTED: &str = "PATTERN=NAMESPACE.NAME, parted by semicolons or line ends; the pattern is a regular expression for the \
    whole topic, and $1 stands for its first group";
/// Glue takes no longer names.
const MAX_NAME_BYTES: usize = 255;

/// Which table the records of a topic go to.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    rules: Vec<(Regex, String)>,
    /// For topics that no rule is for.
    default: Option<TableIdent>,
}

impl Routes {
    /// The rules in `text`, and the table for all other topics.
    ///
    /// # Errors
    /// A rule is none.
    pub fn new(text: &str, default: Option<TableIdent>) -> Result<Self, VariableError> {
        let rules = text.split([';', '\n']).map(str::trim).filter(|rule| !rule.is_empty());
        let parsed = rules.map(|rule| {
            let parts = rule.rsplit_once('=').and_then(|(pattern, table)| {
                let pattern = Regex::new(&format!("^(?:{})$", pattern.trim())).ok()?;
                // With a letter for each group it names a table.
                let sample = table.trim().replace("${", "$").replace(['$', '}'], "a");
                settings::table_ident(&sample)?;
                Some((pattern, table.trim().to_owned()))
            });
            let invalid = || VariableError::Invalid {
                name: VARIABLE,
                value: rule.to_owned(),
                expected: EXPECTED.to_owned(),
            };
            parts.ok_or_else(invalid)
        });
        Ok(Self { rules: parsed.collect::<Result<_, _>>()?, default })
    }

    /// The table for `topic`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn table(&self, topic: &str) -> Result<TableIdent, String> {
        let found = self.rules.iter().find_map(|(pattern, table)| Some((pattern.captures(topic)?, table)));
        match found {
            Some((captures, table)) => named(table, &captures)
                .ok_or_else(|| format!("the rule for the topic {topic} gives no name for a table: {table}")),
            None => self.default.clone().ok_or_else(|| {
                format!("no rule of {VARIABLE} is for the topic {topic}, and FRAZIL_TABLE is not set")
            }),
        }
    }
}

/// `table` with the groups of `captures` put in.
fn named(table: &str, captures: &Captures<'_>) -> Option<TableIdent> {
    let mut name = String::new();
    let mut rest = table;
    while let Some((before, after)) = rest.split_once('$') {
        name.push_str(before);
        let after = after.strip_prefix('{').unwrap_or(after);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let group = captures.get(after.get(..digits)?.parse().ok()?)?;
        name.push_str(&folded(group.as_str()));
        rest = after.get(digits..)?;
        rest = rest.strip_prefix('}').unwrap_or(rest);
    }
    name.push_str(rest);
    settings::table_ident(&name).filter(|_| name.len() <= MAX_NAME_BYTES)
}

/// A part of a topic's name as Athena takes names: lower-case letters, digits and underscores (Amazon Athena User Guide,
/// "Name databases, tables, and columns"). Anything else becomes an underscore.
fn folded(part: &str) -> String {
    let fold = |character: char| match character.to_ascii_lowercase() {
        character @ ('a'..='z' | '0'..='9' | '_') => character,
        _ => '_',
    };
    part.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &Routes, topic: &str) -> Result<String, String> {
        routes.table(topic).map(|table| table.to_string())
    }

    #[test]
    fn the_first_rule_for_the_whole_topic_counts() {
        let rules = r"dev\.shop\.(.+)=shop.$1; orders-.+=shop.archive
            (\w+)\.(\w+)\.v(\d+) = ${1}_db.${2}_${3}";
        let routes = Routes::new(rules, None).unwrap();
        for (topic, expected) in [
            ("dev.shop.orders", "shop.orders"),
            ("dev.shop.Order-Items.v2", "shop.order_items_v2"),
            ("orders-2024", "shop.archive"),
            ("crm.Leads.v7", "crm_db.leads_7"),
        ] {
            assert_eq!(table(&routes, topic).as_deref(), Ok(expected));
        }
        for topic in ["orders-", "my-orders-2024", "audit.login", "xdev.shop.a"] {
            let error = table(&routes, topic).unwrap_err();
            assert!(error.contains(topic) && error.contains(VARIABLE), "{error}");
        }
        let all = Routes::new("", settings::table_ident("db.all")).unwrap();
        assert_eq!(table(&all, "anything").as_deref(), Ok("db.all"));
        let both = Routes::new("a=db.a", settings::table_ident("db.all")).unwrap();
        assert_eq!([table(&both, "a").unwrap(), table(&both, "ab").unwrap()], ["db.a", "db.all"]);
    }

    #[test]
    fn rules_that_are_none_are_refused() {
        for rule in ["orders", "(=db.t", "a=t", "a=", "a=db.", "*=db.t"] {
            let error = Routes::new(rule, None).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{VARIABLE}={rule}: expected PATTERN=")), "{error}");
        }
        // A group that is not there, or has taken no part.
        let routes = Routes::new("(a)|b=db.$1;c=db.$2", None).unwrap();
        assert_eq!(table(&routes, "a").as_deref(), Ok("db.a"));
        for topic in ["b", "c"] {
            assert!(table(&routes, topic).unwrap_err().contains("gives no name"), "{topic}");
        }
    }
}
