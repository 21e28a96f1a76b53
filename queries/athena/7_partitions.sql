-- Rows, files and bytes of the partitions of today and yesterday. For Athena, on any table that is partitioned by
-- partition_date and partition_hour.
-- Corrected: partition is a struct, to which LIKE does not apply; its fields have names.
-- Of the columns, file_count and record_count are the same in all engines; the names of the others differ. Athena does
-- not count delete files here.
SELECT
    partition.partition_date AS partition_date,
    partition.partition_hour AS partition_hour,
    record_count,
    file_count,
    total_size AS total_size
FROM "streaming_analytics"."user_events$partitions"
WHERE partition.partition_date >= date_format(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
ORDER BY partition_date DESC, partition_hour DESC
