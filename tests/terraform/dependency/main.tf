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
}

output "queue" {
  description = "All outputs of the module."
  value       = module.queue
}
