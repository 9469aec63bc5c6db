# The dashboard is valid, and its widgets do not overlap. tests/terraform/test_dashboard.py holds its metrics.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

variables {
  model_id = "anthropic.claude-haiku-4-5-20251001-v1:0"
}

run "default" {
  command = plan

  assert {
    condition     = aws_cloudwatch_dashboard.this[0].dashboard_name == "br-batch-inference-us-east-1"
    error_message = "An account has one name for a dashboard in all Regions."
  }

  assert {
    condition = length(distinct(flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : [
        for cell in setproduct(range(widget.x, widget.x + widget.width), range(widget.y, widget.y + widget.height)) : "${cell[0]},${cell[1]}"
      ]
      ]))) == sum([
      for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.width * widget.height
    ])
    error_message = "No two widgets have a cell of the grid in common."
  }

  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.x >= 0 && widget.x + widget.width <= 24 && widget.width >= 1 && widget.height >= 1])
    error_message = "The grid is 24 columns wide."
  }

  assert {
    condition     = output.dashboard.url == "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/br-batch-inference-us-east-1"
    error_message = "The output leads to the dashboard."
  }
}

run "none" {
  command = plan

  variables {
    create_dashboard = false
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.this) == 0 && output.dashboard == null
    error_message = "There is no dashboard where none is wanted."
  }
}

run "costs" {
  command = plan

  variables {
    routes = {
      bulk  = { model_id = "amazon.nova-lite-v1:0", prices = { input_per_million_tokens = 0.03, output_per_million_tokens = 0.12 } }
      other = { model_id = "amazon.nova-lite-v1:0" }
    }
  }

  assert {
    condition = one([
      for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.properties.metrics
      if startswith(lookup(widget.properties, "title", ""), "What does it cost?")
    ]) == [["BedrockBatchQueue", "Cost", "Queue", "br-batch-inference", "Route", "bulk", { label = "bulk" }]]
    error_message = "Costs are shown for the routes that have prices."
  }
}

run "slow_schedule" {
  command = plan

  variables {
    schedule_expression = "rate(2 hours)"
  }

  assert {
    condition = alltrue([
      for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.properties.period == 7200
      if startswith(lookup(widget.properties, "title", ""), "Does it keep up?")
    ])
    error_message = "Each period of a gauge has a run of the schedule."
  }
}
