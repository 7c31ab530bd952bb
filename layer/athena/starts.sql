-- The starts of environments: the lines that Bantam's extension writes, one for each. A line without
-- a chosen metric (BANTAM_EMF_METRICS) has no "_aws".
-- Memory in bytes, times in milliseconds.
CREATE OR REPLACE VIEW bantam_starts AS
WITH events AS (
  SELECT substr(line, strpos(line, '{')) AS event
  FROM bantam_lines
  WHERE line LIKE '%"cold_start_kind"%'
)
SELECT
  json_extract_scalar(event, '$.function_name') AS function_name,
  json_extract_scalar(event, '$.function_version') AS function_version,
  json_extract_scalar(event, '$.availability_zone') AS availability_zone,
  json_extract_scalar(event, '$.instance_id') AS instance_id,
  json_extract_scalar(event, '$.cold_start_kind') AS cold_start_kind,
  json_extract_scalar(event, '$.cause') AS cause,
  json_extract_scalar(event, '$.error_type') AS error_type,
  CAST(json_extract_scalar(event, '$.start_ms') AS double) AS start_ms,
  coalesce(CAST(json_extract_scalar(event, '$.cold_starts') AS double), 0) AS cold_starts,
  CAST(json_extract_scalar(event, '$.init_duration') AS double) AS init_duration,
  CAST(json_extract_scalar(event, '$.restore_duration') AS double) AS restore_duration,
  CAST(json_extract_scalar(event, '$.first_invocation_duration') AS double) AS first_invocation_duration,
  CAST(json_extract_scalar(event, '$.cold_start_duration') AS double) AS cold_start_duration,
  CAST(json_extract_scalar(event, '$.init_before_runtime_duration') AS double) AS init_before_runtime_duration,
  CAST(json_extract_scalar(event, '$.init_runtime_duration') AS double) AS init_runtime_duration,
  CAST(json_extract_scalar(event, '$.init_extensions_duration') AS double) AS init_extensions_duration,
  CAST(json_extract_scalar(event, '$.extension_register_duration') AS double) AS extension_register_duration,
  CAST(json_extract_scalar(event, '$.billed_init_duration') AS double) AS billed_init_duration,
  CAST(json_extract_scalar(event, '$.billed_restore_duration') AS double) AS billed_restore_duration,
  CAST(json_extract_scalar(event, '$.memory_mb') AS double) AS memory_mb,
  json_extract_scalar(event, '$.architecture') AS architecture,
  CAST(json_extract_scalar(event, '$.memory_used') AS double) AS memory_used
FROM events
