-- Events by minute, type and device, of today and yesterday. For Spark, on the table of tables/kafka_user_events.json
-- (docs/kafka.md), or any with these columns.
-- Corrected: `partition_date = CURRENT_DATE` compares text with a date, which Athena refuses and Spark does by casting
-- the column, so that no partition is pruned; and it misses what was processed just before midnight. Here text is
-- compared with text, two days wide.
-- Corrected: try_cast gives null for a duration that is no number, in ANSI mode too.
-- Corrected: a view that others see needs a catalog that has views, which Glue's is not: this one is the session's.
-- 6_real_time_metrics_merge.sql keeps the result in a table, on a schedule.
CREATE OR REPLACE TEMPORARY VIEW real_time_metrics AS
SELECT
    date_trunc('minute', processing_time) AS minute_window,
    event_type,
    device_info.device_type AS device_type,
    count(*) AS event_count,
    count(DISTINCT user_id) AS unique_users,
    avg(try_cast(properties['duration'] AS double)) AS avg_duration
FROM streaming_analytics.user_events
WHERE partition_date >= date_format(current_timestamp - INTERVAL '1' DAY, 'yyyy-MM-dd')
GROUP BY date_trunc('minute', processing_time), event_type, device_info.device_type
