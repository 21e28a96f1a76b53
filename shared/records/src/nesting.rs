//! The containers of JSON that are open at a place in a text.
//!
//! In: containers as they begin and end. Out: the innermost one. Refused: more than [`DEPTH_LIMIT`] of them.

/// The deepest nesting of arrays and objects that is followed.
pub const DEPTH_LIMIT: usize = 512;

/// More than [`DEPTH_LIMIT`] containers are open.
pub(crate) struct TooDeep;

#[derive(Clone, Copy)]
pub(crate) enum Container {
    Object,
    Array,
}

/// The open containers, one bit each: a stack that needs neither recursion nor the heap.
#[derive(Default)]
pub(crate) struct Nesting {
    objects: [u64; DEPTH_LIMIT / 64],
    depth: usize,
    /// Containers around all of these.
    outer: usize,
}

impl Nesting {
    /// None are open, inside `outer` others.
    pub(crate) fn within(outer: usize) -> Self {
        Self { outer, ..Self::default() }
    }

    pub(crate) fn push(&mut self, container: Container) -> Result<(), TooDeep> {
        if self.outer + self.depth >= DEPTH_LIMIT {
            return Err(TooDeep);
        }
        let word = self.objects.get_mut(self.depth / 64).ok_or(TooDeep)?;
        let bit = 1 << (self.depth % 64);
        match container {
            Container::Object => *word |= bit,
            Container::Array => *word &= !bit,
        }
        self.depth += 1;
        Ok(())
    }

    pub(crate) fn pop(&mut self) {
        self.depth -= 1;
    }

    pub(crate) fn innermost(&self) -> Option<Container> {
        let top = self.depth.checked_sub(1)?;
        let is_object = self.objects[top / 64] & (1 << (top % 64)) != 0;
        Some(if is_object { Container::Object } else { Container::Array })
    }
}
