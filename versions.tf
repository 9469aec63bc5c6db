terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

locals {
  # Of the module and of its client, which pyproject.toml reads here.
  module_version = "0.1.0"
}
