SELECT seq, hash FROM chain_head WHERE correlation_id = $1
