//! Where a value ends that is too long to be held.
//!
//! In: its bytes, one by one. Out: the one that closes its first bracket. A value that is found to be broken has no end.

/// The brackets that are open.
#[derive(Default)]
pub(crate) struct Brackets {
    depth: usize,
    place: Place,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    BetweenStrings,
    InString,
    /// Behind a backslash in a string.
    Escaped,
    /// A string went over the end of a line: nothing that follows can be told.
    Broken,
}

impl Brackets {
    /// So many are open.
    pub(crate) fn within(outer: usize) -> Self {
        Self { depth: outer, ..Self::default() }
    }

    /// Whether the value ends with `byte`.
    pub(crate) fn close_with(&mut self, byte: u8) -> bool {
        self.place = match (self.place, byte) {
            (Place::Broken, _) | (Place::InString, b'\n') => Place::Broken,
            (Place::InString, b'\\') => Place::Escaped,
            (Place::InString, b'"') => Place::BetweenStrings,
            (Place::InString | Place::Escaped, _) | (Place::BetweenStrings, b'"') => Place::InString,
            (Place::BetweenStrings, b'{' | b'[') => {
                self.depth += 1;
                Place::BetweenStrings
            }
            (Place::BetweenStrings, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            (Place::BetweenStrings, _) => Place::BetweenStrings,
        };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many bytes the value at the start of `text` ends.
    fn end(text: &str) -> Option<usize> {
        let mut brackets = Brackets::default();
        text.bytes().position(|byte| brackets.close_with(byte)).map(|at| at + 1)
    }

    #[test]
    fn a_value_ends_with_its_first_bracket() {
        assert_eq!(end("{} {}"), Some(2));
        assert_eq!(end(r#"[{"a": "}]\"]", "b": [[]]}] [1]"#), Some(27));
        assert_eq!(end("{\n\"a\": [\n1]\n}"), Some(13));
    }

    #[test]
    fn what_is_broken_has_no_end() {
        assert_eq!(end("{\"a\": \"line\n\"}}}}]]"), None);
        assert_eq!(end("{[}"), None);
    }
}
