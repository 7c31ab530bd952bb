-- Functions, by the time that invocations waited for inits and restores. Invocations, and the share
-- of them that met a cold start, are counted by the lines that BANTAM_EMF_ENDS=true writes. The price
-- of billed inits is in USD, for a GB-second in us-east-1.
WITH ends AS (
  SELECT substr(line, strpos(line, '{')) AS event
  FROM bantam_lines
  WHERE line LIKE '%"environment_invocations"%'
),
counted AS (
  SELECT
    json_extract_scalar(event, '$.function_name') AS of_function,
    sum(CAST(json_extract_scalar(event, '$.environment_invocations') AS double)) AS invocations
  FROM ends
  GROUP BY json_extract_scalar(event, '$.function_name')
)
SELECT
  function_name,
  count(DISTINCT instance_id) AS environments,
  count(*) AS environment_starts,
  coalesce(max(invocations), 0) AS invocations,
  sum(cold_starts) AS cold_starts,
  least(sum(cold_starts) / nullif(max(invocations), 0), 1) AS cold_start_share,
  sum(IF(cold_starts > 0, coalesce(restore_duration, init_duration, 0), 0)) AS wait_ms,
  coalesce(
    sum(
      coalesce(billed_init_duration, billed_restore_duration) / 1000 * memory_mb / 1024
      * IF(architecture = 'arm64', 0.0000133334, 0.0000166667)
    ),
    0
  ) AS billed_init_usd,
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
LEFT JOIN counted ON of_function = function_name
GROUP BY function_name
ORDER BY wait_ms DESC
