//! Why records were refused, with the first example of each reason.
//!
//! In: what transform and append say. Out: [`Refusals`], by stage and reason. Transform's examples are places in the
//! input; append's are read back from the quarantine, which is where their bytes are kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _};
use std::path::Path;

use lake::quarantine::{Line, lines_in};
use lake::{Rejected, SourceObject};
use serde::{Serialize, Serializer};
use walkdir::WalkDir;

/// Who refused a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    Transform,
    Append,
}

/// A refused record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Example {
    /// The input or the URI of the raw object that it is in.
    pub(super) object: String,
    /// Which record of it, from 1.
    pub(super) row: u64,
    /// Where it begins, in bytes of the decompressed content.
    pub(super) offset: u64,
    pub(super) message: String,
    pub(super) remedy: String,
}

/// How many records were refused for one reason.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refused {
    pub(super) stage: Stage,
    pub(super) reason: String,
    pub(super) records: u64,
    /// None if the quarantine cannot be read.
    pub(super) first: Option<Example>,
}

/// All reasons.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_reason: BTreeMap<(Stage, String), Refused>,
}

impl Serialize for Refusals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Refusals {
    /// By stage, then by reason.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Refused> {
        self.by_reason.values()
    }

    fn of(&mut self, stage: Stage, reason: &str) -> &mut Refused {
        let new = || Refused { stage, reason: reason.to_owned(), records: 0, first: None };
        self.by_reason.entry((stage, reason.to_owned())).or_insert_with(new)
    }

    /// Counts a record that transform refused.
    pub(super) fn add(&mut self, reason: &str, example: impl FnOnce() -> Example) {
        let refused = self.of(Stage::Transform, reason);
        refused.records += 1;
        refused.first.get_or_insert_with(example);
    }

    /// Counts what append rejected of `object`. `quarantine` is the folder of the table's quarantine.
    pub(super) fn add_rejected(&mut self, quarantine: &Path, object: &SourceObject, rejected: &Rejected) {
        let mut wanted = Vec::new();
        for (reason, count) in rejected {
            let refused = self.of(Stage::Append, reason.code());
            refused.records += count;
            if refused.first.is_none() {
                wanted.push(reason.code());
            }
        }
        if wanted.is_empty() {
            return;
        }
        // Without examples the counts still stand, and so does the commit.
        for (reason, example) in examples(quarantine, object, &wanted).unwrap_or_default() {
            self.of(Stage::Append, &reason).first.get_or_insert(example);
        }
    }

    /// Takes over what was counted elsewhere.
    pub(super) fn append(&mut self, other: Self) {
        for ((stage, reason), refused) in other.by_reason {
            let own = self.of(stage, &reason);
            own.records += refused.records;
            own.first = own.first.take().or(refused.first);
        }
    }
}

/// The first line of each of the `wanted` reasons in the quarantine of `object`.
fn examples(
    quarantine: &Path,
    object: &SourceObject,
    wanted: &[&str],
) -> io::Result<BTreeMap<String, Example>> {
    let mut found = BTreeMap::new();
    let place = quarantine.join(&object.bucket).join(&object.key);
    let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else { return Ok(found) };
    // The version of the object follows its name.
    let prefix = format!("{}.", name.to_string_lossy());
    for entry in WalkDir::new(folder).max_depth(1) {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        let file = File::open(entry.path())?;
        let (mut reader, mut text) = (lines_in(&entry.file_name().to_string_lossy(), file), Vec::new());
        while found.len() < wanted.len() {
            text.clear();
            if reader.read_until(b'\n', &mut text)? == 0 {
                break;
            }
            let Ok(line) = Line::parse(text.trim_ascii_end()) else { continue };
            if wanted.contains(&&*line.error_code) {
                let (object, message) = (line.object.into_owned(), line.error_message.into_owned());
                let remedy = line.remedy.into_owned();
                let example = Example { object, row: line.row, offset: line.offset, message, remedy };
                found.entry(line.error_code.into_owned()).or_insert(example);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(row: u64) -> Example {
        let text = String::new;
        Example { object: text(), row, offset: 0, message: text(), remedy: text() }
    }

    #[test]
    fn the_first_example_of_a_reason_stays() {
        let mut refusals = Refusals::default();
        refusals.add("empty", || example(7));
        refusals.add("empty", || example(8));
        let mut others = Refusals::default();
        others.add("empty", || example(1));
        others.add("not_utf8", || example(2));
        refusals.append(others);
        let found: Vec<_> = refusals
            .iter()
            .map(|refused| (refused.reason.as_str(), refused.records, refused.first.as_ref().unwrap().row))
            .collect();
        assert_eq!(found, [("empty", 3, 7), ("not_utf8", 1, 2)]);
    }
}
