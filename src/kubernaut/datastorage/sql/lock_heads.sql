SELECT correlation_id, seq, hash, event_id, request_digest
FROM audit_lock_heads($1::text[], $2::uuid[])
