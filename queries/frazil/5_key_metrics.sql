-- The key metrics of the last five minutes, in one row. For frazil query, on the table of
-- tables/kafka_user_events.json (docs/kafka.md), or any with these columns.
-- Corrected: UNIX_TIMESTAMP is Spark's; it is date_part here. A field of a struct is `column['field']`, since
-- `table.column` is written with a point.
-- partition_date narrows the scan to two days of partitions; processing_time alone would be looked up in each file's
-- bounds.
SELECT
    'last_5_minutes' AS time_window,
    count(*) AS total_events,
    count(DISTINCT user_id) AS unique_users,
    count(DISTINCT session_id) AS unique_sessions,
    sum(CASE WHEN event_type = 'page_view' THEN 1 ELSE 0 END) AS page_views,
    sum(CASE WHEN event_type = 'click' THEN 1 ELSE 0 END) AS clicks,
    sum(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS purchases,
    sum(CASE WHEN device_info['device_type'] = 'mobile' THEN 1 ELSE 0 END) AS mobile_events,
    sum(CASE WHEN device_info['device_type'] = 'desktop' THEN 1 ELSE 0 END) AS desktop_events,
    min(processing_time) AS oldest_processed_record,
    max(processing_time) AS newest_processed_record,
    avg(date_part('epoch', processing_time) - date_part('epoch', "timestamp")) AS avg_processing_latency_seconds
FROM streaming_analytics.user_events
WHERE partition_date >= to_char(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
  AND processing_time >= current_timestamp - INTERVAL '5' MINUTE
