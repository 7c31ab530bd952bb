# What a fleet needs: the layer for each architecture, a dashboard on what the extension in it
# measures, and alarms if they are asked for.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The first with `logging_config`, which the example sets.
      version = ">= 5.32"
    }
  }
}

variable "name" {
  description = "Of the dashboard, and before -x86_64 and -arm64 of the layers. layer/rollout looks for bantam."
  type        = string
  default     = "bantam"
}

variable "layer_zips" {
  description = "By architecture, x86_64 and arm64 or one of them, the zip that layer/package made."
  type        = map(string)
  validation {
    condition     = length(var.layer_zips) > 0 && length(setsubtract(keys(var.layer_zips), ["x86_64", "arm64"])) == 0
    error_message = "Its keys are x86_64 and arm64, or one of them."
  }
}

variable "alarm_init_failures" {
  description = "Alarm at this many failed inits in 5 minutes; none without it."
  type        = number
  default     = null
}

variable "alarm_cold_start_share" {
  description = "Alarm above this percentage of invocations that met a cold start, over 15 minutes; none without it."
  type        = number
  default     = null
}

variable "alarm_actions" {
  description = "ARNs that alarms are sent to, such as an SNS topic's."
  type        = list(string)
  default     = []
}

variable "queries" {
  description = "Put layer/queries into Logs Insights, under the name's folder."
  type        = bool
  default     = false
}

data "aws_region" "current" {}

resource "aws_lambda_layer_version" "bantam" {
  for_each                 = var.layer_zips
  layer_name               = "${var.name}-${each.key}"
  description              = "Cold starts measured, and a custom runtime"
  filename                 = each.value
  source_code_hash         = filebase64sha256(each.value)
  compatible_architectures = [each.key]
  # A rollback needs the older versions.
  skip_destroy = true
}

resource "aws_cloudwatch_dashboard" "bantam" {
  dashboard_name = var.name
  # Written for Fn::Sub of CloudFormation.
  dashboard_body = replace(
    replace(file("${path.module}/../dashboard.json"), "$${AWS::Region}", data.aws_region.current.name),
    "$${!", "$${"
  )
}

resource "aws_cloudwatch_metric_alarm" "init_failures" {
  count               = var.alarm_init_failures == null ? 0 : 1
  alarm_name          = "${var.name}-init-failures"
  alarm_description   = "Environments of functions with Bantam's layer failed to start."
  namespace           = "Bantam"
  metric_name         = "init_failures"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.alarm_init_failures
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
}

# A start is reported when its environment is used again or ends, with the time of its first
# invocation: the period before the last is still looked at.
resource "aws_cloudwatch_metric_alarm" "cold_start_share" {
  count               = var.alarm_cold_start_share == null ? 0 : 1
  alarm_name          = "${var.name}-cold-start-share"
  alarm_description   = "Too many invocations in the region waited for an environment to start."
  evaluation_periods  = 2
  datapoints_to_alarm = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_cold_start_share
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions

  metric_query {
    id          = "share"
    label       = "Invocations that met a cold start (%)"
    return_data = true
    # Of few invocations the share says nothing.
    expression = "IF(invocations >= 20, 100 * starts / invocations, 0)"
  }
  metric_query {
    id = "starts"
    metric {
      namespace   = "Bantam"
      metric_name = "cold_starts"
      stat        = "Sum"
      period      = 900
    }
  }
  metric_query {
    id = "invocations"
    metric {
      namespace   = "AWS/Lambda"
      metric_name = "Invocations"
      stat        = "Sum"
      period      = 900
    }
  }
}

resource "aws_cloudwatch_query_definition" "bantam" {
  for_each     = var.queries ? fileset("${path.module}/../queries", "*.txt") : toset([])
  name         = "${var.name}/${trimsuffix(each.key, ".txt")}"
  query_string = file("${path.module}/../queries/${each.key}")
}

output "layer_arns" {
  description = "By architecture, for the `layers` of any function."
  value       = { for architecture, layer in aws_lambda_layer_version.bantam : architecture => layer.arn }
}
