-- The last fifteen minutes, and the fifteen minutes before an hour ago as the table was then: what was committed later
-- is not counted. For DuckDB, on any table with event_type, processing_time and partition_date, so on those of both
-- definitions.
-- Corrected: DuckDB has no FOR TIMESTAMP AS OF. The macro is of open.sql; in a catalog that is attached it is
-- `user_events AT (TIMESTAMP => ...)`.
-- A table without a snapshot of an hour ago is refused.
SELECT
    'current' AS time_period,
    event_type,
    count(*) AS event_count
FROM streaming_analytics.user_events
WHERE partition_date >= strftime(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
  AND processing_time >= current_timestamp - INTERVAL '15' MINUTE
GROUP BY event_type

UNION ALL

SELECT
    '1_hour_ago' AS time_period,
    event_type,
    count(*) AS event_count
FROM streaming_analytics.user_events_as_of(current_timestamp - INTERVAL '1' HOUR)
WHERE partition_date >= strftime(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
  AND processing_time >= current_timestamp - INTERVAL '75' MINUTE
  AND processing_time < current_timestamp - INTERVAL '60' MINUTE
GROUP BY event_type

ORDER BY event_type NULLS LAST, time_period
