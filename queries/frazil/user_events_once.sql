-- The rows of streaming_analytics.user_events, each record_id once. For frazil query, which makes no views: this is what one would
-- say. On the table of tables/user_events.json.
--
-- append keeps each delivered object once, but a record can be delivered in two objects: Firehose delivers at least once,
-- two streams may read one Kinesis data stream, and people copy objects. Such rows share their record_id.
-- A retry of the producer before Firehose is a record of its own, with a record_id of its own. If the producer gives its
-- events an id, put that column in the place of record_id, and leave out partition_date and partition_hour beside it.
--
-- One record_id has one date and hour: with them in PARTITION BY, a filter on them reads only its partitions. Rows without
-- an id cannot be told apart: all of them stay.
SELECT
    record_id, user_id, event_type, event_data, ingestion_timestamp, partition_date, partition_hour, processing_time, file_name,
    producer_record_id, producer_partition_date
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY partition_date, partition_hour, record_id
        ORDER BY processing_time, file_name
    ) AS occurrence
    FROM streaming_analytics.user_events
) AS numbered
WHERE occurrence = 1 OR record_id IS NULL
