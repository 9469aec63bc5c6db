Feature: What fails for good is kept

  @noskip
  Scenario Outline: Functions and rules have a dead-letter queue
    Given I have <resource> defined
    Then it must contain dead_letter_config
    And it must contain <argument>
    And its value must match the "^arn:aws[a-z-]*:sqs:.+-dead-letters-[a-z0-9-]+$" regex

    Examples:
      | resource                    | argument   |
      | aws_lambda_function         | target_arn |
      | aws_cloudwatch_event_target | arn        |

  @noskip
  Scenario: A function's event is tried three times
    Given I have aws_lambda_function_event_invoke_config defined
    Then it must contain maximum_retry_attempts
    And its value must be 2

  @noskip
  Scenario: Dead letters wait for two weeks
    Given I have aws_sqs_queue defined
    Then it must contain message_retention_seconds
    And its value must be 1209600

  @noskip
  Scenario: Somebody hears of a dead letter
    Given I have aws_cloudwatch_metric_alarm defined
    When its metric_name is ApproximateNumberOfMessagesVisible
    Then it must contain threshold
    And its value must be 0
