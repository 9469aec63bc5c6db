# Given a Region where Lambda has no recursive loop detection, nothing is created before its input is written.

mock_provider "aws" {
  source = "./tests/terraform/mocks"

  override_data {
    target = data.aws_region.current
    values = { id = "mx-central-1" }
  }
}

variables {
  model_id = "amazon.nova-lite-v1:0"
}

run "mexico" {
  command         = plan
  expect_failures = [terraform_data.location]
}

run "new_zealand" {
  command = plan

  override_data {
    target = data.aws_region.current
    values = { id = "ap-southeast-6" }
  }

  expect_failures = [terraform_data.location]
}

run "govcloud" {
  command = plan

  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-us-gov" }
  }

  override_data {
    target = data.aws_region.current
    values = { id = "us-gov-west-1" }
  }

  expect_failures = [terraform_data.location]
}

run "without" {
  variables {
    manage_recursion_config = false
  }

  assert {
    condition     = length(aws_lambda_function.this) == 5 && length(aws_lambda_function_recursion_config.this) == 0
    error_message = "With manage_recursion_config = false, the functions are created and their recursion is not set."
  }
}

run "where_lambda_has_it_by_now" {
  variables {
    manage_recursion_config = true
  }

  assert {
    condition     = length(aws_lambda_function_recursion_config.this) == 5
    error_message = "With manage_recursion_config = true, the functions' recursion is set wherever they are."
  }
}
