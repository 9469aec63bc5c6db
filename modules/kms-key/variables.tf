variable "name" {
  description = "Name of the queue that uses the key: its input name."
  type        = string
  default     = "br-batch-inference"
  nullable    = false

  validation {
    condition     = length(var.name) >= 3 && length(var.name) <= 30 && can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", var.name))
    error_message = <<-EOT
      name is "${var.name}": write the name of the queue, 3 to 30 lowercase letters, digits and single hyphens between
      them, such as "br-batch-inference".
    EOT
  }
}

variable "tags" {
  description = "Tags for the key."
  type        = map(string)
  default     = {}
  nullable    = false
}
