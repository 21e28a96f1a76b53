-- The sessions that had an event in the last ten minutes: how many, how many events each, how long. Of each session
-- only the last hour is seen. For frazil query, on the table of tables/kafka_user_events.json (docs/kafka.md), or any
-- with these columns.
-- Corrected: `partition_date = CURRENT_DATE` compares text with a date, which Athena refuses and Spark does by casting
-- the column, so that no partition is pruned; and it misses what was processed just before midnight. Here text is
-- compared with text, two days wide.
-- Corrected: events without a session were one session for each user; event_sequence had no order. It is there for
-- whoever selects from session_data.
WITH session_data AS (
    SELECT
        user_id,
        session_id,
        min("timestamp") AS session_start,
        max("timestamp") AS session_end,
        count(*) AS events_in_session,
        array_agg(event_type ORDER BY "timestamp") AS event_sequence
    FROM streaming_analytics.user_events
    WHERE partition_date >= to_char(current_timestamp - INTERVAL '1' DAY, '%Y-%m-%d')
      AND processing_time >= current_timestamp - INTERVAL '1' HOUR
      AND session_id IS NOT NULL
    GROUP BY user_id, session_id
)
SELECT
    count(*) AS active_sessions,
    avg(events_in_session) AS avg_events_per_session,
    avg(date_part('epoch', session_end) - date_part('epoch', session_start)) / 60 AS avg_session_duration_minutes
FROM session_data
WHERE session_end >= current_timestamp - INTERVAL '10' MINUTE
