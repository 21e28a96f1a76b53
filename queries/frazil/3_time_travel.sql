-- The last fifteen minutes, and the fifteen minutes before an hour ago as the table was then: what was committed later
-- is not counted. For frazil query, on any table with event_type, processing_time and partition_date, so on those of
-- both definitions.
-- The expression after AS OF must be a constant; that of current_timestamp is one.
-- A table without a snapshot of an hour ago is refused.
SELECT
    'current' AS time_period,
    event_type,
    count(*) AS event_count
FROM streaming_analytics.user_events
WHERE partition_date >= to_char(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
  AND processing_time >= current_timestamp - INTERVAL '15' MINUTE
GROUP BY event_type

UNION ALL

SELECT
    '1_hour_ago' AS time_period,
    event_type,
    count(*) AS event_count
FROM streaming_analytics.user_events FOR TIMESTAMP AS OF (current_timestamp - INTERVAL '1' HOUR)
WHERE partition_date >= to_char(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
  AND processing_time >= current_timestamp - INTERVAL '75' MINUTE
  AND processing_time < current_timestamp - INTERVAL '60' MINUTE
GROUP BY event_type

ORDER BY event_type NULLS LAST, time_period
