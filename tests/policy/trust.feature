Feature: Only those may act who have to
  A service acts for whoever asks it, so each trust says for whose sake.

  @noskip
  Scenario: Bedrock takes the service role for jobs of this account only
    Given I have aws_iam_role defined
    When its name is ".*-bedrock-.*" regex
    Then it must contain assume_role_policy
    And it must contain Statement
    And it must contain Condition
    And it must contain StringEquals
    And it must contain aws:SourceAccount
    And its value must match the "^[0-9]{12}$" regex

  @noskip
  Scenario: Bedrock takes the service role for batch inference jobs only
    Given I have aws_iam_role defined
    When its name is ".*-bedrock-.*" regex
    Then it must contain assume_role_policy
    And it must contain Statement
    And it must contain Condition
    And it must contain ArnEquals
    And it must contain aws:SourceArn
    And its value must match the "^arn:aws[a-z-]*:bedrock:[a-z0-9-]+:[0-9]{12}:model-invocation-job/\*$" regex

  @noskip
  Scenario: A role trusts one service
    Given I have aws_iam_role defined
    Then it must contain assume_role_policy
    And it must contain Statement
    And it must contain Principal
    And it must contain Service
    And its value must match the "^(bedrock|lambda)\.amazonaws\.com$" regex

  @noskip
  Scenario: S3 invokes for a bucket of this account only
    Given I have aws_lambda_permission defined
    When its principal is s3.amazonaws.com
    Then it must contain source_account
    And its value must match the "^[0-9]{12}$" regex

  @noskip
  Scenario: Every permission to invoke names whom it is for
    Given I have aws_lambda_permission defined
    Then it must contain source_arn
    And its value must match the "^arn:aws[a-z-]*:(s3:::[a-z0-9.-]+|events:[a-z0-9-]+:[0-9]{12}:rule/[a-zA-Z0-9_-]+)$" regex

  @noskip
  Scenario: EventBridge sends dead letters for our rules only
    Given I have aws_sqs_queue_policy defined
    Then it must contain policy
    And it must contain Statement
    When its Effect is Allow
    Then it must contain Condition
    And it must contain ArnEquals
    And it must contain aws:SourceArn
    And its value must match the "^arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:rule/[a-zA-Z0-9_-]+-(schedule|job-state|sweep)-[a-z0-9-]+$" regex

  @noskip
  Scenario: No role may do whatever it likes
    Given I have aws_iam_role_policy defined
    Then it must contain policy
    And it must contain Statement
    And it must contain Action
    And its value must not match the ".*[*].*" regex
