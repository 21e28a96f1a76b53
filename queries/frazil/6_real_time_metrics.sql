-- Events by minute, type and device, of today and yesterday. For frazil query, on the table of
-- tables/kafka_user_events.json (docs/kafka.md), or any with these columns.
-- Corrected: `partition_date = CURRENT_DATE` compares text with a date, which Athena refuses and Spark does by casting
-- the column, so that no partition is pruned; and it misses what was processed just before midnight. Here text is
-- compared with text, two days wide.
-- Corrected: TRY_CAST gives null for a duration that is no number.
-- frazil query makes no views: this is what one would say.
SELECT
    date_trunc('minute', processing_time) AS minute_window,
    event_type,
    device_info['device_type'] AS device_type,
    count(*) AS event_count,
    count(DISTINCT user_id) AS unique_users,
    avg(TRY_CAST(properties['duration'] AS double)) AS avg_duration
FROM streaming_analytics.user_events
WHERE partition_date >= to_char(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
GROUP BY date_trunc('minute', processing_time), event_type, device_info['device_type']
