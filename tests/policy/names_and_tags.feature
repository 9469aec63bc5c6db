Feature: What belongs to a queue can be told by its name and its tags

  @noskip
  Scenario Outline: Everything that can have tags has that of the queue
    Given I have <resource> defined
    Then it must contain tags
    And it must contain Queue
    And its value must match the "^[a-z0-9-]{3,30}$" regex

    Examples:
      | resource                        |
      | aws_s3_bucket                   |
      | aws_dynamodb_table              |
      | aws_sqs_queue                   |
      | aws_lambda_event_source_mapping |
      | aws_lambda_function             |
      | aws_iam_role                    |
      | aws_cloudwatch_event_rule       |
      | aws_cloudwatch_log_group        |
      | aws_cloudwatch_metric_alarm     |

  @noskip
  Scenario Outline: Names say queue, part and Region
    Given I have <resource> defined
    Then it must contain <argument>
    And its value must match the "<pattern>" regex

    Examples:
      | resource                  | argument      | pattern                                                                                                                      |
      | aws_s3_bucket             | bucket        | ^[a-z0-9-]{3,30}-[0-9]{12}-[a-z]+-[a-z-]+-[0-9]$                                                                             |
      | aws_dynamodb_table        | name          | ^[a-z0-9-]{3,30}-queue$                                                                                                      |
      | aws_sqs_queue             | name          | ^[a-z0-9-]{3,30}-dead-letters-[a-z]+-[a-z-]+-[0-9]$                                                                          |
      | aws_lambda_function       | function_name | ^[a-z0-9-]{3,30}-(create-batch-queue\|process-batch-jobs\|collect-results\|operate-queue\|publish-events)-[a-z]+-[a-z-]+-[0-9]$             |
      | aws_cloudwatch_log_group  | name          | ^/aws/lambda/[a-z0-9-]{3,30}-(create-batch-queue\|process-batch-jobs\|collect-results\|operate-queue\|publish-events)-[a-z]+-[a-z-]+-[0-9]$ |
      | aws_cloudwatch_event_rule | name          | ^[a-z0-9-]{3,30}-(schedule\|job-state\|sweep)-[a-z]+-[a-z-]+-[0-9]$                                                          |
