SELECT asked.event_id, asked.correlation_id
FROM unnest($1::uuid[], $2::date[], $3::text[]) AS asked (event_id, event_date, correlation_id)
JOIN audit_events AS e ON e.event_id = asked.event_id AND e.event_date = asked.event_date
WHERE e.correlation_id <> asked.correlation_id
