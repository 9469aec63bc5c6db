variable "lambda_layers" {
  description = "Layer versions for the functions, such as one with a newer boto3."
  type        = list(string)
  default     = []
}
