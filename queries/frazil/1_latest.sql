-- What came in during the last five minutes, by type of event. For frazil query, on the table of
-- tables/kafka_user_events.json (docs/kafka.md), or any with these columns.
-- Corrected: TRY_CAST gives null for a duration that is no number.
-- partition_date narrows the scan to two days of partitions; processing_time alone would be looked up in each file's
-- bounds.
-- Rows appear when their batch is committed, about seven minutes after the event with the default buffers: with those,
-- this is empty most of the time. docs/cost.md has the low-latency preset.
SELECT
    event_type,
    count(*) AS event_count,
    count(DISTINCT user_id) AS unique_users,
    avg(TRY_CAST(properties['duration'] AS double)) AS avg_duration
FROM streaming_analytics.user_events
WHERE partition_date >= to_char(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
  AND processing_time >= current_timestamp - INTERVAL '5' MINUTE
GROUP BY event_type
ORDER BY event_count DESC, event_type NULLS LAST
