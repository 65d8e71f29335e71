UPDATE chain_head AS h SET seq = moved.seq, hash = moved.hash
FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS moved (correlation_id, seq, hash)
WHERE h.correlation_id = moved.correlation_id
