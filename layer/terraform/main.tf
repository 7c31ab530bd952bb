# The layer, and a dashboard on what the extension in it measures.

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
  description = "Of the layer and of the dashboard."
  type        = string
  default     = "bantam"
}

variable "architecture" {
  description = "Of the functions that use the layer."
  type        = string
  default     = "x86_64"
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "x86_64 or arm64."
  }
}

variable "layer_zip" {
  description = "The zip that layer/package made for the architecture."
  type        = string
}

data "aws_region" "current" {}

resource "aws_lambda_layer_version" "bantam" {
  layer_name               = var.name
  description              = "Cold starts measured, and a custom runtime"
  filename                 = var.layer_zip
  source_code_hash         = filebase64sha256(var.layer_zip)
  compatible_architectures = [var.architecture]
}

resource "aws_cloudwatch_dashboard" "bantam" {
  dashboard_name = var.name
  dashboard_body = replace(
    file("${path.module}/../dashboard.json"), "$${AWS::Region}", data.aws_region.current.name
  )
}

output "layer_arn" {
  description = "For the `layers` of any function of the architecture."
  value       = aws_lambda_layer_version.bantam.arn
}
