-- Versions of functions.
SELECT
  function_name,
  function_version,
  count(DISTINCT instance_id) AS environments,
  count(*) AS environment_starts,
  sum(cold_starts) AS cold_starts,
  sum(IF(cold_starts > 0, coalesce(restore_duration, init_duration, 0), 0)) AS wait_ms,
  count(coalesce(init_duration, restore_duration)) AS init_ms_count,
  min(coalesce(init_duration, restore_duration)) AS init_ms_min,
  avg(coalesce(init_duration, restore_duration)) AS init_ms_mean,
  approx_percentile(coalesce(init_duration, restore_duration), 0.5) AS init_ms_p50,
  approx_percentile(coalesce(init_duration, restore_duration), 0.99) AS init_ms_p99,
  max(coalesce(init_duration, restore_duration)) AS init_ms_max,
  count(first_invocation_duration) AS first_invocation_ms_count,
  min(first_invocation_duration) AS first_invocation_ms_min,
  avg(first_invocation_duration) AS first_invocation_ms_mean,
  approx_percentile(first_invocation_duration, 0.5) AS first_invocation_ms_p50,
  approx_percentile(first_invocation_duration, 0.99) AS first_invocation_ms_p99,
  max(first_invocation_duration) AS first_invocation_ms_max,
  max(memory_used) / 1048576 AS memory_used_mb_max
FROM bantam_starts
GROUP BY function_name, function_version
ORDER BY wait_ms DESC
