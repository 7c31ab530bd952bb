# Three functions with Bantam: as the runtime, as the extension, and as both.

variable "region" {
  type = string
}

variable "name" {
  description = "What the names of everything start with."
  type        = string
  default     = "bantam"
}

variable "architecture" {
  description = "Of the functions."
  type        = string
  default     = "x86_64"
}

variable "zips" {
  description = "Where layer/package put its zips."
  type        = string
  default     = "../../../target/layer"
}

variable "log_retention_days" {
  type    = number
  default = 14
}

variable "alarm_init_failures" {
  type    = number
  default = null
}

variable "alarm_cold_start_share" {
  type    = number
  default = null
}

locals {
  # In the names of the zips.
  arches = { x86_64 = "x86_64", arm64 = "aarch64" }
  arch   = local.arches[var.architecture]
  # Of the layer, those that layer/package has made.
  layer_zips = {
    for architecture, arch in local.arches : architecture => "${var.zips}/bantam-${arch}.zip"
    if fileexists("${var.zips}/bantam-${arch}.zip")
  }

  functions = {
    # (a) Bantam as the runtime: the example apigw.rs, behind a URL that takes signed requests.
    typed = {
      runtime = "provided.al2023"
      handler = "bootstrap"
      zip     = "${var.zips}/apigw-${local.arch}.zip"
      layers  = []
    }
    # (b) Bantam as the extension of any function.
    measured = {
      runtime = "python3.13"
      handler = "index.handler"
      zip     = "${var.zips}/measured.zip"
      layers  = [module.bantam.layer_arns[var.architecture]]
    }
    # (c) Both: the example hello.sh, run by the stock binary, and the layer.
    both = {
      runtime = "provided.al2023"
      handler = "hello.sh"
      zip     = "${var.zips}/script-${local.arch}.zip"
      layers  = [module.bantam.layer_arns[var.architecture]]
    }
  }
}

provider "aws" {
  region = var.region
}

module "bantam" {
  source                 = "../"
  name                   = var.name
  layer_zips             = local.layer_zips
  alarm_init_failures    = var.alarm_init_failures
  alarm_cold_start_share = var.alarm_cold_start_share
}

resource "aws_lambda_function" "example" {
  for_each         = local.functions
  function_name    = "${var.name}-${each.key}"
  role             = aws_iam_role.example.arn
  runtime          = each.value.runtime
  handler          = each.value.handler
  filename         = each.value.zip
  source_code_hash = filebase64sha256(each.value.zip)
  layers           = each.value.layers
  architectures    = [var.architecture]
  memory_size      = 128
  timeout          = 10

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.example.name
  }
}

resource "aws_lambda_function_url" "typed" {
  function_name      = aws_lambda_function.example["typed"].function_name
  authorization_type = "AWS_IAM"
}

resource "aws_cloudwatch_log_group" "example" {
  name              = "/bantam/${var.name}"
  retention_in_days = var.log_retention_days
}

# All that the three functions may do is to write to that log group. The extension needs no more: its
# metrics are lines of the log.
resource "aws_iam_role" "example" {
  name = "${var.name}-${var.region}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "logs" {
  name = "logs"
  role = aws_iam_role.example.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.example.arn}:*"
    }]
  })
}

output "layer_arns" {
  value = module.bantam.layer_arns
}

output "functions" {
  value = { for key, function in aws_lambda_function.example : key => function.function_name }
}

output "typed_url" {
  value = aws_lambda_function_url.typed.function_url
}
