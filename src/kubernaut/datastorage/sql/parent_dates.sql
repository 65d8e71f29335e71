SELECT event_id, min(event_date) AS event_date
FROM audit_events WHERE event_id = ANY ($1::uuid[]) GROUP BY event_id
