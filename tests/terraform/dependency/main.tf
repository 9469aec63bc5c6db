# The queue as a module that depends on something else of its configuration: with a change pending there, Terraform
# reads no data source of the module until apply.

provider "aws" {}

variable "setting" {
  description = "What the queue waits for. Another value is a change pending."
  type        = string
}

resource "terraform_data" "earlier" {
  input = var.setting
}

module "queue" {
  source = "../../.."

  model_id   = "amazon.nova-lite-v1:0"
  depends_on = [terraform_data.earlier]

  # A policy names the bucket that the module creates for it, as docs/vpc.md shows.
  bucket_policy_documents = [jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Deny", Principal = "*", Action = "s3:PutObject", Resource = "${module.queue.bucket_arn}/*" }]
  })]
}

output "queue" {
  description = "All outputs of the module."
  value       = module.queue
}
