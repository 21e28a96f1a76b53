-- Events by minute, type and device, of today and yesterday. For Athena, on the table of tables/kafka_user_events.json
-- (docs/kafka.md), or any with these columns.
-- Corrected: `partition_date = CURRENT_DATE` compares text with a date, which Athena refuses and Spark does by casting
-- the column, so that no partition is pruned; and it misses what was processed just before midnight. Here text is
-- compared with text, two days wide.
-- Corrected: `properties['duration']` fails for a row without that key, and CAST for one whose duration is no number:
-- element_at and TRY_CAST give null.
-- Athena's views have no columns with a time zone: minute_window is in UTC. The view is computed anew by each reader.
-- 6_real_time_metrics_merge.sql keeps the result in a table, on a schedule.
CREATE OR REPLACE VIEW streaming_analytics.real_time_metrics AS
SELECT
    CAST(date_trunc('minute', processing_time) AS timestamp(6)) AS minute_window,
    event_type,
    device_info.device_type AS device_type,
    count(*) AS event_count,
    count(DISTINCT user_id) AS unique_users,
    avg(TRY_CAST(element_at(properties, 'duration') AS double)) AS avg_duration
FROM streaming_analytics.user_events
WHERE partition_date >= date_format(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
GROUP BY date_trunc('minute', processing_time), event_type, device_info.device_type
