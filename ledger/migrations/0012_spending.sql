-- What the model cost in a day. Why each thing is as it is stands in schema.sql.

CREATE INDEX jobs_cost_by_end ON jobs (
    ended_at, state, eval_runs, work_runs, actual_cost_usd, estimated_cost_usd, margin_pct, eval_input_tokens,
    eval_output_tokens
) WHERE ended_at IS NOT NULL AND eval_runs > 0;
CREATE INDEX jobs_running ON jobs (state, estimated_cost_usd, margin_pct, eval_input_tokens, eval_output_tokens)
WHERE state IN ('evaluating', 'executing');
