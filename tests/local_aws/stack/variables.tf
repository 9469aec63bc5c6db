variable "name" {
  description = "As the module's input."
  type        = string
}

variable "model_id" {
  description = "As the module's input."
  type        = string
}

variable "routes" {
  description = "As the module's input, which checks it."
  type        = any
  default     = {}
}

variable "media_prefixes" {
  description = "As the module's input."
  type        = list(string)
  default     = null
}

variable "max_active_jobs" {
  description = "As the module's input."
  type        = number
  default     = 10
}

variable "schedule_expression" {
  description = "As the module's input. EventBridge's shortest period, so that a lost event is made good soon."
  type        = string
  default     = "rate(1 minute)"
}

variable "lambda_runtime" {
  description = "As the module's input."
  type        = string
  default     = "python3.13"
}

variable "lambda_environment" {
  description = "As the module's input: where Bedrock is."
  type        = map(string)
  default     = {}
}

variable "tracing" {
  description = "As the module's input."
  type        = bool
  default     = false
}

variable "force_destroy" {
  description = "As the module's input."
  type        = bool
  default     = true
}

variable "tags" {
  description = "As the module's input."
  type        = map(string)
  default     = { Environment = "local" }
}

variable "kms_key_arn" {
  description = "As the module's input."
  type        = string
  default     = null
}

variable "vpc" {
  description = "As the module's input."
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
  default     = null
}

variable "job_vpc" {
  description = "As the module's input."
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
  default     = null
}

variable "earlier" {
  description = "Anything: what the queue depends on."
  type        = string
  default     = "as it was"
}

variable "alarm_actions" {
  description = "As the module's input."
  type        = list(string)
  default     = []
}
