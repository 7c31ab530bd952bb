-- Inits that failed, and starts after an invocation that ended its environment.
SELECT
  function_name,
  coalesce(error_type, cause) AS failure,
  count(*) AS times,
  max(start_ms) AS last_ms
FROM bantam_starts
WHERE cold_start_kind = 'init_failure' OR cause IN ('timeout', 'out_of_memory', 'crash', 'failed_init', 'earlier_failure')
GROUP BY function_name, coalesce(error_type, cause)
ORDER BY times DESC
