# The queue on a bucket, with a service role and with a model that the same configuration makes, as their owner writes it.

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

# As an application inference profile: its ARN is not known before it exists.
resource "terraform_data" "profile" {
  input = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456"
}

module "queue" {
  source = "../../.."

  routes = {
    summaries = {
      model_id = terraform_data.profile.output
      priority = 80
      tags     = { Profile = terraform_data.profile.id }
    }
    default = { undersized = "on_demand" }
  }

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
