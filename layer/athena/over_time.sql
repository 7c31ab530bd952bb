-- Starts of each hour by kind, in milliseconds since 1970.
SELECT
  floor(start_ms / 3600000) * 3600000 AS from_ms,
  cold_start_kind,
  count(*) AS environment_starts
FROM bantam_starts
GROUP BY floor(start_ms / 3600000) * 3600000, cold_start_kind
ORDER BY from_ms, cold_start_kind
