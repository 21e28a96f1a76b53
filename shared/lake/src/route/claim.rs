//! Several values whose tables would have one name -> the records of one of them.
//!
//! `a-b` and `a_b` both make the name `a_b`. The table is of the value that it was created for, which a property keeps.
//! In: the records for the table. Out, to a sink: those of this value. Refused: those of another one.

use std::collections::HashMap;
use std::sync::Arc;

use records::rejection::{Reason, Refusal};

use super::Routes;
use crate::objects::{Closed, End, Origin, Record, Refused, Sink};

/// Keeps the value, or the folder, that a table was created for.
const ROUTE_VALUE: &str = "frazil.route-value";

/// For which value records come to a table whose name is made of it.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    pub(crate) routes: Arc<Routes>,
    /// That of the first record.
    pub(crate) value: String,
    /// Whether others have another one.
    pub(crate) is_mixed: bool,
}

/// The value whose records a table takes.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    routes: Arc<Routes>,
    value: String,
}

/// Passes on what a claim takes.
pub(crate) struct Claimed<'a, S> {
    claim: Claim,
    sink: &'a mut S,
}

impl Routed {
    /// Keeps the value in the `properties` of a table that is to be created.
    pub(crate) fn note(&self, properties: &mut HashMap<String, String>) {
        properties.entry(ROUTE_VALUE.to_owned()).or_insert_with(|| self.value.clone());
    }

    /// What the table of `properties` takes, if it does not take all that comes.
    pub(crate) fn claim(&self, properties: &HashMap<String, String>) -> Option<Claim> {
        let value = properties.get(ROUTE_VALUE).filter(|value| self.is_mixed || **value != self.value)?;
        Some(Claim { routes: self.routes.clone(), value: value.clone() })
    }
}

impl Claim {
    /// What passes on to `sink` what the claim takes.
    pub(crate) fn on<S>(self, sink: &mut S) -> Claimed<'_, S> {
        Claimed { claim: self, sink }
    }

    fn check(&self, origin: &Origin, text: &[u8]) -> Result<(), Refusal> {
        let folder = match origin {
            Origin::Object { object, .. } => self.routes.folder(&object.object.key),
            Origin::Kafka { .. } => None,
        };
        let value = match folder {
            Some(folder) => Some(folder.into()),
            None => self.routes.of_record(text).and_then(|(_, value)| value),
        };
        match value {
            Some(value) if value != self.value => {
                let what = format!(
                    "the table is of the value {:?}, and a table of this record's value would have the same name; name \
                     one of them by a rule of its own in FRAZIL_ROUTES",
                    self.value
                );
                Err(Refusal::new(Reason::NoRoute, what))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Sink> Sink for Claimed<'_, S> {
    fn record(&mut self, origin: &Origin, record: Record<'_>) -> Result<(), Closed> {
        let record = record.and_then(|text| match self.claim.check(origin, text) {
            Ok(()) => Ok(text),
            Err(refusal) => Err(Refused::new(refusal, Some(text))),
        });
        self.sink.record(origin, record)
    }

    fn end(&mut self, source: usize, end: End) -> Result<(), Closed> {
        self.sink.end(source, end)
    }
}
