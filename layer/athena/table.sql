-- The lines of log groups, as CloudWatch Logs exports them to S3 (gzip) or as Firehose puts them
-- there (with decompression, message extraction and a new line after each). One column, because an
-- exported line is a time and the line. Put your bucket and prefix in.
CREATE EXTERNAL TABLE bantam_lines (
  line string
)
ROW FORMAT DELIMITED FIELDS TERMINATED BY '\001' LINES TERMINATED BY '\n'
STORED AS TEXTFILE
LOCATION 's3://BUCKET/PREFIX/'
