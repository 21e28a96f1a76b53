//! What a writer holds at once, kept below its limits.
//!
//! In: a writer whenever it has taken rows. Out: the same with files closed, row groups ended, and rows that wait on disk
//! or written.

use iceberg::Result;

use super::{OpenFile, Seen, TableWriter, failed, footer_bytes};

/// Batches for which a partition has had no rows when its file makes room for another.
const IDLE_BATCHES: u64 = 8;
impl TableWriter {
    /// Whether another file may be opened; one that the last batches had no row for is closed for it.
    pub(super) async fn make_room(&mut self) -> Result<bool> {
        if self.open.len() < self.limits.open_partitions {
            return Ok(true);
        }
        let idle = self.open.iter().min_by_key(|(_, file)| file.last_batch);
        let idle = idle
            .filter(|(_, file)| file.last_batch + IDLE_BATCHES < self.batches)
            .map(|(key, _)| key.clone());
        match idle {
            Some(key) => self.close_early(key).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Closes the file of the partition `key` before it has its size.
    pub(super) async fn close_early(&mut self, key: Vec<u8>) -> Result<()> {
        let Some(file) = self.open.remove(&key) else { return Ok(()) };
        self.partitions.insert(key, Seen::Closed);
        self.close_file(file).await
    }

    /// Writes all rows that wait, one partition after the other.
    pub(super) async fn write_overflow(&mut self) -> Result<()> {
        let partitioner = self.partitioner.clone();
        let mut merge = self.overflow.merge(&partitioner)?;
        while let Some((key, partition)) = merge.partition(&partitioner)? {
            while let Some(rows) = merge.rows(&key, &partitioner)? {
                let file = match self.open.remove(&key) {
                    Some(file) => file,
                    None => self.open_file(partition.clone()).await?,
                };
                self.write_to(key.clone(), file, &rows).await?;
                self.bound_memory().await?;
            }
            self.close_early(key).await?;
        }
        Ok(())
    }

    /// A quarter of the memory is for rows that wait: to sort them takes as much again.
    pub(super) async fn bound_overflow(&mut self) -> Result<()> {
        if self.overflow.bytes() <= self.limits.buffer_bytes / 4 {
            return Ok(());
        }
        if self.overflow.spilled_bytes() < self.limits.spill_bytes {
            match self.overflow.spill(&self.partitioner) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "there will be more and smaller data files");
                    self.limits.spill_bytes = 0;
                }
            }
        }
        self.write_overflow().await
    }

    pub(super) async fn bound_memory(&mut self) -> Result<()> {
        let half = self.limits.buffer_bytes / 2;
        while self.open.values().map(|file| file.parquet.memory_size()).sum::<usize>() > half {
            let Some(largest) = self.open.values_mut().max_by_key(|file| file.parquet.memory_size()) else {
                break;
            };
            if largest.parquet.in_progress_rows() == 0 {
                break;
            }
            largest.parquet.flush().await.map_err(|error| failed("write", &largest.path, error))?;
        }
        let part_bytes = self.part_bytes;
        self.close_while(self.limits.buffer_bytes, |file| file.held_bytes(part_bytes)).await?;
        self.close_while(footer_bytes(&self.limits), |file| file.parquet.metadata_size()).await
    }

    /// Closes the file with the most bytes as long as all together have more than `limit`.
    async fn close_while(&mut self, limit: usize, bytes: impl Fn(&OpenFile) -> usize) -> Result<()> {
        while self.open.values().map(&bytes).sum::<usize>() > limit {
            let largest = self.open.iter().max_by_key(|(_, file)| bytes(file));
            let Some(file) = largest.map(|(key, _)| key.clone()).and_then(|key| self.open.remove(&key))
            else {
                break;
            };
            self.close_file(file).await?;
        }
        Ok(())
    }
}
