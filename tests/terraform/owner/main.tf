# The queue on a bucket that the same configuration makes, as the bucket's owner writes it.

provider "aws" {}

variable "tags" {
  description = "Tags of the bucket. Other tags are a change pending."
  type        = map(string)
}

resource "aws_s3_bucket" "team" {
  bucket = "team-files"
  tags   = var.tags
}

module "queue" {
  source = "../../.."

  model_id                   = "amazon.nova-lite-v1:0"
  create_bucket              = false
  bucket_name                = aws_s3_bucket.team.bucket
  manage_bucket_notification = false
}

output "queue" {
  description = "All outputs of the module."
  value       = module.queue
}
