audit_chain AS k
JOIN audit_events AS e
    ON e.event_id = k.event_id AND e.event_date = (k.event_timestamp AT TIME ZONE 'UTC')::date
    AND k.correlation_id = e.correlation_id
