-- Starts by kind and cause, as far as an environment knows the cause. bantam-report compares environments
-- and knows more.
SELECT
  cold_start_kind,
  cause,
  count(*) AS environment_starts,
  sum(IF(cold_starts > 0, coalesce(restore_duration, init_duration, 0), 0)) AS wait_ms,
  count(init_duration) AS init_ms_count,
  min(init_duration) AS init_ms_min,
  avg(init_duration) AS init_ms_mean,
  approx_percentile(init_duration, 0.5) AS init_ms_p50,
  approx_percentile(init_duration, 0.99) AS init_ms_p99,
  max(init_duration) AS init_ms_max
FROM bantam_starts
GROUP BY cold_start_kind, cause
ORDER BY environment_starts DESC
