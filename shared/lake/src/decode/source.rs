//! The text of one record while it is read, and what it becomes in memory.

use jiter::Jiter;
use records::rejection::Reason;
use records::scan;

use super::fault::Fault;
use super::unknown::{Policy, Unfit};

/// A record while it is read.
pub(super) struct Source<'a> {
    pub(super) json: Jiter<'a>,
    /// What `json` reads, and where that begins in the record.
    pub(super) text: &'a str,
    pub(super) offset: usize,
    pub(super) size: Size,
    /// What becomes of fields that have no column, and which there were.
    pub(super) policy: &'a Policy,
    pub(super) unfit: Unfit,
}

/// What a record becomes in memory.
pub(super) struct Size {
    /// Most bytes of content.
    limit: usize,
    /// Bytes of its strings, and of its elements of lists and entries of maps.
    pub(super) content: usize,
    /// Bytes a row of the columns that had no value in the batch before.
    pub(super) begun: usize,
    /// Lists and maps around the value.
    pub(super) depth: usize,
}

impl Size {
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), Fault> {
        self.content = self.content.saturating_add(bytes);
        if self.content <= self.limit {
            return Ok(());
        }
        let what = format!(
            "up to here the row takes more than {} bytes of memory; the limit follows the function's memory",
            self.limit
        );
        Err(Fault::new(Reason::RecordTooLarge, what))
    }
}

impl<'a> Source<'a> {
    /// A record that may become `limit` bytes.
    pub(super) fn new(text: &'a str, tape: Vec<u8>, limit: usize, policy: &'a Policy) -> Self {
        let size = Size { limit, content: 0, begun: 0, depth: 0 };
        let json = Jiter::with_tape(text.as_bytes(), tape);
        Self { json, text, offset: 0, size, policy, unfit: Unfit::default() }
    }

    /// Steps over the value that the parser stands at. Its text, byte for byte.
    ///
    /// The grammar alone counts here: the parser's own skip refuses what only matters to a reader of the value
    /// (lone surrogates, numbers of thousands of digits) and nests less deep than the framing does.
    pub(super) fn skip_value(&mut self) -> Result<&'a str, Fault> {
        let start = self.json.current_index();
        let end = scan::value_end(self.text.as_bytes(), start)
            .map_err(|_| Fault::invalid_json("a value breaks the JSON grammar", start))?;
        let (read, rest) = self.text.split_at(end);
        let tape = std::mem::replace(&mut self.json, Jiter::new(b"")).into_tape();
        self.json = Jiter::with_tape(rest.as_bytes(), tape);
        (self.text, self.offset) = (rest, self.offset + end);
        Ok(&read[start..])
    }
}
