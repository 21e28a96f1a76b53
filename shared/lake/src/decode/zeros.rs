//! Zeros that all columns without a value share, so that these take no memory of their own.

use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};

/// Zeros that columns without values share.
#[derive(Debug, Default)]
pub(super) struct Zeros(Option<Buffer>);

impl Zeros {
    /// At least so many bytes.
    pub(super) fn bytes(&mut self, bytes: usize) -> Buffer {
        match &self.0 {
            Some(zeros) if zeros.len() >= bytes => zeros.clone(),
            _ => self.0.insert(Buffer::from_vec(vec![0_u8; bytes.next_multiple_of(64)])).clone(),
        }
    }

    pub(super) fn values<T: ArrowNativeType>(&mut self, count: usize) -> ScalarBuffer<T> {
        // 16 bytes are the widest, so that one buffer serves all.
        ScalarBuffer::new(self.bytes(count * 16), 0, count)
    }

    pub(super) fn nulls(&mut self, count: usize) -> NullBuffer {
        NullBuffer::new(BooleanBuffer::new(self.bytes(count.div_ceil(8)), 0, count))
    }
}
