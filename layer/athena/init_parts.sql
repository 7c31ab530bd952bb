-- The parts of an init, in their order.
WITH parts AS (
  SELECT 1 AS place, 'platform' AS part,
    CASE
      WHEN init_before_runtime_duration < extension_register_duration THEN 0
      ELSE init_before_runtime_duration - coalesce(extension_register_duration, 0)
    END AS duration_ms
  FROM bantam_starts
  UNION ALL
  SELECT 2 AS place, 'extension' AS part,
    IF(init_before_runtime_duration IS NOT NULL, extension_register_duration) AS duration_ms
  FROM bantam_starts
  UNION ALL
  SELECT 3 AS place, 'runtime and function' AS part,
    init_runtime_duration AS duration_ms
  FROM bantam_starts
  UNION ALL
  SELECT 4 AS place, 'later extensions' AS part,
    init_extensions_duration AS duration_ms
  FROM bantam_starts
  UNION ALL
  SELECT 5 AS place, 'first invocation' AS part,
    first_invocation_duration AS duration_ms
  FROM bantam_starts
)
SELECT
  part,
  count(duration_ms) AS duration_ms_count,
  min(duration_ms) AS duration_ms_min,
  avg(duration_ms) AS duration_ms_mean,
  approx_percentile(duration_ms, 0.5) AS duration_ms_p50,
  approx_percentile(duration_ms, 0.99) AS duration_ms_p99,
  max(duration_ms) AS duration_ms_max
FROM parts
GROUP BY place, part
ORDER BY place
