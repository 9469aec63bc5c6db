# Given the state of a queue, a provider that is set to another place is told, and nothing is planned there.

mock_provider "aws" {
  source = "./tests/terraform/mocks"
}

variables {
  model_id = "amazon.nova-lite-v1:0"
}

run "applied" {}

run "same_place" {
  command = plan

  assert {
    condition     = terraform_data.location.input == { account_id = "123456789012", partition = "aws", region = "us-east-1" }
    error_message = "The queue is where it was."
  }
}

run "another_account" {
  command = plan

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "210987654321" }
  }

  expect_failures = [terraform_data.location]
}

run "another_region" {
  command = plan

  override_data {
    target = data.aws_region.current
    values = { id = "eu-west-1" }
  }

  expect_failures = [terraform_data.location]
}
