# The queue on a bucket and with a service role that the same configuration makes, as their owner writes it.

provider "aws" {}

variable "tags" {
  description = "Tags of the bucket and the role. Other tags are a change pending."
  type        = map(string)
}

resource "aws_s3_bucket" "team" {
  bucket = "team-files"
  tags   = var.tags
}

resource "aws_iam_role" "team" {
  name               = "team-bedrock"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [] })
  tags               = var.tags
}

module "queue" {
  source = "../../.."

  model_id      = "amazon.nova-lite-v1:0"
  create_bucket = false
  bucket_name   = aws_s3_bucket.team.bucket
  create_role   = false
  role_arn      = aws_iam_role.team.arn
}

output "queue" {
  description = "All outputs of the module."
  value       = module.queue
}
