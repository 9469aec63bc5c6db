variable "lambda_layers" {
  description = "Layer versions for the functions, such as one with a newer boto3."
  type        = list(string)
  default     = []
}

variable "quota_code" {
  description = "Code of the quota of batch inference jobs for Nova Lite in Service Quotas, such as L-1A2B3C4D; without it the route labels has at most 4 jobs."
  type        = string
  default     = null
}
