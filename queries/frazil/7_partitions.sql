-- Rows, files and bytes of the partitions of today and yesterday. For frazil query, on any table that is partitioned
-- by partition_date and partition_hour.
-- Corrected: partition is a struct, to which LIKE does not apply; its fields have names.
-- Of the columns, file_count and record_count are the same in all engines; the names of the others differ.
SELECT
    partition['partition_date'] AS partition_date,
    partition['partition_hour'] AS partition_hour,
    record_count,
    file_count,
    total_data_file_size_in_bytes AS total_size,
    position_delete_file_count + equality_delete_file_count AS delete_file_count
FROM streaming_analytics."user_events$partitions"
WHERE partition['partition_date'] >= to_char(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
ORDER BY partition_date DESC, partition_hour DESC
